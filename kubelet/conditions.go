package kubelet

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// foreignConditions returns own, with the transition times that the API's pod has where the
// status is the same, and then the conditions of others.
func foreignConditions(pod *corev1.Pod, own []corev1.PodCondition) []corev1.PodCondition {
	out := make([]corev1.PodCondition, 0, len(own)+len(pod.Status.Conditions))
	mine := map[corev1.PodConditionType]bool{}
	for _, c := range own {
		mine[c.Type] = true
		for _, o := range pod.Status.Conditions {
			if o.Type == c.Type && o.Status == c.Status && !o.LastTransitionTime.IsZero() {
				c.LastTransitionTime = o.LastTransitionTime
			}
		}
		out = append(out, c)
	}
	for _, o := range pod.Status.Conditions {
		if !mine[o.Type] {
			out = append(out, o)
		}
	}
	return out
}

// conditions returns the kubelet's conditions of a pod.
func conditions(s *podState, phase corev1.PodPhase, now time.Time) []corev1.PodCondition {
	pod := s.Pod
	containers := containersReady(s, phase)
	out := []corev1.PodCondition{
		{Type: corev1.PodReadyToStartContainers, Status: truth(s.Sandbox != nil && s.Sandbox.Ready && !s.Cleaned)},
		initialized(s, phase),
		ready(pod, containers),
		containers,
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
	}
	for i := range out {
		out[i].LastTransitionTime = metav1.NewTime(now)
		out[i].ObservedGeneration = pod.Generation
	}
	return out
}

func truth(b bool) corev1.ConditionStatus {
	if b {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}

func initialized(s *podState, phase corev1.PodPhase) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if phase == corev1.PodSucceeded {
		c.Reason = "PodCompleted"
		return c
	}
	if s.appsBegan() {
		return c
	}
	var names []string
	for i := range s.Pod.Spec.InitContainers {
		ic := &s.Pod.Spec.InitContainers[i]
		r := s.peek(ic.Name)
		if isSidecar(ic) && !r.started(ic) || !isSidecar(ic) && !r.succeeded() {
			names = append(names, ic.Name)
		}
	}
	if len(names) > 0 {
		c.Status, c.Reason = corev1.ConditionFalse, "ContainersNotInitialized"
		c.Message = fmt.Sprintf("containers with incomplete status: [%s]", strings.Join(names, " "))
	}
	return c
}

func containersReady(s *podState, phase corev1.PodPhase) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}
	switch phase {
	case corev1.PodSucceeded:
		c.Status, c.Reason = corev1.ConditionFalse, "PodCompleted"
		return c
	case corev1.PodFailed:
		c.Status, c.Reason = corev1.ConditionFalse, "PodFailed"
		return c
	}
	var unready []string
	for _, x := range eachContainer(s.Pod) {
		if isInit(s.Pod, x.Name) && !isSidecar(x) {
			continue
		}
		if !s.peek(x.Name).ready(x) {
			unready = append(unready, x.Name)
		}
	}
	if len(unready) > 0 {
		c.Status, c.Reason = corev1.ConditionFalse, "ContainersNotReady"
		c.Message = fmt.Sprintf("containers with unready status: [%s]", strings.Join(unready, " "))
	}
	return c
}

// ready is the pod's readiness: the containers' and the readiness gates'.
func ready(pod *corev1.Pod, containers corev1.PodCondition) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.PodReady, Status: containers.Status,
		Reason: containers.Reason, Message: containers.Message}
	if c.Status != corev1.ConditionTrue {
		return c
	}
	var unmet []string
	for _, g := range pod.Spec.ReadinessGates {
		met, found := false, false
		for _, o := range pod.Status.Conditions {
			if o.Type == g.ConditionType {
				met, found = o.Status == corev1.ConditionTrue, true
			}
		}
		switch {
		case !found:
			unmet = append(unmet, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", g.ConditionType))
		case !met:
			unmet = append(unmet, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but False", g.ConditionType))
		}
	}
	if len(unmet) > 0 {
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, "ReadinessGatesNotReady", strings.Join(unmet, ", ")
	}
	return c
}

// qosClass returns the pod's quality-of-service class; see the Kubernetes documentation on
// Pod Quality of Service Classes.
func qosClass(pod *corev1.Pod) corev1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	guaranteed, any := true, false
	for _, c := range eachContainer(pod) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			limit, hasLimit := c.Resources.Limits[name]
			request, hasRequest := c.Resources.Requests[name]
			if hasLimit && !limit.IsZero() || hasRequest && !request.IsZero() {
				any = true
			}
			if !hasLimit || limit.IsZero() || hasRequest && request.Cmp(limit) != 0 {
				guaranteed = false
			}
		}
	}
	switch {
	case !any:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	default:
		return corev1.PodQOSBurstable
	}
}
