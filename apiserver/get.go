package apiserver

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// found is an object as it is stored: shared, read-only.
type found struct {
	entry *store.Entry
	obj   client.Object
}

func (f *found) place() place { return place{entry: f.entry} }

// get reads the object that the request names.
func (s *Server) get(ctx context.Context, rq *request, resourceVersion string) (found, error) {
	if err := rq.one(); err != nil {
		return found{}, err
	}
	if err := s.notOlderThan(ctx, resourceVersion); err != nil {
		return found{}, err
	}
	return s.read(ctx, rq)
}

// read returns the newest state of the object that the request names.
func (s *Server) read(ctx context.Context, rq *request) (found, error) {
	e, _, err := s.store.Get(ctx, rq.key())
	if err != nil {
		return found{}, storeError(err, 0)
	}
	if e == nil {
		return found{}, apierrors.NewNotFound(rq.res.gr, rq.ref.Name)
	}
	obj, err := rq.res.object(e)
	if err != nil {
		return found{}, asStatus(err)
	}
	return found{e, obj}, nil
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
