package scheduler

import (
	"context"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
	pod   *corev1.Pod
	patch []byte
}

// newStatusJob sets the pod's PodScheduled condition to False, and its nominated node. It returns nil when
// the pod has them already.
func newStatusJob(pod *corev1.Pod, reason, message, nominated string) *statusJob {
	c := corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: reason, Message: message,
		ObservedGeneration: pod.Generation, LastTransitionTime: metav1.Now(),
	}
	status := map[string]any{}
	if !sameCondition(pod, &c) {
		status["conditions"] = []corev1.PodCondition{c}
	}
	if nominated != pod.Status.NominatedNodeName {
		status["nominatedNodeName"] = nominated
		if nominated == "" {
			status["nominatedNodeName"] = nil
		}
	}
	if len(status) == 0 {
		return nil
	}
	return &statusJob{pod: pod, patch: statusPatch(pod, status)}
}

// newDenominateJob takes the nominated node out of the pod's status.
func newDenominateJob(pod *corev1.Pod) *statusJob {
	return &statusJob{pod: pod, patch: statusPatch(pod, map[string]any{"nominatedNodeName": nil})}
}

func statusPatch(pod *corev1.Pod, status map[string]any) []byte {
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
	defer s.inbox.post(func(l *loop) { l.underWay-- })
	defer func() {
		if v := recover(); v != nil {
			s.cfg.Logger.Error("panic while updating a pod's status", "pod", j.pod.Name, "panic", v)
		}
	}()
	pause := 100 * time.Millisecond
	for try := 1; ; try++ {
		err := j.write(ctx, s)
		// A pod that is gone, or is another one by now, needs no condition.
		if err == nil || gone(err) || apierrors.IsConflict(err) || ctx.Err() != nil {
			return
		}
		if try == statusTries {
			s.cfg.Logger.Error("failed to update a pod's status", "namespace", j.pod.Namespace, "pod", j.pod.Name, "err", err)
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

func (j *statusJob) write(ctx context.Context, s *Scheduler) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	_, err := s.podClient.Patch(ctx, j.pod.Namespace, j.pod.Name, types.StrategicMergePatchType, j.patch, "status")
	return err
}

// shortened keeps an event's message within the API's limit of 1024 bytes.
func shortened(message string) string {
	const limit, more = 1024, " ..."
	if len(message) <= limit {
		return message
	}
	return message[:limit-len(more)] + more
}
