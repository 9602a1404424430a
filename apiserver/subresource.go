package apiserver

import (
	"context"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver/client"
)

// view returns what the request's client gets to see of a shared object, as its own.
func (s *Server) view(rq *request, obj client.Object) (runtime.Object, error) {
	if !rq.isWhole() {
		return rq.viewPart(obj)
	}
	o, err := rq.served().shown(obj)
	if err != nil {
		return nil, err
	}
	return o.DeepCopyObject(), nil
}

// viewShared is view without the copy.
func (s *Server) viewShared(rq *request, f *found) (runtime.Object, error) {
	if rq.isWhole() {
		o, err := f.shown(rq.served())
		if err != nil {
			return nil, asStatus(err)
		}
		return o, nil
	}
	obj, err := f.object()
	if err != nil {
		return nil, err
	}
	return rq.viewPart(obj)
}

// viewWritten is view for what a write left. Nobody may have read it yet, so it is decoded for the client alone
// instead of decoded to be shared, and copied.
func (s *Server) viewWritten(rq *request, f found) (runtime.Object, error) {
	if f.state != nil && rq.isWhole() && rq.served() == rq.res {
		own, err := rq.res.decodeEntry(f.state)
		if err != nil {
			return nil, asStatus(err)
		}
		return own.(client.Object), nil
	}
	obj, err := f.object()
	if err != nil {
		return nil, err
	}
	return s.view(rq, obj)
}

// isWhole tells that the request is about the object itself, or a subresource that shows it.
func (rq *request) isWhole() bool {
	sub := rq.ref.Subresource
	return sub == "" || sub == "status" && rq.res.Status || rq.res.Subresources[sub].Merge != nil
}

// viewPart is view for subresources that are objects of their own.
func (rq *request) viewPart(obj client.Object) (runtime.Object, error) {
	if rq.ref.Subresource == "scale" && rq.res.Scale != nil {
		return scaleOf(rq.res, obj), nil
	}
	return nil, rq.noSubresource()
}

// serves tells whether the subresource of a GET, PUT or PATCH exists.
func (rq *request) checkSubresource() error {
	switch sub := rq.ref.Subresource; {
	case sub == "", sub == "status" && rq.res.Status, sub == "scale" && rq.res.Scale != nil, rq.res.Subresources[sub].Merge != nil:
		return nil
	}
	return rq.noSubresource()
}

func (rq *request) noSubresource() error {
	if rq.res.Subresources[rq.ref.Subresource].Create != nil {
		return methodNotAllowed()
	}
	return notFoundPath()
}

func scaleOf(r *resource, obj client.Object) *autoscalingv1.Scale {
	replicas, status, selector := r.Scale.Get(obj)
	return &autoscalingv1.Scale{
		TypeMeta: metav1.TypeMeta{APIVersion: autoscalingv1.SchemeGroupVersion.String(), Kind: "Scale"},
		ObjectMeta: metav1.ObjectMeta{
			Name: obj.GetName(), Namespace: obj.GetNamespace(), UID: obj.GetUID(),
			ResourceVersion: obj.GetResourceVersion(), CreationTimestamp: obj.GetCreationTimestamp(),
		},
		Spec:   autoscalingv1.ScaleSpec{Replicas: replicas},
		Status: autoscalingv1.ScaleStatus{Replicas: status, Selector: selector},
	}
}

// ownBody returns the body of a PUT as the server's own copy.
func (s *Server) ownBody(rq *request, obj runtime.Object) (runtime.Object, error) {
	if err := rq.checkSubresource(); err != nil {
		return nil, err
	}
	if rq.ref.Subresource != "scale" {
		return rq.served().own(obj)
	}
	if u, ok := obj.(runtime.Unstructured); ok {
		scale := emptyScale()
		return scale, fromUnstructured(u, scale, scaleKind)
	}
	scale, ok := obj.(*autoscalingv1.Scale)
	if !ok {
		return nil, badRequest("the object provided is a %T, not an autoscaling/v1 Scale", obj)
	}
	return scale.DeepCopy(), nil
}

// createSubresource is a POST to a subresource; body is the server's own.
func (s *Server) createSubresource(ctx context.Context, rq *request, body runtime.Object) (runtime.Object, error) {
	sub, ok := rq.res.Subresources[rq.ref.Subresource]
	if !ok || sub.Create == nil {
		if rq.checkSubresource() == nil {
			return nil, methodNotAllowed()
		}
		return nil, rq.noSubresource()
	}
	if err := rq.one(); err != nil {
		return nil, err
	}
	if u, ok := body.(runtime.Unstructured); ok && sub.New != nil {
		typed := sub.New()
		if err := fromUnstructured(u, typed, sub.Kind); err != nil {
			return nil, err
		}
		body = typed
	}
	body.GetObjectKind().SetGroupVersionKind(sub.Kind)
	if m, ok := body.(client.Object); ok {
		if err := rq.sameNamespace(m); err != nil {
			return nil, err
		}
	}
	ar := &AdmissionRequest{Operation: Create, Body: body}
	if err := s.admit(ctx, rq, ar); err != nil {
		return nil, err
	}
	if _, err := s.validateAdmission(ctx, rq, ar); err != nil {
		return nil, err
	}
	return s.runSubresource(ctx, rq, body)
}

// runSubresource is createSubresource after admission.
func (s *Server) runSubresource(ctx context.Context, rq *request, body runtime.Object) (runtime.Object, error) {
	sub := rq.res.Subresources[rq.ref.Subresource]
	return sub.Create(ctx, SubresourceRequest{
		Ref: rq.ref, Body: body, DryRun: rq.dryRun, Warn: rq.warn, server: s, request: rq,
		Mutate: func(ctx context.Context, change func(client.Object) error) (client.Object, error) {
			return s.mutate(ctx, rq, sub.Copy, change)
		},
		Delete: func(ctx context.Context, opts metav1.DeleteOptions) error {
			opts.DryRun = append(opts.DryRun, dryRunValues(rq.dryRun)...)
			_, err := s.delete(ctx, rq.withVerb(verbDelete), &opts)
			return err
		},
	})
}

func dryRunValues(dry bool) []string {
	if dry {
		return []string{metav1.DryRunAll}
	}
	return nil
}

// withVerb returns the request that a subresource makes of one to it. Admission has looked at that one.
func (rq *request) withVerb(verb string) *request {
	c := *rq
	c.verb, c.ref.Subresource, c.admitted = verb, "", true
	return &c
}

// mutate changes the object on behalf of one of its subresources.
func (s *Server) mutate(ctx context.Context, rq *request, copyOf func(client.Object) client.Object, change func(client.Object) error) (client.Object, error) {
	if copyOf == nil {
		copyOf = func(stored client.Object) client.Object { return stored.DeepCopyObject().(client.Object) }
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		cur, err := s.read(ctx, rq)
		if err != nil {
			return nil, err
		}
		obj := copyOf(cur.obj)
		if err := change(obj); err != nil {
			return nil, err
		}
		done, f, err := s.swap(ctx, rq, obj, cur, settled{})
		if err != nil {
			return nil, err
		}
		if done {
			return f.object()
		}
	}
}
