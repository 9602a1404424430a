package apiserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	namespacesResource      = corev1.SchemeGroupVersion.WithResource("namespaces")
	podsResource            = corev1.SchemeGroupVersion.WithResource("pods")
	serviceAccountsResource = corev1.SchemeGroupVersion.WithResource("serviceaccounts")
)

// systemNamespaces exist from the start; immortal ones can't be deleted.
var (
	systemNamespaces   = []string{metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease, metav1.NamespaceDefault}
	immortalNamespaces = []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic}
)

// admissionError gives refusals the form that Kubernetes gives them.
func admissionError(r *AdmissionRequest, err error) error {
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return err
	}
	name := r.Ref.Name
	if name == "" && r.Object != nil {
		// The name is not made yet.
		name = cmp.Or(r.Object.GetName(), r.Object.GetGenerateName())
	}
	return apierrors.NewForbidden(r.request.named(), cmp.Or(name, "Unknown"), err)
}

func internalError(err error) error { return apierrors.NewInternalError(err) }

// namespaceLifecycle keeps objects out of namespaces that don't exist or are being deleted, and keeps
// the namespaces that every cluster needs.
func (s *Server) namespaceLifecycle(ctx context.Context, r *AdmissionRequest) error {
	if r.Ref.GroupVersionResource == namespacesResource {
		if r.Operation == Delete && slices.Contains(immortalNamespaces, r.Ref.Name) {
			return errors.New("this namespace may not be deleted")
		}
		return nil
	}
	namespaces := s.base.byResource[namespacesResource]
	if r.Operation != Create || !r.Kind.Namespaced || namespaces == nil || isAccessReview(r) {
		return nil
	}
	obj, revision, err := s.lookup(ctx, namespaces, "", r.Ref.Namespace)
	if err != nil {
		return err
	}
	if obj == nil && slices.Contains(systemNamespaces, r.Ref.Namespace) {
		// Run makes these; they are there without it too.
		if err := s.ensureNamespace(ctx, r.Ref.Namespace); err != nil {
			return err
		}
		obj, revision, err = s.lookup(ctx, namespaces, "", r.Ref.Namespace)
		if err != nil {
			return err
		}
	}
	if obj == nil {
		return apierrors.NewNotFound(namespacesResource.GroupResource(), r.Ref.Namespace)
	}
	ns, ok := obj.(*corev1.Namespace)
	if ok && (ns.Status.Phase == corev1.NamespaceTerminating || ns.DeletionTimestamp != nil) {
		return terminating(r, ns)
	}
	// The write must find the namespace as it was seen, so that nothing slips into one whose
	// deletion begins meanwhile.
	r.guards = append(r.guards, guard{namespaces.key("", r.Ref.Namespace), revision})
	return nil
}

// isAccessReview tells that a request stores nothing: the answer must not tell whether a namespace exists.
func isAccessReview(r *AdmissionRequest) bool {
	return r.Ref.Group == "authorization.k8s.io" && r.Ref.Resource == "localsubjectaccessreviews"
}

func terminating(r *AdmissionRequest, ns *corev1.Namespace) error {
	err := apierrors.NewForbidden(r.Ref.GroupResource(), r.Ref.Name,
		fmt.Errorf("unable to create new content in namespace %s because it is being terminated", ns.Name))
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type:    corev1.NamespaceTerminatingCause,
		Message: fmt.Sprintf("namespace %s is being terminated", ns.Name),
		Field:   "metadata.namespace",
	})
	return err
}

// serviceAccount gives pods the account "default" when they name none.
func (s *Server) serviceAccount(ctx context.Context, r *AdmissionRequest) error {
	pod, ok := r.Object.(*corev1.Pod)
	if !ok || r.Operation != Create || r.Ref.Subresource != "" {
		return nil
	}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return mirrorReferences(pod)
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName, pod.Spec.DeprecatedServiceAccount = "default", "default"
	}
	accounts := s.base.byResource[serviceAccountsResource]
	if !s.cfg.RequireServiceAccounts || accounts == nil {
		return nil
	}
	account, _, err := s.lookup(ctx, accounts, r.Ref.Namespace, pod.Spec.ServiceAccountName)
	switch {
	case err != nil:
		return err
	case account == nil:
		missing := apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccount"}, pod.Spec.ServiceAccountName)
		return fmt.Errorf("error looking up service account %s/%s: %w", r.Ref.Namespace, pod.Spec.ServiceAccountName, errors.New(missing.Error()))
	}
	sa, ok := account.(*corev1.ServiceAccount)
	if !ok {
		return nil
	}
	if len(pod.Spec.ImagePullSecrets) == 0 {
		pod.Spec.ImagePullSecrets = slices.Clone(sa.ImagePullSecrets)
	}
	if err := mountableSecrets(sa, pod); err != nil {
		return err
	}
	if s.cfg.Authentication.ServiceAccounts != nil {
		mountToken(sa, pod)
	}
	return nil
}

// tolerationSeconds is how long pods stay on a node that is not ready or can't be reached.
const tolerationSeconds = 300

// defaultTolerations lets pods outlast short failures of their node; an update that names the
// tolerations anew does not take these away.
func defaultTolerations(_ context.Context, r *AdmissionRequest) error {
	pod, ok := r.Object.(*corev1.Pod)
	if !ok || (r.Operation != Create && r.Operation != Update) || r.Ref.Subresource != "" {
		return nil
	}
	for _, taint := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		if tolerates(pod, taint) {
			continue
		}
		seconds := int64(tolerationSeconds)
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{
			Key: taint, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds,
		})
	}
	return nil
}

func tolerates(pod *corev1.Pod, taint string) bool {
	return slices.ContainsFunc(pod.Spec.Tolerations, func(t corev1.Toleration) bool {
		return (t.Key == taint || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "")
	})
}
