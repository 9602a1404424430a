package apiserver

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// Operation is what a write does.
type Operation string

// The operations that admission is asked about. A POST to a subresource is a Create; Connect opens a
// stream, as exec does.
const (
	Create  Operation = "CREATE"
	Update  Operation = "UPDATE"
	Delete  Operation = "DELETE"
	Connect Operation = "CONNECT"
)

// AdmissionRequest is a write before it is stored.
type AdmissionRequest struct {
	Operation Operation
	User      *Identity
	// Ref names the object, with the version and the name that the client asked for. The name is empty for
	// what deletecollection deletes, and before validation for a creation with generateName.
	Ref  client.Ref
	Kind *Kind
	// Object is the new state of the object, which Admit may change and Validate may not; nil for
	// Delete and for what is posted to a subresource. Admit sees it as the client wants it, Validate as it
	// will be stored. For the subresource scale it is the Scale.
	Object client.Object
	// Old is the stored state, shared and read-only; nil for Create.
	Old client.Object
	// Body is what was posted to a subresource, such as a Binding or an Eviction, and for Connect the
	// options of the connection, such as a PodExecOptions.
	Body   runtime.Object
	DryRun bool
	// Lookup returns an object as the server sees it, shared and read-only; ok is false when
	// there is none or its kind is not served.
	Lookup func(ref client.Ref) (obj client.Object, ok bool, err error)
	// List returns the objects of a resource in a namespace, or in all for "", shared and
	// read-only; none when the kind is not served.
	List func(ref client.Ref) ([]client.Object, error)
	// Authorize tells whether the request's user may do something else.
	Authorize func(Attributes) (bool, error)
	// Warn sends the client a warning.
	Warn func(text string)

	verb    string
	guards  []guard
	writes  []store.Op
	server  *Server
	request *request
	// round is the second when plugins are asked once more; again tells that one wants that.
	round int
	again bool
	// replaced tells that Replace has run.
	replaced bool
	// values are what plugins keep from one round to the next.
	values map[any]any
}

// Admission looks at a write, and may refuse it. A refusal that is not an *apierrors.StatusError becomes
// a 403.
type Admission func(ctx context.Context, r *AdmissionRequest) error

// AdmissionPlugin is one set of rules about writes. Either function may be nil.
type AdmissionPlugin struct {
	// Name tells the plugin's place: one that has the name of a Kubernetes plugin, such as
	// "PodSecurity", runs where kube-apiserver runs that, and instead of the built-in one if there
	// is one; any other runs before "ResourceQuota".
	Name string
	// Admit may change the object. It runs after defaulting and before validation.
	Admit Admission
	// Validate sees the object as it would be stored, after validation.
	Validate Admission
	// Conditional tells that the plugin calls DependOn, and is to be asked again when such a condition fails.
	Conditional bool
}

// guard makes a write depend on an object that admission based its decision on: when it changed since,
// admission is asked again.
type guard struct {
	key      string
	revision int64
}

// DependOn makes the write depend on what is stored under a key being as it was at a revision. When it is not, the
// plugin is asked again, which must be Conditional.
func (r *AdmissionRequest) DependOn(key string, revision int64) {
	r.guards = append(r.guards, guard{key, revision})
}

// settled is what admission adds to the transaction that stores an object.
type settled struct {
	guards []guard
	writes []store.Op
}

// admit asks all plugins that may change the object, and once more if one asks for that.
func (s *Server) admit(ctx context.Context, rq *request, r *AdmissionRequest) error {
	s.complete(ctx, rq, r)
	t := s.timing(true, r.Operation)
	before := managedFieldsOf(r.Object)
	for r.round = 0; ; r.round++ {
		for i := range s.admission {
			p := &s.admission[i]
			if p.Admit == nil {
				continue
			}
			err := s.admitOne(ctx, p.Admit, r)
			t.plugin(p.Name, err)
			if err != nil {
				return admissionError(r, err)
			}
		}
		if !r.again || r.round > 0 {
			break
		}
	}
	t.all(nil)
	if r.replaced {
		r.keepManagedFields(before)
	}
	return nil
}

// validateAdmission asks all plugins about what admit made, once more after validation.
func (s *Server) validateAdmission(ctx context.Context, rq *request, r *AdmissionRequest) (settled, error) {
	r.writes = nil
	t := s.timing(false, r.Operation)
	for i := range s.admission {
		p := &s.admission[i]
		if p.Validate == nil {
			continue
		}
		err := s.admitOne(ctx, p.Validate, r)
		t.plugin(p.Name, err)
		if err != nil {
			return settled{}, admissionError(r, err)
		}
	}
	t.all(nil)
	return settled{r.guards, r.writes}, nil
}

// complete fills in what all admission requests have.
func (s *Server) complete(ctx context.Context, rq *request, r *AdmissionRequest) {
	r.User, r.Ref, r.Kind, r.DryRun, r.Warn, r.verb = rq.user, rq.ref, &rq.res.Kind, rq.dryRun, rq.warn, rq.verb
	r.server, r.request = s, rq
	if rq.collection {
		r.Ref.Name = ""
	}
	r.Lookup = func(ref client.Ref) (client.Object, bool, error) { return s.lookupRef(ctx, ref) }
	r.List = func(ref client.Ref) ([]client.Object, error) { return s.listRef(ctx, ref) }
	r.Authorize = func(a Attributes) (bool, error) {
		a.User = rq.user
		ok, _, err := s.cfg.Authorizer.Authorize(ctx, &a)
		return ok, err
	}
}

// admitOne asks one function, which may be the program's own and panic.
func (s *Server) admitOne(ctx context.Context, admission Admission, r *AdmissionRequest) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.cfg.Logger.Error("admission panicked", "panic", p, "request", r.Ref.String())
			err = internalError(fmt.Errorf("admission panicked: %v", p))
		}
	}()
	return admission(ctx, r)
}

func (s *Server) lookupRef(ctx context.Context, ref client.Ref) (client.Object, bool, error) {
	res := s.catalog.Load().table.byResource[ref.GroupVersionResource]
	if res == nil {
		return nil, false, nil
	}
	obj, _, err := s.lookup(ctx, res, ref.Namespace, ref.Name)
	return obj, obj != nil, err
}

func (s *Server) listRef(ctx context.Context, ref client.Ref) ([]client.Object, error) {
	res := s.catalog.Load().table.byResource[ref.GroupVersionResource]
	if res == nil {
		return nil, nil
	}
	prefix := res.scope(ref.Namespace)
	all, err := s.store.Range(ctx, store.Range{Key: prefix, End: store.PrefixEnd(prefix), SkipCount: true})
	if err != nil {
		return nil, storeError(err, 0)
	}
	out := make([]client.Object, 0, len(all.Entries))
	for _, e := range all.Entries {
		obj, err := res.object(e)
		if err != nil {
			return nil, err
		}
		out = append(out, obj)
	}
	return out, nil
}

// readmit settles a write anew after a condition of its transaction failed, by asking again those plugins
// whose decisions are conditions: about the namespace, and about its quotas.
func (s *Server) readmit(ctx context.Context, rq *request, r *AdmissionRequest) (settled, error) {
	r.guards, r.writes = nil, nil
	for _, p := range s.admission {
		if !p.Conditional && p.Name != namespaceLifecycleName && p.Name != resourceQuotaName {
			continue
		}
		for _, f := range []Admission{p.Admit, p.Validate} {
			if f == nil {
				continue
			}
			if err := s.admitOne(ctx, f, r); err != nil {
				return settled{}, admissionError(r, err)
			}
		}
	}
	return settled{r.guards, r.writes}, nil
}
