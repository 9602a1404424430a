// Package registration has what webhooks and admission policies have in common, which both are registered in
// admissionregistration.k8s.io: which requests their rules and selectors are about, what they get to know of a request,
// and what is wrong with rules.
package registration

import (
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

var namespaces = corev1.SchemeGroupVersion.WithResource("namespaces")

// Request is a request as webhooks and policies look at it. What several of them need is found once. Only Review may be
// called concurrently.
type Request struct {
	*apiserver.AdmissionRequest
	// Name and Namespace are what the request calls its object when it is first looked at. A creation has the name in
	// the object; the namespace of a Namespace is itself.
	Name, Namespace string

	versions  []apiserver.AdmissionVersion
	namespace *corev1.Namespace
}

// NewRequest returns a request to look at.
func NewRequest(r *apiserver.AdmissionRequest) *Request {
	out := &Request{AdmissionRequest: r, Name: r.Ref.Name, Namespace: r.Ref.Namespace}
	if out.Name == "" && r.Object != nil {
		out.Name = r.Object.GetName()
	}
	if r.Ref.GroupVersionResource == namespaces {
		out.Namespace = out.Name
	}
	return out
}

// Namespaced tells that the request is for something in a namespace.
func (r *Request) Namespaced() bool {
	return r.Namespace != "" && r.Ref.GroupVersionResource != namespaces
}

// NamespaceObject returns the namespace of the request, which must have one.
func (r *Request) NamespaceObject() (*corev1.Namespace, error) {
	if r.namespace != nil {
		return r.namespace, nil
	}
	obj, _, err := r.Lookup(client.Ref{GroupVersionResource: namespaces, Name: r.Namespace})
	if err != nil {
		return nil, err
	}
	ns, ok := obj.(*corev1.Namespace)
	if !ok {
		return nil, apierrors.NewNotFound(namespaces.GroupResource(), r.Namespace)
	}
	r.namespace = ns
	return ns, nil
}

// Review returns what a webhook or an expression gets to know of the request in a version, without uid and objects.
func (r *Request) Review(as apiserver.AdmissionVersion) *admissionv1.AdmissionRequest {
	asked := r.Version()
	user := authenticationv1.UserInfo{
		Username: r.User.User, UID: r.User.UID, Groups: r.User.Groups, Extra: make(map[string]authenticationv1.ExtraValue, len(r.User.Extra)),
	}
	for k, v := range r.User.Extra {
		user.Extra[k] = v
	}
	return &admissionv1.AdmissionRequest{
		Kind: metav1.GroupVersionKind(as.Kind), Resource: metav1.GroupVersionResource(as.Resource), SubResource: r.Ref.Subresource,
		RequestKind:        (*metav1.GroupVersionKind)(&asked.Kind),
		RequestResource:    (*metav1.GroupVersionResource)(&asked.Resource),
		RequestSubResource: r.Ref.Subresource,
		Name:               r.Name, Namespace: r.Namespace, Operation: admissionv1.Operation(r.Operation), UserInfo: user, DryRun: &r.DryRun,
		Options: runtime.RawExtension{Object: r.Options()},
	}
}

// Objects returns the object and its old state in a version, nil for what is not there.
func (r *Request) Objects(as apiserver.AdmissionVersion) (object, old runtime.Object, err error) {
	if target := r.Target(); target != nil {
		if object, err = r.As(target, as.Kind); err != nil {
			return nil, nil, err
		}
	}
	if r.Old != nil {
		if old, err = r.As(r.Old, as.Kind); err != nil {
			return nil, nil, err
		}
	}
	return object, old, nil
}
