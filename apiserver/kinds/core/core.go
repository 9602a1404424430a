// Package core has the rows of the kinds of the core group, v1: what package apiserver needs to know to
// serve pods, nodes, namespaces, services, volumes and what belongs to them. Defaults, field errors and
// table cells are those of Kubernetes 1.37.
package core

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver"
)

// Kinds returns the rows of all kinds of the core group. The slice is the caller's own.
func Kinds() []apiserver.Kind {
	return []apiserver.Kind{
		Binding(), ConfigMap(), Endpoints(), Event(), LimitRange(), Namespace(), Node(), PersistentVolumeClaim(), PersistentVolume(),
		Pod(), PodTemplate(), ReplicationController(), ResourceQuota(), Secret(), ServiceAccount(), Service(),
	}
}

func newKind(kind, resource, singular string, shortNames ...string) apiserver.Kind {
	return apiserver.Kind{
		QualifiedFinalizers: true,
		GroupVersionKind:    corev1.SchemeGroupVersion.WithKind(kind),
		Resource:            resource,
		Singular:            singular,
		ShortNames:          shortNames,
		Namespaced:          true,
	}
}
