package replicaset

import (
	"context"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/inboard/inboard/controller"
)

// maxPrefix leaves room for the random end of a pod's name, so that the name fits a host name.
const (
	maxPrefix    = 58
	suffixLength = 5
	firstBatch   = 1
)

// create creates n pods in batches that double in size, and stops after a batch with an error: a
// set whose pods are refused, by a quota say, asks once or twice, not n times.
func (r *reconciler) create(ctx context.Context, rs *appsv1.ReplicaSet, n int) error {
	for batch := firstBatch; n > 0; batch *= 2 {
		batch = min(batch, n)
		if err := controller.Parallel(batch, func(int) error { return r.createPod(ctx, rs) }); err != nil {
			return err
		}
		n -= batch
	}
	return nil
}

// newPod returns a pod of rs with a name of its own.
func newPod(rs *appsv1.ReplicaSet) *corev1.Pod {
	prefix := rs.Name + "-"
	template := rs.Spec.Template
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName:    prefix,
			Name:            prefix[:min(len(prefix), maxPrefix)] + rand.String(suffixLength),
			Namespace:       rs.Namespace,
			Labels:          maps.Clone(template.Labels),
			Annotations:     maps.Clone(template.Annotations),
			Finalizers:      slices.Clone(template.Finalizers),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(rs, kind)},
		},
		Spec: *template.Spec.DeepCopy(),
	}
}

func (r *reconciler) createPod(ctx context.Context, rs *appsv1.ReplicaSet) error {
	pod := newPod(rs)
	name := controller.NameOf(pod)
	r.expect.Create(controller.KeyOf(rs), name)
	_, err := r.typed.Create(ctx, pod)
	if err == nil {
		r.events.Eventf(rs, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: %s", pod.Name)
		return nil
	}
	if controller.Refused(err) {
		r.expect.Drop(name)
	}
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil // the set is about to go as well
	}
	if ctx.Err() == nil {
		r.events.Eventf(rs, corev1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
	}
	return err
}

func (r *reconciler) delete(ctx context.Context, rs *appsv1.ReplicaSet, pods []*corev1.Pod) error {
	return controller.Parallel(len(pods), func(i int) error { return r.deletePod(ctx, rs, pods[i]) })
}

func (r *reconciler) deletePod(ctx context.Context, rs *appsv1.ReplicaSet, pod *corev1.Pod) error {
	name := controller.NameOf(pod)
	r.expect.Delete(controller.KeyOf(rs), name, pod.UID)
	err := r.typed.Delete(ctx, pod.Namespace, pod.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
	})
	if seen, ok := r.pods.Get(pod.Namespace, pod.Name); !ok || seen.UID != pod.UID || seen.DeletionTimestamp != nil {
		r.expect.Drop(name) // the view was faster than we were
	}
	switch {
	case err == nil:
		r.events.Eventf(rs, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %s", pod.Name)
		return nil
	case apierrors.IsNotFound(err):
		return nil // the view will show it
	case controller.Refused(err):
		r.expect.Drop(name)
	}
	if ctx.Err() == nil {
		r.events.Eventf(rs, corev1.EventTypeWarning, "FailedDelete", "Error deleting: %v", err)
	}
	return fmt.Errorf("delete pod %s: %w", pod.Name, err)
}
