package apiserver

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// found is an object as it is stored: shared, read-only. It is decoded when somebody asks for the object.
type found struct {
	res *resource // in the stored version
	// state holds the object, at has its revision and keeps what is made of it. They are one but for
	// deletions, whose last state is shown at the revision of the deletion. Nil for what is not stored.
	state, at *store.Entry
	obj       client.Object
}

func (r *resource) found(e *store.Entry) found { return found{res: r, state: e, at: e} }

// object returns the object in the stored version.
func (f *found) object() (client.Object, error) {
	var err error
	switch {
	case f.obj != nil:
	case f.state == f.at:
		f.obj, err = f.res.object(f.state)
	default:
		f.obj, err = f.res.last(f.at, f.state)
	}
	if err != nil {
		return nil, asStatus(err)
	}
	return f.obj, nil
}

// shown returns the object in another version, which is kept, and shared.
func (f *found) shown(as *resource) (client.Object, error) {
	obj, err := f.object()
	if err != nil || as.version == nil {
		return obj, err
	}
	if f.at == nil {
		return as.shown(obj)
	}
	v, err := f.at.Cached(f.key(as.keys.object, as.keys.goneObject), func(*store.Entry) (any, error) { return as.shown(obj) })
	if err != nil {
		return nil, err
	}
	return v.(client.Object), nil
}

// key chooses between the keys for the state of the entry and for the one before it.
func (f *found) key(there, gone any) any {
	if f.state == f.at {
		return there
	}
	return gone
}

// get finds the object that the request names.
func (s *Server) get(ctx context.Context, rq *request, resourceVersion string) (found, error) {
	if err := rq.one(); err != nil {
		return found{}, err
	}
	if _, err := parseVersion(resourceVersion); err != nil && rq.res.gr.Resource != eventsResource.Resource {
		// Events alone are not kept in Kubernetes' watch cache, which takes this for a mistake of its own.
		return found{}, unreasoned("resourceVersion: Invalid value: %q: %v", resourceVersion, err)
	}
	if err := s.notOlderThan(ctx, resourceVersion); err != nil {
		return found{}, err
	}
	f, err := s.find(ctx, rq)
	if scale := rq.res.Scale; err == nil && rq.ref.Subresource == "scale" && scale != nil && scale.Check != nil {
		obj, err := f.object()
		if err == nil {
			err = scale.Check(obj)
		}
		if err != nil {
			return found{}, asStatus(err)
		}
	}
	return f, err
}

// read returns the newest state of the object that the request names, decoded.
func (s *Server) read(ctx context.Context, rq *request) (found, error) {
	f, err := s.find(ctx, rq)
	if err == nil {
		_, err = f.object()
	}
	return f, err
}

// find is read without the decoding.
func (s *Server) find(ctx context.Context, rq *request) (found, error) {
	if rq.batch != nil {
		if p := rq.batch.pending[rq.key()]; p != nil {
			if p.state == nil {
				return found{}, apierrors.NewNotFound(rq.named(), rq.ref.Name)
			}
			return p.found, nil
		}
	}
	e, _, err := s.store.Get(ctx, rq.key())
	if err != nil {
		return found{}, storeError(err, 0)
	}
	if e == nil {
		return found{}, apierrors.NewNotFound(rq.named(), rq.ref.Name)
	}
	return rq.res.found(e), nil
}

// notOlderThan sees to it that the store has reached a resourceVersion.
func (s *Server) notOlderThan(ctx context.Context, resourceVersion string) error {
	if resourceVersion == "" || resourceVersion == "0" {
		return nil
	}
	want, err := parseVersion(resourceVersion)
	if err != nil {
		return badRequest("invalid resource version: resourceVersion: Invalid value: %q: %v", resourceVersion, err)
	}
	if have := s.store.Revision(); want > have {
		return tooLargeVersion(want, have)
	}
	return nil
}
