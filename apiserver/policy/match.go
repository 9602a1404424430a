package policy

import (
	"context"
	"errors"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/internal/registration"
)

// question is a request as policies look at it.
type question struct {
	*registration.Request
	ctx context.Context
}

func newQuestion(ctx context.Context, r *apiserver.AdmissionRequest) *question {
	return &question{registration.NewRequest(r), ctx}
}

// bound tells whether a binding is about a request that its policy is about.
func (b *binding) bound(q *question) (bool, error) {
	if b.matcher == nil {
		return true, nil
	}
	ok, _, err := b.matcher.Match(q.Request)
	return ok, err
}

// paramsOf returns what a policy is to be evaluated with for a binding; one that has no parameters is evaluated once,
// with nil.
func (q *question) paramsOf(kind *admissionregistrationv1.ParamKind, b *binding) ([]runtime.Object, error) {
	ref := b.params
	if kind == nil || ref == nil {
		return []runtime.Object{nil}, nil
	}
	gvk := schema.FromAPIVersionAndKind(kind.APIVersion, kind.Kind)
	_, namespaced, ok := q.Served(gvk)
	if !ok {
		return nil, fmt.Errorf("paramKind kind `%v` not known", kind.String())
	}
	ns := ref.Namespace
	switch {
	case namespaced && ns == "":
		if ns = q.Namespace; ns == "" {
			return nil, errors.New("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
		}
	case !namespaced && ns != "":
		return nil, errors.New("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
	}
	found, err := q.findParams(gvk, ns, b)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && ref.ParameterNotFoundAction != nil && *ref.ParameterNotFoundAction == admissionregistrationv1.DenyAction {
		return nil, errors.New("no params found for policy binding with `Deny` parameterNotFoundAction")
	}
	return found, nil
}

func (q *question) findParams(kind schema.GroupVersionKind, namespace string, b *binding) ([]runtime.Object, error) {
	if b.params.Name != "" {
		obj, ok, err := q.LookupKind(q.ctx, kind, namespace, b.params.Name)
		if err != nil || !ok {
			return nil, err
		}
		return []runtime.Object{obj}, nil
	}
	selector, err := b.selector()
	if err != nil {
		return nil, err
	}
	list, err := q.ListKind(q.ctx, kind, namespace)
	if err != nil {
		return nil, err
	}
	var out []runtime.Object
	for _, obj := range list {
		if selector.Matches(labels.Set(obj.GetLabels())) {
			out = append(out, obj)
		}
	}
	return out, nil
}
