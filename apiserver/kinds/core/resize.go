package core

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// resize is the subresource by which a pod that runs gets more or less of CPU and memory.
func resize() apiserver.Subresource {
	return apiserver.Subresource{
		Kind:     corev1.SchemeGroupVersion.WithKind("Pod"),
		Merge:    row.Pair(mergeResize),
		Validate: row.Check(podspec.ValidateResize),
		Only: []string{
			"spec.containers.*.resources", "spec.containers.*.resizePolicy", "spec.initContainers.*.resources", "spec.initContainers.*.resizePolicy",
		},
	}
}

// mergeResize takes over what containers and the pod as a whole ask for. Where containers came, went or changed
// their names, it takes what was sent as it is, for validation to refuse.
func mergeResize(stored, body *corev1.Pod) {
	was := stored.Spec.Resources
	if len(body.Spec.Containers) != len(stored.Spec.Containers) || len(body.Spec.InitContainers) != len(stored.Spec.InitContainers) {
		*stored = *body
	} else {
		stored.Spec.Containers = resized(stored.Spec.Containers, body.Spec.Containers)
		stored.Spec.InitContainers = resized(stored.Spec.InitContainers, body.Spec.InitContainers)
		stored.Spec.Resources = body.Spec.Resources
	}
	if stored.Spec.Resources == nil {
		stored.Spec.Resources = was // a client that knows nothing of it means no change
	}
	podspec.DefaultPodResources(stored)
	podspec.DropDisabled(&stored.Spec)
}

// resized returns the stored containers with what those that were sent ask for.
func resized(stored, sent []corev1.Container) []corev1.Container {
	for i := range sent {
		if stored[i].Name != sent[i].Name {
			return sent
		}
	}
	for i := range sent {
		stored[i].Resources, stored[i].ResizePolicy = sent[i].Resources, sent[i].ResizePolicy
	}
	return stored
}
