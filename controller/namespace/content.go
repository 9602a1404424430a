package namespace

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// content is what was found in a namespace that is being deleted.
type content struct {
	discovery, deletion error
	// remaining counts objects by resource, finalizers by their name: both are of those that
	// were still there after the deletion.
	remaining  map[string]int
	finalizers map[string]int
	failed     int // resources whose deletion failed
}

func (c *content) left() bool { return len(c.remaining) > 0 }

// empty deletes all that a namespace holds: the pods first, the rest once they are gone, since pods
// that stop may need what they were given, and network policies are there to guard them (KEP-5080).
func (r *reconciler) empty(ctx context.Context, namespace string) content {
	out := content{remaining: map[string]int{}, finalizers: map[string]int{}}
	resources, err := r.resources(ctx)
	out.discovery = err
	resources = slices.DeleteFunc(resources, func(x controller.Resource) bool { return !x.Namespaced })
	pods := slices.IndexFunc(resources, func(x controller.Resource) bool { return x.GroupResource().String() == "pods" })
	if pods >= 0 {
		r.emptyEach(ctx, resources[pods:pods+1], namespace, &out)
		if out.left() || out.deletion != nil {
			return out
		}
		resources = slices.Delete(resources, pods, pods+1)
	}
	r.emptyEach(ctx, resources, namespace, &out)
	return out
}

// emptyEach deletes the objects of some resources, and counts those that stay.
func (r *reconciler) emptyEach(ctx context.Context, resources []controller.Resource, namespace string, out *content) {
	var failed []string
	for _, x := range resources {
		if err := r.emptyOf(ctx, x, namespace, out); err != nil {
			failed = append(failed, err.Error())
		}
	}
	if len(failed) > 0 {
		out.deletion = fmt.Errorf("delete %d of the resources: %s", len(failed), strings.Join(failed, ", "))
		out.failed = len(failed)
	}
}

// emptyOf deletes the objects of one resource, and counts those that stay.
func (r *reconciler) emptyOf(ctx context.Context, x controller.Resource, namespace string, out *content) error {
	ref := client.Ref{GroupVersionResource: x.GroupVersionResource, Namespace: namespace}
	list, err := r.client.List(ctx, ref, metav1.ListOptions{})
	if err != nil {
		return ignoreUnserved(fmt.Errorf("list %s: %w", x.Resource, err))
	}
	if len(list.Items) == 0 {
		return nil
	}
	err = controller.Parallel(len(list.Items), func(i int) error { return r.deleteOne(ctx, ref, list.Items[i]) })
	if err != nil {
		return fmt.Errorf("delete %s: %w", x.Resource, err)
	}
	if list, err = r.client.List(ctx, ref, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("list %s: %w", x.Resource, err)
	}
	for _, o := range list.Items {
		out.remaining[x.Resource+"."+x.Group]++
		if m, ok := o.(metav1.Object); ok {
			for _, f := range m.GetFinalizers() {
				out.finalizers[f]++
			}
		}
	}
	return nil
}

func (r *reconciler) deleteOne(ctx context.Context, ref client.Ref, obj runtime.Object) error {
	m, ok := obj.(metav1.Object)
	if !ok || m.GetDeletionTimestamp() != nil {
		return nil
	}
	ref.Name = m.GetName()
	background := metav1.DeletePropagationBackground
	err := r.client.Delete(ctx, ref, metav1.DeleteOptions{PropagationPolicy: &background})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // gone, or changed: the next look tells
	}
	return err
}

// ignoreUnserved drops the error of a resource that the server does not have, or can't list.
func ignoreUnserved(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return nil
	}
	return err
}

// conditions returns the namespace's conditions, in kube's words, with those of others kept.
func (c *content) conditions(old []corev1.NamespaceCondition, now metav1.Time) []corev1.NamespaceCondition {
	out := slices.Clone(old)
	set := func(t corev1.NamespaceConditionType, bad bool, good, goodText, badReason, badText string) {
		next := corev1.NamespaceCondition{
			Type: t, Status: corev1.ConditionFalse, Reason: good, Message: goodText, LastTransitionTime: now,
		}
		if bad {
			next.Status, next.Reason, next.Message = corev1.ConditionTrue, badReason, badText
		}
		i := slices.IndexFunc(out, func(x corev1.NamespaceCondition) bool { return x.Type == t })
		if i < 0 {
			out = append(out, next)
			return
		}
		if out[i].Status == next.Status {
			next.LastTransitionTime = out[i].LastTransitionTime
		}
		out[i] = next
	}
	set(corev1.NamespaceDeletionDiscoveryFailure, c.discovery != nil,
		"ResourcesDiscovered", "All resources successfully discovered",
		"DiscoveryFailed", fmt.Sprintf("Discovery failed for some groups, 1 failing: %v", c.discovery))
	set(corev1.NamespaceDeletionGVParsingFailure, false,
		"ParsedGroupVersions", "All legacy kube types successfully parsed", "", "")
	set(corev1.NamespaceDeletionContentFailure, c.deletion != nil,
		"ContentDeleted", "All content successfully deleted, may be waiting on finalization",
		"ContentDeletionFailed", fmt.Sprintf("Failed to delete all resource types, %d remaining: %v", c.failed, c.deletion))
	set(corev1.NamespaceContentRemaining, len(c.remaining) > 0,
		"ContentRemoved", "All content successfully removed",
		"SomeResourcesRemain", "Some resources are remaining: "+describe(c.remaining, "%s has %d resource instances"))
	set(corev1.NamespaceFinalizersRemaining, len(c.finalizers) > 0,
		"ContentHasNoFinalizers", "All content-preserving finalizers finished",
		"SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: "+describe(c.finalizers, "%s in %d resource instances"))
	return out
}

func describe(counts map[string]int, format string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf(format, name, counts[name]))
	}
	return strings.Join(parts, ", ")
}
