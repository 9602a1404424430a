package core

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Namespace returns the row of Namespace.
func Namespace() apiserver.Kind {
	k := newKind("Namespace", "namespaces", "namespace", "ns")
	k.Namespaced = false
	k.Verbs = []string{"create", "delete", "get", "list", "patch", "update", "watch"}
	k.Status = true
	k.ReturnDeleted = true
	k.Held = row.Value(func(o *corev1.Namespace) bool { return len(o.Spec.Finalizers) > 0 })
	k.Deleting = row.Of(func(o *corev1.Namespace) { o.Status.Phase = corev1.NamespaceTerminating })
	k.Subresources = map[string]apiserver.Subresource{"finalize": {
		Kind: k.GroupVersionKind,
		New:  func() runtime.Object { return &corev1.Namespace{} },
		Merge: func(stored, body client.Object) {
			stored.(*corev1.Namespace).Spec.Finalizers = body.(*corev1.Namespace).Spec.Finalizers
		},
		Resets: []string{"status"},
	}}
	k.Object, k.List = &corev1.Namespace{}, &corev1.NamespaceList{}
	k.NameIsValid = validation.ValidateNamespaceName
	k.Default = row.Of(defaultNamespace)
	k.Prepare = row.Pair(prepareNamespace)
	k.Validate = row.Check(validateNamespace)
	k.ValidateStatus = row.Check(validateNamespaceStatus)
	k.Fields = row.Fields(map[string]func(*corev1.Namespace) string{
		"status.phase": func(o *corev1.Namespace) string { return string(o.Status.Phase) },
		"name":         func(o *corev1.Namespace) string { return o.Name },
	})
	k.Columns = row.Columns("Name", "Status", "Age")
	k.Row = row.Cells(func(o *corev1.Namespace, now time.Time) []any {
		return []any{o.Name, string(o.Status.Phase), row.Age(o.CreationTimestamp, now)}
	})
	return k
}

func defaultNamespace(o *corev1.Namespace) {
	if o.Status.Phase == "" {
		o.Status.Phase = corev1.NamespaceActive
	}
	if o.Name == "" {
		return // a generated name is known later, in Prepare
	}
	if o.Labels == nil {
		o.Labels = make(map[string]string, 1)
	}
	o.Labels[corev1.LabelMetadataName] = o.Name
}

func prepareNamespace(o, old *corev1.Namespace) {
	defaultNamespace(o)
	if old != nil {
		// Finalizers change through the finalize subresource only.
		o.Spec.Finalizers = slices.Clone(old.Spec.Finalizers)
		return
	}
	o.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
	if !slices.Contains(o.Spec.Finalizers, corev1.FinalizerKubernetes) {
		o.Spec.Finalizers = append(o.Spec.Finalizers, corev1.FinalizerKubernetes)
	}
}
