package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
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

// bindJob gives a pod its node.
type bindJob struct {
	pod       *corev1.Pod
	key, node string
}

func (j *bindJob) run(ctx context.Context, s *Scheduler) {
	err := j.bind(ctx, s)
	s.inbox.post(func(l *loop) { l.bound(j, err) })
	if err != nil {
		s.cfg.Logger.Error("failed to bind pod", "namespace", j.pod.Namespace, "pod", j.pod.Name, "node", j.node, "err", err)
		return
	}
	s.cfg.Logger.Debug("bound pod", "namespace", j.pod.Namespace, "pod", j.pod.Name, "node", j.node)
	s.recorder.Eventf(j.pod, corev1.EventTypeNormal, "Scheduled", "Successfully assigned %s/%s to %s", j.pod.Namespace, j.pod.Name, j.node)
}

func (j *bindJob) bind(ctx context.Context, s *Scheduler) (err error) {
	// A client is given by the caller; its panic must not leave the pod assumed for ever.
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	if err = j.post(ctx, s); err == nil || refusedBinding(err) || ctx.Err() != nil {
		return err
	}
	// The binding may have been carried out and only the answer lost. To take it for failed would
	// give the pod's room to another one.
	getCtx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	if pod, getErr := s.podClient.Get(getCtx, j.pod.Namespace, j.pod.Name); getErr == nil && pod.UID == j.pod.UID && pod.Spec.NodeName == j.node {
		return nil
	}
	return err
}

func (j *bindJob) post(ctx context.Context, s *Scheduler) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	ref := s.podClient.Ref(j.pod.Namespace, j.pod.Name)
	ref.Subresource = "binding"
	// The UID makes the server refuse when the pod was made anew meanwhile.
	_, err := s.cfg.Client.Create(ctx, ref, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: j.pod.Namespace, Name: j.pod.Name, UID: j.pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: j.node},
	}, metav1.CreateOptions{})
	return err
}

// refusedBinding tells whether the server has surely not bound the pod.
func refusedBinding(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) ||
		apierrors.IsUnauthorized(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsTooManyRequests(err)
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
