package apiserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// Admission sees what nothing is stored of as what it was posted as, may change and refuse it.
func TestAdmissionOfReviews(t *testing.T) {
	var seen []string
	note := func(stage string, r *apiserver.AdmissionRequest) {
		switch r.Ref.Resource {
		case "selfsubjectaccessreviews", "localsubjectaccessreviews", "tokenreviews", "bindings":
			seen = append(seen, fmt.Sprintf("%s %s %s %s dry=%t", stage, r.Operation, r.Ref, r.Object.GetObjectKind().GroupVersionKind().Kind, r.DryRun))
		}
	}
	s := newServer(t, func(c *apiserver.Config) {
		c.Admission = []apiserver.AdmissionPlugin{{Name: "Test",
			Admit: func(_ context.Context, r *apiserver.AdmissionRequest) error {
				note("admit", r)
				switch o := r.Object.(type) {
				case *authorizationv1.SelfSubjectAccessReview:
					o.Spec.ResourceAttributes.Verb = "list"
				case *corev1.Binding:
					o.Target.Name = "other"
				}
				return nil
			},
			Validate: func(_ context.Context, r *apiserver.AdmissionRequest) error {
				note("validate", r)
				if _, ok := r.Object.(*authenticationv1.TokenReview); ok {
					return errors.New("no tokens")
				}
				return nil
			},
		}}
	})
	c := s.Client(admin)
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "pods"}}}
	answer, err := client.For[*authorizationv1.SelfSubjectAccessReview](c).Create(t.Context(), review)
	if err != nil || !answer.Status.Allowed || answer.Spec.ResourceAttributes.Verb != "list" || review.Spec.ResourceAttributes.Verb != "get" {
		t.Errorf("%+v, %v", answer, err)
	}
	// The answer does not tell whether there is such a namespace.
	local := &authorizationv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: "nil"}, Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "jane", ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: "nil", Verb: "get", Resource: "pods"}}}
	if _, err := client.For[*authorizationv1.LocalSubjectAccessReview](c).Create(t.Context(), local); err != nil {
		t.Error(err)
	}
	_, err = client.For[*authenticationv1.TokenReview](c).Create(t.Context(), &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "x"}})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "no tokens") {
		t.Error(err)
	}
	if _, err := client.For[*corev1.Pod](c).Create(t.Context(), plainPod("p")); err != nil {
		t.Fatal(err)
	}
	bindings := client.Ref{GroupVersionResource: corev1.SchemeGroupVersion.WithResource("bindings"), Namespace: "default"}
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Target: corev1.ObjectReference{Kind: "Node", Name: "n"}}
	if out, err := c.Create(t.Context(), bindings, binding, metav1.CreateOptions{}); err != nil || out.(*metav1.Status).Status != metav1.StatusSuccess {
		t.Errorf("%+v, %v", out, err)
	}
	if pod, err := client.For[*corev1.Pod](c).Get(t.Context(), "default", "p"); err != nil || pod.Spec.NodeName != "other" {
		t.Errorf("%+v, %v", pod, err)
	}
	want := []string{
		"admit CREATE authorization.k8s.io/v1/selfsubjectaccessreviews SelfSubjectAccessReview dry=false",
		"validate CREATE authorization.k8s.io/v1/selfsubjectaccessreviews SelfSubjectAccessReview dry=false",
		"admit CREATE authorization.k8s.io/v1/namespaces/nil/localsubjectaccessreviews LocalSubjectAccessReview dry=false",
		"validate CREATE authorization.k8s.io/v1/namespaces/nil/localsubjectaccessreviews LocalSubjectAccessReview dry=false",
		"admit CREATE authentication.k8s.io/v1/tokenreviews TokenReview dry=false",
		"validate CREATE authentication.k8s.io/v1/tokenreviews TokenReview dry=false",
		"admit CREATE v1/namespaces/default/bindings/p Binding dry=false",
		"validate CREATE v1/namespaces/default/bindings/p Binding dry=false",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("admission saw\n%s\nnot\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
}
