package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/cel"
)

// input returns what expressions are about, in a version, without parameters and namespace.
func (q *question) input(as apiserver.AdmissionVersion, authorizer apiserver.Authorizer) (*cel.Input, error) {
	object, old, err := q.Objects(as)
	if err != nil {
		return nil, err
	}
	return &cel.Input{Object: object, OldObject: old, Request: q.Review(as), User: q.User, Authorizer: authorizer}, nil
}

// within adds the namespace of the request, if it is in one.
func (q *question) within(in *cel.Input) error {
	if !q.Namespaced() {
		return nil
	}
	ns, err := q.NamespaceObject()
	in.Namespace = ns
	return err
}

// unknownParams tells that the kind of a policy's parameters is not served.
func (q *question) unknownParams(kind *admissionregistrationv1.ParamKind) error {
	if kind == nil {
		return nil
	}
	gvk := schema.FromAPIVersionAndKind(kind.APIVersion, kind.Kind)
	if _, _, ok := q.Served(gvk); !ok {
		return fmt.Errorf("failed to find resource referenced by paramKind: '%v'", gvk)
	}
	return nil
}

// remembering asks an authorizer each question once: expressions of several policies ask the same.
type remembering struct {
	apiserver.Authorizer
	answers map[string]answer
}

type answer struct {
	allowed bool
	reason  string
	err     error
}

func newRemembering(a apiserver.Authorizer) *remembering {
	return &remembering{Authorizer: a, answers: map[string]answer{}}
}

// Authorize answers as the authorizer did.
func (m *remembering) Authorize(ctx context.Context, a *apiserver.Attributes) (bool, string, error) {
	var key strings.Builder
	fmt.Fprintf(&key, "%q %q %q", a.User.User, a.User.UID, slices.Sorted(slices.Values(a.User.Groups)))
	for _, text := range []string{a.Verb, a.Namespace, a.APIGroup, a.APIVersion, a.Resource, a.Subresource, a.Name, a.Path} {
		fmt.Fprintf(&key, " %q", text)
	}
	fmt.Fprintf(&key, " %q %v %v", a.User.Extra, a.FieldSelector, a.LabelSelector)
	if got, ok := m.answers[key.String()]; ok {
		return got.allowed, got.reason, got.err
	}
	allowed, reason, err := m.Authorizer.Authorize(ctx, a)
	m.answers[key.String()] = answer{allowed, reason, err}
	return allowed, reason, err
}
