package scheduler

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/inboard/inboard/apiserver/client"
)

// Handle is how plugins reach the scheduler that runs them. Its methods may be called by many
// goroutines at once, those of plugins included.
type Handle struct{ s *Scheduler }

// Client is the scheduler's own client.
func (h *Handle) Client() client.Interface { return h.s.cfg.Client }

// Snapshot returns a recent state, which the caller may keep.
func (h *Handle) Snapshot() *Snapshot { return h.s.Snapshot() }

// RequestTimeout is how long one request may take.
func (h *Handle) RequestTimeout() time.Duration { return h.s.cfg.RequestTimeout }

// WaitingPod is a pod that a PermitPlugin holds on its node.
type WaitingPod struct {
	Pod  *PodInfo
	Node string
	// Plugins are the names of those that have not allowed it yet.
	Plugins []string
}

// WaitingPods returns the pods that wait for permission, ordered by key.
func (h *Handle) WaitingPods() []WaitingPod { return h.s.waiting.list() }

// Allow ends a pod's waiting as far as the named plugin goes: once no other one holds the pod it is
// bound. A pod that does not wait is left alone. Key is PodInfo.Key.
func (h *Handle) Allow(key, plugin string) {
	h.s.inbox.post(func(l *loop) { l.allowed(key, plugin) })
}

// Reject makes a waiting pod give its node up, for a reason that is told to people.
func (h *Handle) Reject(key, plugin, reason string) {
	h.s.inbox.post(func(l *loop) { l.rejected(key, nil, plugin, reason) })
}

// waitingPods are the binding cycles that wait for permission. The loop alone changes them.
type waitingPods struct {
	mu   sync.Mutex
	pods map[string]*bindingCycle
}

func (w *waitingPods) list() []WaitingPod {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]WaitingPod, 0, len(w.pods))
	for _, c := range w.pods {
		x := WaitingPod{Pod: c.pod, Node: c.node}
		for name := range c.waits {
			x.Plugins = append(x.Plugins, name)
		}
		slices.Sort(x.Plugins)
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b WaitingPod) int { return strings.Compare(a.Pod.Key, b.Pod.Key) })
	return out
}

func (w *waitingPods) get(key string) *bindingCycle {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pods[key]
}

// hold makes a pod wait for a plugin's word, which calls late when it does not come in time.
func (w *waitingPods) hold(c *bindingCycle, plugin string, timeout time.Duration, late func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.waits == nil {
		c.waits = map[string]*time.Timer{}
	}
	c.waits[plugin] = time.AfterFunc(timeout, late)
	w.pods[c.pod.Key] = c
}

// release ends the waiting for a plugin, and tells whether it was the last one that was waited for.
func (w *waitingPods) release(c *bindingCycle, plugin string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	timer := c.waits[plugin]
	if timer == nil {
		return false
	}
	timer.Stop()
	delete(c.waits, plugin)
	if len(c.waits) > 0 {
		return false
	}
	delete(w.pods, c.pod.Key)
	return true
}

// drop ends all waiting of a pod.
func (w *waitingPods) drop(c *bindingCycle) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, timer := range c.waits {
		timer.Stop()
	}
	c.waits = nil
	if w.pods[c.pod.Key] == c {
		delete(w.pods, c.pod.Key)
	}
}
