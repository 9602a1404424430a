package apiserver

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// The priority classes that every cluster has.
var systemPriorities = map[string]int32{
	"system-cluster-critical": 2_000_000_000,
	"system-node-critical":    2_000_001_000,
}

// priority computes a new pod's priority from its class.
func (s *Server) priority(_ context.Context, r *AdmissionRequest) error {
	pod, ok := r.Object.(*corev1.Pod)
	if !ok || r.Operation != Create || r.Ref.Subresource != "" {
		return nil
	}
	value, policy, err := priorityOf(r, pod.Spec.PriorityClassName)
	if err != nil {
		return err
	}
	if p := pod.Spec.Priority; p != nil && *p != value {
		return fmt.Errorf("the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", *p, value)
	}
	if p := pod.Spec.PreemptionPolicy; p != nil && *p != policy {
		return fmt.Errorf("the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", *p, policy)
	}
	pod.Spec.Priority, pod.Spec.PreemptionPolicy = &value, &policy
	return nil
}

func priorityOf(r *AdmissionRequest, class string) (int32, corev1.PreemptionPolicy, error) {
	if class == "" {
		return 0, corev1.PreemptLowerPriority, nil
	}
	if value, ok := systemPriorities[class]; ok {
		return value, corev1.PreemptLowerPriority, nil
	}
	obj, ok, err := r.Lookup(client.Ref{GroupVersionResource: schedulingv1.SchemeGroupVersion.WithResource("priorityclasses"), Name: class})
	if err != nil {
		return 0, "", err
	}
	pc, isClass := obj.(*schedulingv1.PriorityClass)
	if !ok || !isClass {
		return 0, "", fmt.Errorf("no PriorityClass with name %v was found", class)
	}
	policy := corev1.PreemptLowerPriority
	if pc.PreemptionPolicy != nil {
		policy = *pc.PreemptionPolicy
	}
	return pc.Value, policy, nil
}
