package core

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// binding is the subresource by which a scheduler assigns a pod to a node.
func binding() apiserver.Subresource {
	return apiserver.Subresource{
		Kind:   corev1.SchemeGroupVersion.WithKind("Binding"),
		New:    func() runtime.Object { return &corev1.Binding{} },
		Create: bind,
		Copy:   copyForBinding,
	}
}

// Binding returns the row of Binding: the older form of a pod's subresource, which clients still post to.
func Binding() apiserver.Kind {
	k := apiserver.Kind{
		GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Binding"),
		Resource:         "bindings", Singular: "binding", Namespaced: true, Verbs: []string{"create"}, Object: &corev1.Binding{},
		Review: func(ctx context.Context, r *apiserver.ReviewRequest) (runtime.Object, error) {
			pod := client.Ref{GroupVersionResource: corev1.SchemeGroupVersion.WithResource("pods"),
				Namespace: r.Object.GetNamespace(), Name: r.Object.GetName(), Subresource: "binding"}
			return r.Post(ctx, pod, r.Object)
		},
	}
	k.Columns, k.Row = row.Plain()
	return k
}

// copyForBinding copies what a binding changes. A deep copy, of which the spec is the larger part, costs more than
// all else that is done for a binding.
func copyForBinding(stored client.Object) client.Object {
	pod := *stored.(*corev1.Pod)
	pod.Labels, pod.Annotations = maps.Clone(pod.Labels), maps.Clone(pod.Annotations)
	pod.Status.Conditions = slices.Clone(pod.Status.Conditions)
	return &pod
}

func bind(ctx context.Context, s apiserver.SubresourceRequest) (runtime.Object, error) {
	b, ok := s.Body.(*corev1.Binding)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Binding object: %T", s.Body))
	}
	if b.Name != s.Ref.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Binding object")
	}
	if errs := validateBinding(b); len(errs) > 0 {
		return nil, apierrors.NewInvalid(schema.GroupKind{Kind: "Binding"}, b.Name, errs)
	}
	_, err := s.Mutate(ctx, func(obj client.Object) error {
		if err := assign(obj.(*corev1.Pod), b); err != nil {
			return apierrors.NewConflict(schema.GroupResource{Resource: "pods/binding"}, s.Ref.Name, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess, Code: 201}, nil
}

func validateBinding(b *corev1.Binding) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("target")
	if k := b.Target.Kind; k != "" && k != "Node" {
		errs = append(errs, field.NotSupported(path.Child("kind"), k, []string{"Node", "<empty>"}))
	}
	if b.Target.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	return errs
}

func assign(pod *corev1.Pod, b *corev1.Binding) error {
	switch {
	case b.UID != "" && b.UID != pod.UID:
		//lint:ignore ST1005 these are the API's own words
		return fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", b.UID, pod.UID)
	case b.ResourceVersion != "" && b.ResourceVersion != pod.ResourceVersion:
		//lint:ignore ST1005 these are the API's own words
		return fmt.Errorf("Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", b.ResourceVersion, pod.ResourceVersion)
	case pod.DeletionTimestamp != nil:
		return fmt.Errorf("pod %s is being deleted, cannot be assigned to a host", pod.Name)
	case pod.Spec.NodeName != "":
		return fmt.Errorf("pod %v is already assigned to node %q", pod.Name, pod.Spec.NodeName)
	case len(pod.Spec.SchedulingGates) > 0:
		return fmt.Errorf("pod %v has non-empty .spec.schedulingGates", pod.Name)
	}
	pod.Spec.NodeName = b.Target.Name
	pod.Status.NominatedNodeName = ""
	merge(&pod.Annotations, b.Annotations)
	merge(&pod.Labels, b.Labels)
	setScheduled(&pod.Status)
	return nil
}

func merge(to *map[string]string, from map[string]string) {
	if *to == nil && len(from) > 0 {
		*to = make(map[string]string, len(from))
	}
	for k, v := range from {
		(*to)[k] = v
	}
}

func setScheduled(s *corev1.PodStatus) {
	c := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}
	for i := range s.Conditions {
		if s.Conditions[i].Type == c.Type {
			if s.Conditions[i].Status == c.Status {
				c.LastTransitionTime = s.Conditions[i].LastTransitionTime
			}
			s.Conditions[i] = c
			return
		}
	}
	s.Conditions = append(s.Conditions, c)
}
