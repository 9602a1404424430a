package core

import (
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// ephemeralContainers is the subresource by which kubectl debug adds containers to a pod that runs. It
// changes nothing else.
func ephemeralContainers() apiserver.Subresource {
	return apiserver.Subresource{
		Kind: corev1.SchemeGroupVersion.WithKind("Pod"),
		Merge: row.Pair(func(stored, body *corev1.Pod) {
			stored.Spec.EphemeralContainers = body.Spec.EphemeralContainers
			podspec.DropDisabled(&stored.Spec)
		}),
		Validate: row.Check(podspec.ValidateEphemeralContainers),
		Resets:   podFieldsBut("EphemeralContainers"),
	}
}

// podFieldsBut names what writers of a subresource don't come to manage: all of a pod but one field of its
// spec.
func podFieldsBut(field string) []string {
	out := []string{"metadata", "status"}
	spec := reflect.TypeFor[corev1.PodSpec]()
	for i := range spec.NumField() {
		if f := spec.Field(i); f.Name != field {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			out = append(out, "spec."+name)
		}
	}
	return out
}
