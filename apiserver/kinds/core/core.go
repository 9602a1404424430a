// Package core has the rows of the kinds of the core group, v1: what package apiserver needs to
// know to serve Namespace, Node, Pod, Service, Endpoints, PersistentVolume and its claims, ConfigMap,
// Secret, ServiceAccount and Event. Defaults, field errors and table cells are those of Kubernetes 1.37.
package core

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver"
)

// Kinds returns the rows of all kinds of the core group. The slice is the caller's own.
func Kinds() []apiserver.Kind {
	return []apiserver.Kind{
		ConfigMap(), Endpoints(), Event(), Namespace(), Node(), PersistentVolumeClaim(), PersistentVolume(), Pod(),
		Secret(), ServiceAccount(), Service(),
	}
}

func newKind(kind, resource, singular string, shortNames ...string) apiserver.Kind {
	return apiserver.Kind{
		GroupVersionKind: corev1.SchemeGroupVersion.WithKind(kind),
		Resource:         resource,
		Singular:         singular,
		ShortNames:       shortNames,
		Namespaced:       true,
	}
}
