package controller

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
)

// nodeIndex is the index that IndexNodes adds.
const nodeIndex = "node"

// IndexNodes adds the index of pods by the nodes that they are bound to, for OnNode.
func IndexNodes(v *View[*corev1.Pod]) {
	v.Index(nodeIndex, func(p *corev1.Pod) []string {
		if p.Spec.NodeName == "" {
			return nil
		}
		return []string{p.Spec.NodeName}
	})
}

// OnNode returns the pods that are bound to a node. The view needs IndexNodes.
func OnNode(v *View[*corev1.Pod], node string) []*corev1.Pod { return v.ByIndex(nodeIndex, node) }

// SetPodStatus merges fields into the status of a pod on the server: conditions by their types. It
// returns the pod as it is then. The error is a Conflict when the pod of that name is another one, or not in the state that pod shows.
func SetPodStatus(ctx context.Context, c client.Interface, pod *corev1.Pod, fields map[string]any) (*corev1.Pod, error) {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID, "resourceVersion": pod.ResourceVersion},
		"status":   fields,
	})
	if err != nil {
		return nil, err
	}
	return client.For[*corev1.Pod](c).Patch(ctx, pod.Namespace, pod.Name, types.StrategicMergePatchType, patch, "status")
}

// Disruption is the condition that tells why a pod is about to be deleted, as a list of one for
// SetPodStatus.
func Disruption(pod *corev1.Pod, reason, message string) []corev1.PodCondition {
	return []corev1.PodCondition{{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, Message: message,
		ObservedGeneration: pod.Generation, LastTransitionTime: metav1.Now(),
	}}
}
