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

// conditionJob sets the pod's PodScheduled condition to False.
type conditionJob struct {
	pod   *corev1.Pod
	patch []byte
}

// newConditionJob returns nil when the pod has the condition already.
func newConditionJob(pod *corev1.Pod, reason, message string) *conditionJob {
	c := corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: reason, Message: message,
		ObservedGeneration: pod.Generation, LastTransitionTime: metav1.Now(),
	}
	for i := range pod.Status.Conditions {
		old := &pod.Status.Conditions[i]
		if old.Type != c.Type {
			continue
		}
		if old.Status == c.Status {
			if old.Reason == c.Reason && old.Message == c.Message {
				return nil
			}
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"status":   map[string]any{"conditions": []corev1.PodCondition{c}},
	})
	if err != nil {
		return nil // such values always encode
	}
	return &conditionJob{pod: pod, patch: patch}
}

// conditionTries bounds the attempts to write a condition. The first pause is a tenth of a second.
const conditionTries = 5

func (j *conditionJob) run(ctx context.Context, s *Scheduler) {
	defer s.inbox.post(func(l *loop) { l.underWay-- })
	defer func() {
		if v := recover(); v != nil {
			s.cfg.Logger.Error("panic while updating a pod's condition", "pod", j.pod.Name, "panic", v)
		}
	}()
	pause := 100 * time.Millisecond
	for try := 1; ; try++ {
		err := j.write(ctx, s)
		// A pod that is gone, or is another one by now, needs no condition.
		if err == nil || gone(err) || apierrors.IsConflict(err) || ctx.Err() != nil {
			return
		}
		if try == conditionTries {
			s.cfg.Logger.Error("failed to update a pod's condition", "namespace", j.pod.Namespace, "pod", j.pod.Name, "err", err)
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

func (j *conditionJob) write(ctx context.Context, s *Scheduler) error {
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
