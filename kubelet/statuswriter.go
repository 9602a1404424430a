package kubelet

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// statusWriter keeps the API's status of one pod up to date. While one write runs, later wishes
// are merged into the next.
type statusWriter struct {
	k *Kubelet

	mu     sync.Mutex
	api    *corev1.Pod // the newest version known
	wish   *corev1.PodStatus
	wished bool // wish is newer than what was written
	idle   chan struct{}
	notify chan struct{}
	done   chan struct{}
}

func newStatusWriter(k *Kubelet) *statusWriter {
	return &statusWriter{k: k, notify: make(chan struct{}, 1), done: make(chan struct{})}
}

// saw tells a version of the pod that the API delivered.
func (s *statusWriter) saw(pod *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.api == nil || version(pod) >= version(s.api) {
		s.api = pod
	}
}

func version(pod *corev1.Pod) uint64 {
	n, err := strconv.ParseUint(pod.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// want tells the status that the pod should have.
func (s *statusWriter) want(st corev1.PodStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wish != nil {
		keepTimes(st.Conditions, s.wish.Conditions)
		if equality.Semantic.DeepEqual(*s.wish, st) {
			return
		}
	}
	s.wish, s.wished = &st, true
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	select {
	case s.notify <- struct{}{}:
	default:
	}
}

// keepTimes gives conditions that did not change the transition times of the earlier ones.
func keepTimes(now, before []corev1.PodCondition) {
	for i := range now {
		for _, o := range before {
			if o.Type == now[i].Type && o.Status == now[i].Status && !o.LastTransitionTime.IsZero() {
				now[i].LastTransitionTime = o.LastTransitionTime
			}
		}
	}
}

// run writes until ctx ends.
func (s *statusWriter) run(ctx context.Context) {
	go func() {
		defer close(s.done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.notify:
			}
			for more, err := s.write(ctx); more; more, err = s.write(ctx) {
				if err == nil {
					continue
				}
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Second):
				}
			}
		}
	}()
}

// stop waits for the end of run; its context must have ended.
func (s *statusWriter) stop() { <-s.done }

// flush waits until the newest wish is written.
func (s *statusWriter) flush(ctx context.Context) error {
	for {
		s.mu.Lock()
		idle := s.idle
		s.mu.Unlock()
		if idle == nil {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// write writes the wish and reports whether there is more to write.
func (s *statusWriter) write(ctx context.Context) (more bool, err error) {
	s.mu.Lock()
	api, wish := s.api, s.wish
	s.wished = false
	s.mu.Unlock()
	pod, err := s.patch(ctx, api, wish)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && pod != nil:
		if version(pod) >= version(s.api) {
			s.api = pod
		}
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		// The pod is gone, or another of the same name is there; the watch will tell.
	case err != nil:
		if ctx.Err() == nil {
			s.k.log.Warn("can't write a pod's status; trying again", "pod", podName(api), "err", err)
		}
		s.wished = true
		return true, err
	}
	if !s.wished && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
	return s.wished, nil
}

// patch sends what differs between the API's status and the wish; nothing when nothing does.
func (s *statusWriter) patch(ctx context.Context, api *corev1.Pod, wish *corev1.PodStatus) (*corev1.Pod, error) {
	was, err := json.Marshal(corev1.Pod{Status: api.Status})
	if err != nil {
		return nil, err
	}
	next := corev1.Pod{Status: *wish}
	is, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	diff, err := strategicpatch.CreateTwoWayMergePatch(was, is, corev1.Pod{})
	if err != nil || string(diff) == "{}" {
		return nil, err
	}
	var body map[string]any
	if err := json.Unmarshal(diff, &body); err != nil {
		return nil, err
	}
	body["metadata"] = map[string]any{"uid": api.UID} // another pod of this name gets a conflict
	if diff, err = json.Marshal(body); err != nil {
		return nil, err
	}
	return s.k.pods.Patch(ctx, api.Namespace, api.Name, types.StrategicMergePatchType, diff, "status")
}
