package core

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Pod returns the row of Pod.
func Pod() apiserver.Kind {
	k := newKind("Pod", "pods", "pod", "po")
	k.Categories = []string{"all"}
	k.Status = true
	k.StatusResets = []string{"metadata.deletionTimestamp", "metadata.ownerReferences"}
	k.Generation = true
	k.Object, k.List = &corev1.Pod{}, &corev1.PodList{}
	k.ReturnDeleted = true
	k.Subresources = map[string]apiserver.Subresource{"binding": binding(), "ephemeralcontainers": ephemeralContainers(), "resize": resize()}
	k.GracePeriod = row.Value(podGracePeriod)
	k.Default = row.Of(defaultPod)
	k.Prepare = row.Pair(preparePod)
	k.PrepareStatus = row.Pair(preparePodStatus)
	k.Validate = row.Check(validatePod)
	k.ValidateStatus = row.Check(podspec.ValidatePodStatus)
	k.Warnings, k.StatusWarnings = row.Warn(podWarnings), row.Warn(podStatusWarnings)
	k.Fields = row.Fields(podFields())
	k.Columns = row.Columns("Name", "Ready", "Status", "Restarts", "Age", "IP::wide", "Node::wide",
		"Nominated Node::wide", "Readiness Gates::wide")
	k.Row = row.Cells(podRow)
	return k
}

func defaultPod(o *corev1.Pod) {
	podspec.DefaultPod(o)
	podspec.Default(&o.Spec)
}

func preparePod(o, old *corev1.Pod) {
	podspec.DropDisabled(&o.Spec)
	if old != nil {
		if o.Spec.Resources == nil {
			o.Spec.Resources = old.Spec.Resources.DeepCopy() // a client that knows nothing of it means no change
		}
		return
	}
	o.Status = corev1.PodStatus{Phase: corev1.PodPending}
	if len(o.Spec.SchedulingGates) > 0 {
		o.Status.Conditions = []corev1.PodCondition{{
			Type:    corev1.PodScheduled,
			Status:  corev1.ConditionFalse,
			Reason:  corev1.PodReasonSchedulingGated,
			Message: "Scheduling is blocked due to non-empty scheduling gates",

			LastTransitionTime: o.CreationTimestamp,
		}}
	}
	podspec.MergeLabelKeys(o)
	podspec.DefaultPodResources(o)
	o.Status.QOSClass = podspec.QOS(&o.Spec)
}

// preparePodStatus keeps what old kubelets do not know of.
func preparePodStatus(o, old *corev1.Pod) {
	s, was := &o.Status, old.Status.DeepCopy()
	if s.QOSClass == "" {
		s.QOSClass = was.QOSClass
	}
	if s.ResourceClaimStatuses == nil {
		s.ResourceClaimStatuses = was.ResourceClaimStatuses
	}
	if s.ObservedGeneration == 0 {
		s.ObservedGeneration = was.ObservedGeneration
	}
}

func validatePod(o, old *corev1.Pod) field.ErrorList {
	if old == nil {
		return podspec.ValidatePod(o)
	}
	return podspec.ValidatePodUpdate(o, old)
}

// A pod that no node runs, or whose containers are done, has nothing to stop gracefully.
func podGracePeriod(o *corev1.Pod) int64 {
	done := o.Status.Phase == corev1.PodFailed || o.Status.Phase == corev1.PodSucceeded
	if done || o.Spec.NodeName == "" || o.Spec.TerminationGracePeriodSeconds == nil {
		return 0
	}
	if *o.Spec.TerminationGracePeriodSeconds < 0 {
		return 1
	}
	return *o.Spec.TerminationGracePeriodSeconds
}

func podFields() map[string]func(*corev1.Pod) string {
	return map[string]func(*corev1.Pod) string{
		"spec.nodeName":            func(o *corev1.Pod) string { return o.Spec.NodeName },
		"spec.restartPolicy":       func(o *corev1.Pod) string { return string(o.Spec.RestartPolicy) },
		"spec.schedulerName":       func(o *corev1.Pod) string { return o.Spec.SchedulerName },
		"spec.serviceAccountName":  func(o *corev1.Pod) string { return o.Spec.ServiceAccountName },
		"spec.hostNetwork":         func(o *corev1.Pod) string { return strconv.FormatBool(o.Spec.HostNetwork) },
		"status.phase":             func(o *corev1.Pod) string { return string(o.Status.Phase) },
		"status.podIP":             podIP,
		"status.nominatedNodeName": func(o *corev1.Pod) string { return o.Status.NominatedNodeName },
	}
}

func podIP(o *corev1.Pod) string {
	if len(o.Status.PodIPs) > 0 {
		return o.Status.PodIPs[0].IP
	}
	return o.Status.PodIP
}
