package core

import (
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

func podRow(o *corev1.Pod, now time.Time) []any {
	s := summarize(o)
	restarts := strconv.Itoa(s.restarts.count)
	if s.restarts.count != 0 && !s.restarts.last.IsZero() {
		restarts += " (" + row.Age(s.restarts.last, now) + " ago)"
	}
	return []any{
		o.Name, fmt.Sprintf("%d/%d", s.ready, s.total), s.reason, restarts, row.Age(o.CreationTimestamp, now),
		row.None(listedIP(o)), row.None(o.Spec.NodeName), row.None(o.Status.NominatedNodeName), readinessGates(o),
	}
}

func listedIP(o *corev1.Pod) string {
	if len(o.Status.PodIPs) == 0 {
		return ""
	}
	return o.Status.PodIPs[0].IP
}

func readinessGates(o *corev1.Pod) string {
	if len(o.Spec.ReadinessGates) == 0 {
		return "<none>"
	}
	met := 0
	for _, g := range o.Spec.ReadinessGates {
		if conditionIs(o, g.ConditionType, corev1.ConditionTrue) {
			met++
		}
	}
	return fmt.Sprintf("%d/%d", met, len(o.Spec.ReadinessGates))
}

func conditionIs(o *corev1.Pod, t corev1.PodConditionType, status corev1.ConditionStatus) bool {
	for _, c := range o.Status.Conditions {
		if c.Type == t {
			return c.Status == status
		}
	}
	return false
}

// podSummary is what one line tells about a pod.
type podSummary struct {
	ready, total int
	reason       string
	restarts     restarts
}

type restarts struct {
	count int
	last  metav1.Time
}

func (r *restarts) add(s *corev1.ContainerStatus) {
	r.count += int(s.RestartCount)
	if t := s.LastTerminationState.Terminated; t != nil && r.last.Before(&t.FinishedAt) {
		r.last = t.FinishedAt
	}
}

func summarize(o *corev1.Pod) podSummary {
	s := podSummary{total: len(o.Spec.Containers), reason: row.Or(o.Status.Reason, string(o.Status.Phase))}
	for _, c := range o.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated {
			s.reason = corev1.PodReasonSchedulingGated
		}
	}
	sidecars, initializing := s.initContainers(o)
	if !initializing || conditionIs(o, corev1.PodInitialized, corev1.ConditionTrue) {
		s.restarts = sidecars
		s.containers(o)
	}
	switch done := o.Status.Phase == corev1.PodFailed || o.Status.Phase == corev1.PodSucceeded; {
	case o.DeletionTimestamp == nil:
	case o.Status.Reason == "NodeLost":
		s.reason = "Unknown"
	case !done:
		s.reason = "Terminating"
	}
	return s
}

// initContainers looks at the init containers up to the first that holds the pod up. It returns the
// restarts of those that run beside the ordinary containers, and whether one holds the pod up.
func (s *podSummary) initContainers(o *corev1.Pod) (sidecars restarts, initializing bool) {
	isSidecar := map[string]bool{}
	for _, c := range o.Spec.InitContainers {
		isSidecar[c.Name] = c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	}
	for _, c := range o.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			s.total++
		}
	}
	for i := range o.Status.InitContainerStatuses {
		c := &o.Status.InitContainerStatuses[i]
		s.restarts.add(c)
		if isSidecar[c.Name] {
			sidecars.add(c)
		}
		if t := c.State.Terminated; t != nil && t.ExitCode == 0 {
			continue
		}
		if isSidecar[c.Name] && c.Started != nil && *c.Started {
			if c.Ready {
				s.ready++
			}
			continue
		}
		s.reason = initReason(c, i, len(o.Spec.InitContainers))
		return sidecars, true
	}
	return sidecars, false
}

func initReason(c *corev1.ContainerStatus, i, n int) string {
	switch w := c.State.Waiting; {
	case c.State.Terminated != nil:
		return "Init:" + exitReason(c.State.Terminated)
	case w != nil && w.Reason != "" && w.Reason != "PodInitializing":
		return "Init:" + w.Reason
	}
	return fmt.Sprintf("Init:%d/%d", i, n)
}

func exitReason(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", t.ExitCode)
}

// containers lets the first ordinary container that is not running give the reason.
func (s *podSummary) containers(o *corev1.Pod) {
	running, failure := false, ""
	for i := len(o.Status.ContainerStatuses) - 1; i >= 0; i-- {
		c := &o.Status.ContainerStatuses[i]
		s.restarts.add(c)
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			s.reason = c.State.Waiting.Reason
		case c.State.Terminated != nil:
			s.reason = exitReason(c.State.Terminated)
			if c.State.Terminated.ExitCode != 0 {
				failure = s.reason
			}
		case c.Ready && c.State.Running != nil:
			running = true
			s.ready++
		}
	}
	if s.reason != "Completed" {
		return
	}
	// One container is done; the others tell how the pod is.
	switch {
	case running && conditionIs(o, corev1.PodReady, corev1.ConditionTrue):
		s.reason = "Running"
	case failure != "":
		s.reason = failure
	case running:
		s.reason = "NotReady"
	}
}
