package scheduler

import (
	"context"
	"encoding/json"
	"errors"

	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
)

// groupJob writes to the status of a pod group.
type groupJob struct {
	group *schedulingv1beta1.PodGroup
	patch []byte
}

// reportGroup tells by the group's condition whether it was placed. Once it was, it stays so.
func (l *loop) reportGroup(group *schedulingv1beta1.PodGroup, err error) {
	c := metav1.Condition{Type: schedulingv1beta1.PodGroupInitiallyScheduled, Status: metav1.ConditionTrue, Reason: "Scheduled",
		ObservedGeneration: group.Generation, LastTransitionTime: metav1.Now()}
	if err != nil {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, schedulingv1beta1.PodGroupReasonSchedulerError, err.Error()
		if few := (*GangError)(nil); errors.As(err, &few) {
			c.Reason = schedulingv1beta1.PodGroupReasonUnschedulable
		}
	}
	if old := meta.FindStatusCondition(group.Status.Conditions, c.Type); old != nil {
		if old.Status == metav1.ConditionTrue || old.Status == c.Status && old.Reason == c.Reason && old.Message == c.Message {
			return
		}
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": group.UID}, "status": map[string]any{"conditions": []metav1.Condition{c}}})
	if err != nil {
		panic(err) // such values always encode
	}
	l.send(&groupJob{group: group, patch: patch})
}

func (j *groupJob) run(ctx context.Context, s *Scheduler) {
	s.writeStatus(ctx, "podgroup", j.group, func() error { return j.write(ctx, s) })
}

func (j *groupJob) write(ctx context.Context, s *Scheduler) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	groups := client.For[*schedulingv1beta1.PodGroup](s.cfg.Client)
	_, err := groups.Patch(ctx, j.group.Namespace, j.group.Name, types.StrategicMergePatchType, j.patch, "status")
	return err
}
