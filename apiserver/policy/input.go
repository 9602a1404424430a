package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/cel"
)

// review returns what expressions know of a request that matched in a version.
func (q *question) review(as apiserver.AdmissionVersion) *admissionv1.AdmissionRequest {
	user := authenticationv1.UserInfo{
		Username: q.User.User, UID: q.User.UID, Groups: q.User.Groups, Extra: make(map[string]authenticationv1.ExtraValue, len(q.User.Extra)),
	}
	for k, v := range q.User.Extra {
		user.Extra[k] = v
	}
	return &admissionv1.AdmissionRequest{
		Kind: metav1.GroupVersionKind(as.Kind), Resource: metav1.GroupVersionResource(as.Resource), SubResource: q.Ref.Subresource,
		RequestKind:        (*metav1.GroupVersionKind)(&q.version.Kind),
		RequestResource:    (*metav1.GroupVersionResource)(&q.version.Resource),
		RequestSubResource: q.Ref.Subresource,
		Name:               q.name, Namespace: q.ns, Operation: admissionv1.Operation(q.Operation), UserInfo: user, DryRun: &q.DryRun,
		Options: runtime.RawExtension{Object: q.Options()},
	}
}

// input returns what expressions are about, in a version, without parameters and namespace.
func (q *question) input(as apiserver.AdmissionVersion, authorizer apiserver.Authorizer) (*cel.Input, error) {
	in := &cel.Input{Request: q.review(as), User: q.User, Authorizer: authorizer}
	var err error
	if target := q.Target(); target != nil {
		if in.Object, err = q.As(target, as.Kind); err != nil {
			return nil, err
		}
	}
	if q.Old != nil {
		if in.OldObject, err = q.As(q.Old, as.Kind); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// within adds the namespace of the request, if it is in one.
func (q *question) within(in *cel.Input) error {
	if q.ns == "" || q.Ref.GroupVersionResource == namespacesResource {
		return nil
	}
	ns, err := q.namespaceObject()
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
