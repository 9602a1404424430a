package scheduler

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
)

// job is a request to the API that the loop does not wait for. Its answer goes to the inbox.
type job interface {
	run(ctx context.Context, s *Scheduler)
}

// work runs jobs until ctx ends. Their requests may go on until requests ends.
func (s *Scheduler) work(ctx, requests context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-s.jobs:
			j.run(requests, s)
		}
	}
}

// gone tells whether a pod can't be bound because it no longer exists.
func gone(err error) bool { return apierrors.IsNotFound(err) }

// statusJob writes to the status of a waiting pod.
type statusJob struct {
	pod *corev1.Pod
	statusChange
}

// newStatusJob sets the pod's PodScheduled condition to False, and its nominated node. It returns nil when
// the pod has them already.
func newStatusJob(pod *corev1.Pod, reason, message, nominated string) *statusJob {
	c := corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: reason, Message: message,
		ObservedGeneration: pod.Generation, LastTransitionTime: metav1.Now(),
	}
	j := &statusJob{pod: pod}
	if !sameCondition(pod, &c) {
		j.condition = &c
	}
	if nominated != pod.Status.NominatedNodeName {
		j.nominated = &nominated
	}
	if j.statusChange == (statusChange{}) {
		return nil
	}
	return j
}

// newDenominateJob takes the nominated node out of the pod's status.
func newDenominateJob(pod *corev1.Pod) *statusJob {
	return &statusJob{pod: pod, statusChange: statusChange{nominated: new(string)}}
}

// statusChange is what is written to a pod's status; what is nil stays as it is.
type statusChange struct {
	condition *corev1.PodCondition
	nominated *string
}

// write writes the change. A server in the same process gets the whole status of the pod at hand, which as a rule is
// the newest one: that is much less work for it than a patch. Behind HTTPS there may be fields that this
// program does not know.
func (c *statusChange) write(ctx context.Context, s *Scheduler, pod *corev1.Pod) error {
	if s.sharesObjects && pod.ResourceVersion != "" {
		now := *pod
		c.apply(&now.Status)
		if _, err := s.podClient.UpdateStatus(ctx, &now); !apierrors.IsConflict(err) && !apierrors.IsForbidden(err) {
			return err
		}
	}
	_, err := s.podClient.Patch(ctx, pod.Namespace, pod.Name, types.StrategicMergePatchType, c.patch(pod), "status")
	return err
}

// apply changes no memory that the status shares with another one.
func (c *statusChange) apply(status *corev1.PodStatus) {
	if c.nominated != nil {
		status.NominatedNodeName = *c.nominated
	}
	if c.condition == nil {
		return
	}
	status.Conditions = slices.Clone(status.Conditions)
	for i := range status.Conditions {
		if status.Conditions[i].Type == c.condition.Type {
			status.Conditions[i] = *c.condition
			return
		}
	}
	status.Conditions = append(status.Conditions, *c.condition)
}

func (c *statusChange) patch(pod *corev1.Pod) []byte {
	status := map[string]any{}
	if c.condition != nil {
		status["conditions"] = []corev1.PodCondition{*c.condition}
	}
	if c.nominated != nil {
		status["nominatedNodeName"] = *c.nominated
		if *c.nominated == "" {
			status["nominatedNodeName"] = nil
		}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		panic(err) // such values always encode
	}
	return patch
}

// sameCondition tells whether the pod has a condition, and gives c its time if only the words differ.
func sameCondition(pod *corev1.Pod, c *corev1.PodCondition) bool {
	for i := range pod.Status.Conditions {
		old := &pod.Status.Conditions[i]
		if old.Type != c.Type || old.Status != c.Status {
			continue
		}
		if old.Reason == c.Reason && old.Message == c.Message {
			return true
		}
		c.LastTransitionTime = old.LastTransitionTime
	}
	return false
}

// statusTries bounds the attempts to write a status. The first pause is a tenth of a second.
const statusTries = 5

func (j *statusJob) run(ctx context.Context, s *Scheduler) {
	s.writeStatus(ctx, "pod", j.pod, func() error { return j.try(ctx, s) })
}

// writeStatus writes a status for the loop, which counts it as under way, and tries again what failed. What is gone,
// or is another one by now, needs none. A panic of the client, which is the caller's, counts as a failure.
func (s *Scheduler) writeStatus(ctx context.Context, what string, of client.Object, write func() error) {
	defer s.inbox.post(func(l *loop) { l.underWay-- })
	pause := 100 * time.Millisecond
	for try := 1; ; try++ {
		status := step(func() *Status { return AsStatus(write()) })
		if status == nil {
			return
		}
		err := status.cause()
		if gone(err) || apierrors.IsConflict(err) || ctx.Err() != nil {
			return
		}
		if try == statusTries {
			s.cfg.Logger.Error("failed to update a status", "of", what, "namespace", of.GetNamespace(), "name", of.GetName(), "err", err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause *= 2
	}
}

func (j *statusJob) try(ctx context.Context, s *Scheduler) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	return j.write(ctx, s, j.pod)
}

// shortened keeps an event's message within the API's limit of 1024 bytes.
func shortened(message string) string {
	const limit, more = 1024, " ..."
	if len(message) <= limit {
		return message
	}
	return message[:limit-len(more)] + more
}
