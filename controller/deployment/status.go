package deployment

import (
	"fmt"
	"math"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons of the Progressing and Available conditions; kubectl rollout status reads some of them.
const (
	reasonCreated     = "NewReplicaSetCreated"
	reasonFound       = "FoundNewReplicaSet"
	reasonUpdated     = "ReplicaSetUpdated"
	reasonAvailable   = "NewReplicaSetAvailable"
	reasonTimedOut    = "ProgressDeadlineExceeded"
	reasonCreateError = "ReplicaSetCreateError"
	reasonPaused      = "DeploymentPaused"
	reasonResumed     = "DeploymentResumed"
	reasonMinimum     = "MinimumReplicasAvailable"
	reasonNotMinimum  = "MinimumReplicasUnavailable"
)

// counts is the status without conditions.
func (p *planner) counts() appsv1.DeploymentStatus {
	all := p.all()
	status := appsv1.DeploymentStatus{
		ObservedGeneration: p.d.Generation,
		CollisionCount:     p.d.Status.CollisionCount,
		Replicas:           sum(all, func(rs *appsv1.ReplicaSet) int32 { return rs.Status.Replicas }),
		ReadyReplicas:      sum(all, func(rs *appsv1.ReplicaSet) int32 { return rs.Status.ReadyReplicas }),
		AvailableReplicas:  sum(all, func(rs *appsv1.ReplicaSet) int32 { return rs.Status.AvailableReplicas }),
	}
	if p.current != nil {
		status.UpdatedReplicas = p.current.Status.Replicas
	}
	status.UnavailableReplicas = max(0, sum(all, replicasOf)-status.AvailableReplicas)
	terminating := sum(all, func(rs *appsv1.ReplicaSet) int32 {
		if rs.Status.TerminatingReplicas == nil {
			return 0
		}
		return *rs.Status.TerminatingReplicas
	})
	status.TerminatingReplicas = &terminating
	return status
}

// complete tells that all replicas are of the present template, available, and the only ones.
func complete(d *appsv1.Deployment, status *appsv1.DeploymentStatus) bool {
	want := desiredOf(d)
	return status.UpdatedReplicas == want && status.Replicas == want &&
		status.AvailableReplicas == want && status.ObservedGeneration >= d.Generation
}

// progressed tells that status is closer to the goal than the deployment's last one.
func progressed(before, after *appsv1.DeploymentStatus) bool {
	return after.UpdatedReplicas > before.UpdatedReplicas ||
		after.Replicas-after.UpdatedReplicas < before.Replicas-before.UpdatedReplicas ||
		after.ReadyReplicas > before.ReadyReplicas ||
		after.AvailableReplicas > before.AvailableReplicas
}

// status returns the new status, and when the progress deadline must be looked at again.
func (p *planner) status() (appsv1.DeploymentStatus, time.Duration) {
	status := p.counts()
	c := conditions{now: metav1.NewTime(p.state.Now)}
	c.list = append(c.list, p.d.Status.Conditions...)
	if status.AvailableReplicas >= desiredOf(p.d)-maxUnavailable(p.d) {
		c.set(appsv1.DeploymentAvailable, corev1.ConditionTrue, reasonMinimum, "Deployment has minimum availability.")
	} else {
		c.set(appsv1.DeploymentAvailable, corev1.ConditionFalse, reasonNotMinimum, "Deployment does not have minimum availability.")
	}
	p.progress(&c, &status)
	p.failure(&c)
	status.Conditions = c.list
	return status, p.deadlineIn(&c, &status)
}

func (p *planner) deadline() (time.Duration, bool) {
	s := p.d.Spec.ProgressDeadlineSeconds
	if s == nil || *s == math.MaxInt32 {
		return 0, false
	}
	return time.Duration(*s) * time.Second, true
}

// progress sets the Progressing condition.
func (p *planner) progress(c *conditions, status *appsv1.DeploymentStatus) {
	deadline, limited := p.deadline()
	if !limited {
		c.remove(appsv1.DeploymentProgressing)
		return
	}
	if p.d.DeletionTimestamp != nil || p.pausing(c) {
		return
	}
	if p.created {
		c.set(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonCreated,
			fmt.Sprintf("Created new replica set %q", p.current.Name))
		return
	}
	last := c.get(appsv1.DeploymentProgressing)
	if last == nil && p.current != nil {
		c.set(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonFound,
			fmt.Sprintf("Found new replica set %q", p.current.Name))
		last = c.get(appsv1.DeploymentProgressing)
	}
	// Complete stays complete while only pods come and go.
	if last != nil && last.Reason == reasonAvailable && status.Replicas == status.UpdatedReplicas {
		return
	}
	what := fmt.Sprintf("Deployment %q", p.d.Name)
	if p.current != nil {
		what = fmt.Sprintf("ReplicaSet %q", p.current.Name)
	}
	switch {
	case complete(p.d, status):
		c.set(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonAvailable, what+" has successfully progressed.")
	case progressed(&p.d.Status, status):
		c.touch(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonUpdated, what+" is progressing.")
	case last != nil && last.Reason != reasonAvailable && last.Reason != reasonTimedOut &&
		last.LastUpdateTime.Add(deadline).Before(p.state.Now):
		c.set(appsv1.DeploymentProgressing, corev1.ConditionFalse, reasonTimedOut, what+" has timed out progressing.")
	}
}

// pausing notes in the condition that the deployment is or was paused; time spent so does not
// count towards the deadline. It tells that nothing more is to be said.
func (p *planner) pausing(c *conditions) bool {
	last := c.get(appsv1.DeploymentProgressing)
	if last != nil && last.Reason == reasonTimedOut {
		return p.d.Spec.Paused
	}
	wasPaused := last != nil && last.Reason == reasonPaused
	if p.d.Spec.Paused {
		if !wasPaused {
			c.set(appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonPaused, "Deployment is paused")
		}
		return true
	}
	if wasPaused {
		c.set(appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonResumed, "Deployment is resumed")
	}
	return false
}

// deadlineIn returns how long it is until the progress deadline.
func (p *planner) deadlineIn(c *conditions, status *appsv1.DeploymentStatus) time.Duration {
	deadline, limited := p.deadline()
	last := c.get(appsv1.DeploymentProgressing)
	if !limited || last == nil || p.d.Spec.Paused || complete(p.d, status) ||
		last.Reason == reasonTimedOut || last.Reason == reasonAvailable {
		return 0
	}
	// One second more, since the API keeps whole seconds.
	return max(time.Second, last.LastUpdateTime.Add(deadline).Sub(p.state.Now)+time.Second)
}

// failure copies ReplicaFailure of a set, the present one's first.
func (p *planner) failure(c *conditions) {
	c.remove(appsv1.DeploymentReplicaFailure)
	all := p.all()
	for i := len(all) - 1; i >= 0; i-- {
		for _, f := range all[i].Status.Conditions {
			if f.Type == appsv1.ReplicaSetReplicaFailure && f.Status == corev1.ConditionTrue {
				c.list = append(c.list, appsv1.DeploymentCondition{
					Type: appsv1.DeploymentReplicaFailure, Status: f.Status, Reason: f.Reason, Message: f.Message,
					LastUpdateTime: f.LastTransitionTime, LastTransitionTime: f.LastTransitionTime,
				})
				return
			}
		}
	}
}

// conditions is a list of conditions under change.
type conditions struct {
	list []appsv1.DeploymentCondition
	now  metav1.Time
}

func (c *conditions) get(t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range c.list {
		if c.list[i].Type == t {
			found := c.list[i]
			return &found
		}
	}
	return nil
}

func (c *conditions) remove(t appsv1.DeploymentConditionType) {
	kept := c.list[:0:0]
	for _, x := range c.list {
		if x.Type != t {
			kept = append(kept, x)
		}
	}
	c.list = kept
}

// set sets a condition unless it has that status and reason already.
func (c *conditions) set(t appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string) {
	if last := c.get(t); last != nil && last.Status == status && last.Reason == reason {
		return
	}
	c.touch(t, status, reason, message)
}

// touch sets a condition and its update time, even when nothing else changes.
func (c *conditions) touch(t appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string) {
	next := appsv1.DeploymentCondition{
		Type: t, Status: status, Reason: reason, Message: message,
		LastUpdateTime: c.now, LastTransitionTime: c.now,
	}
	last := c.get(t)
	if last == nil {
		c.list = append(c.list, next)
		return
	}
	if last.Status == status {
		next.LastTransitionTime = last.LastTransitionTime
	}
	for i := range c.list {
		if c.list[i].Type == t {
			c.list[i] = next
		}
	}
}
