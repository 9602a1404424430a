package nodelifecycle

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/controller"
)

// markPods makes the pods of a node that is Unknown not ready, so that nobody sends them requests. A
// node that says itself that it is not ready reports its pods itself.
func (r *reconciler) markPods(ctx context.Context, node *corev1.Node) error {
	pods := controller.OnNode(r.pods, node.Name)
	return controller.Parallel(len(pods), func(i int) error { return r.markPod(ctx, pods[i]) })
}

func (r *reconciler) markPod(ctx context.Context, pod *corev1.Pod) error {
	for _, c := range pod.Status.Conditions {
		if c.Type != corev1.PodReady || c.Status == corev1.ConditionFalse {
			continue
		}
		c.Status, c.LastTransitionTime = corev1.ConditionFalse, metav1.Now()
		_, err := controller.SetPodStatus(ctx, r.client, pod, map[string]any{"conditions": []corev1.PodCondition{c}})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("mark pod %s not ready: %w", controller.KeyOf(pod), err)
		}
		r.events.Event(pod, corev1.EventTypeWarning, "NodeNotReady", "Node is not ready")
	}
	return nil
}
