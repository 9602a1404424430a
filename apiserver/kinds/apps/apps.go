// Package apps has the rows of the kinds of apps/v1: ControllerRevision, DaemonSet, Deployment,
// ReplicaSet and StatefulSet.
package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
)

// Kinds returns the rows of all kinds of the group. The slice is the caller's own.
func Kinds() []apiserver.Kind {
	return []apiserver.Kind{ControllerRevision(), DaemonSet(), Deployment(), ReplicaSet(), StatefulSet()}
}

func newKind(kind, resource, singular, shortName string) apiserver.Kind {
	return apiserver.Kind{
		QualifiedFinalizers: true,
		GroupVersionKind:    appsv1.SchemeGroupVersion.WithKind(kind),
		Resource:            resource,
		Singular:            singular,
		ShortNames:          []string{shortName},
		Categories:          []string{"all"},
		Namespaced:          true,
		Status:              true,
		Generation:          true,
	}
}

// warnings tells what is likely a mistake; only a new object's name can still be another.
func warnings(name string, t *corev1.PodTemplateSpec, isNew, changed bool) []string {
	var out []string
	if isNew {
		out = podspec.NameWarnings(name, "Pod names and hostnames")
	}
	return append(out, podspec.TemplateWarnings(t, specPath.Child("template"), changed)...)
}

// selectorText returns the selector in the form that the scale subresource carries.
func selectorText(s *metav1.LabelSelector) string {
	sel, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return ""
	}
	return sel.String()
}
