package apiserver

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver/client"
)

// Operation is what a write does.
type Operation string

// The operations that admission is asked about. Connect is a POST to a subresource.
const (
	Create  Operation = "CREATE"
	Update  Operation = "UPDATE"
	Delete  Operation = "DELETE"
	Connect Operation = "CONNECT"
)

// AdmissionRequest is a write before it is validated and stored.
type AdmissionRequest struct {
	Operation Operation
	User      *Identity
	// Ref names the object; on a creation with generateName its name is the generated one.
	Ref  client.Ref
	Kind *Kind
	// Object is the new state of the object, which admission may change; nil for Delete.
	Object client.Object
	// Old is the stored state, shared and read-only; nil for Create.
	Old client.Object
	// Body is what was posted to a subresource, for Connect.
	Body   runtime.Object
	DryRun bool
	// Lookup returns an object as the server sees it, shared and read-only; ok is false when
	// there is none or its kind is not served.
	Lookup func(ref client.Ref) (obj client.Object, ok bool, err error)
	// Warn sends the client a warning.
	Warn func(text string)

	guards []guard
}

// Admission looks at a write before it is validated and stored, and may change or refuse it. A refusal
// that is not an *apierrors.StatusError becomes a 403.
type Admission func(ctx context.Context, r *AdmissionRequest) error

// guard makes a write depend on an object that admission based its decision on: when it changed since,
// admission is asked again.
type guard struct {
	key      string
	revision int64
}

// admit asks all admission functions.
func (s *Server) admit(ctx context.Context, rq *request, r *AdmissionRequest) ([]guard, error) {
	r.User, r.Ref, r.Kind, r.DryRun, r.Warn = rq.user, rq.ref, &rq.res.Kind, rq.dryRun, rq.warn
	if r.Lookup == nil {
		r.Lookup = func(ref client.Ref) (client.Object, bool, error) { return s.lookupRef(ctx, ref) }
	}
	for _, admission := range s.admission {
		if err := s.admitOne(ctx, admission, r); err != nil {
			return nil, admissionError(rq, err)
		}
	}
	return r.guards, nil
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
	res := s.table.byResource[ref.GroupVersionResource]
	if res == nil {
		return nil, false, nil
	}
	obj, _, err := s.lookup(ctx, res, ref.Namespace, ref.Name)
	return obj, obj != nil, err
}

// reguard brings the conditions of a write up to date after one of them failed, by looking again at the
// namespaces that they are about.
func (s *Server) reguard(ctx context.Context, rq *request, guards []guard) ([]guard, error) {
	r := &AdmissionRequest{Operation: Create, Ref: rq.ref, Kind: &rq.res.Kind}
	if len(guards) == 0 {
		return nil, nil
	}
	if err := s.namespaceLifecycle(ctx, r); err != nil {
		return nil, admissionError(rq, err)
	}
	return r.guards, nil
}
