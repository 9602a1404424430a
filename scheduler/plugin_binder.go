package scheduler

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// DefaultBinder binds pods by a request to their binding subresource. A profile with no BindPlugin at
// all gets it.
type DefaultBinder struct{}

// Name implements Plugin.
func (DefaultBinder) Name() string { return NameDefaultBinder }

// Bind implements BindPlugin.
func (DefaultBinder) Bind(ctx context.Context, b *Binding) *Status {
	pods := client.For[*corev1.Pod](b.Handle.Client())
	return settleBinding(ctx, b, pods, postBinding(ctx, b, pods))
}

// settleBinding finds out what an error that the server may not have meant says about a binding.
func settleBinding(ctx context.Context, b *Binding, pods client.Typed[*corev1.Pod], err error) *Status {
	if err == nil || refusedBinding(err) || ctx.Err() != nil {
		return AsStatus(err)
	}
	// The binding may have been carried out and only the answer lost. To take it for failed would
	// give the pod's room to another one.
	getCtx, cancel := context.WithTimeout(ctx, b.Handle.RequestTimeout())
	defer cancel()
	pod := b.Pod.Pod
	if now, getErr := pods.Get(getCtx, pod.Namespace, pod.Name); getErr == nil && now.UID == pod.UID && now.Spec.NodeName == b.Node {
		return nil
	}
	return AsStatus(err)
}

func postBinding(ctx context.Context, b *Binding, pods client.Typed[*corev1.Pod]) error {
	ctx, cancel := context.WithTimeout(ctx, b.Handle.RequestTimeout())
	defer cancel()
	ref, binding := bindingOf(pods, b.Pod.Pod, b.Node)
	_, err := b.Handle.Client().Create(ctx, ref, binding, metav1.CreateOptions{})
	return err
}

// bindingOf returns what is posted, and where. The UID makes the server refuse when the pod was made anew meanwhile.
func bindingOf(pods client.Typed[*corev1.Pod], pod *corev1.Pod, node string) (client.Ref, *corev1.Binding) {
	ref := pods.Ref(pod.Namespace, pod.Name)
	ref.Subresource = "binding"
	return ref, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}
}

// refusedBinding tells whether the server has surely not bound the pod.
func refusedBinding(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) ||
		apierrors.IsUnauthorized(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsTooManyRequests(err)
}
