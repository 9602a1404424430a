package scheduler

import (
	"cmp"
	"container/heap"
	"time"
)

// queue holds the pods that wait for a node, in four parts: active ones are tried next, those in
// back-off later, unschedulable ones when something happens that may help, gated ones when their
// gates are gone. It reads no clock. Only one goroutine may use it.
type queue struct {
	initial, longest time.Duration
	pods             map[string]*queuedPod
	active           podHeap
	backoff          podHeap
	// gated is walked on each event. Pods with scheduling gates are not in it.
	unschedulable, gated map[string]*queuedPod
	// gates is how many pods are gated, those with scheduling gates too.
	gates int
	// interested are the unschedulable pods by the kinds of events that may help them.
	interested map[eventKinds]map[*queuedPod]struct{}
	seq        uint64
	// entered and blamed are told what Events.Enqueued and Events.Unschedulable are; nil when nobody asks.
	entered func(p *queuedPod, part, cause string)
	blamed  func(p *queuedPod, plugin string, by int)
	// cause is why pods are moved now.
	cause string
}

// Causes that are no events of the cluster, under kube-scheduler's names.
const (
	causePodAdded     = "UnscheduledPodAdd"
	causePodUpdated   = "TargetPodUpdate"
	causeUngated      = "TargetPodUpdatePodSchedulingGatesEliminated"
	causeFailed       = "ScheduleAttemptFailure"
	causeBackoffEnded = "BackoffComplete"
	causePopped       = "PopFromBackoffQ"
	causeForced       = "ForceActivate"
	causeTimeout      = "UnschedulableTimeout"
)

// because makes f the doing of a cause.
func (q *queue) because(cause string, f func()) {
	q.cause = cause
	f()
	q.cause = causeForced
}

func (q *queue) tellEntered(p *queuedPod, part string) {
	if q.entered != nil {
		q.entered(p, part, q.cause)
	}
}

// blame counts a waiting pod for the plugins that keep it from a node, and no longer for those that did before.
func (q *queue) blame(p *queuedPod, plugins []string) {
	if q.blamed == nil {
		return
	}
	for _, name := range p.blames {
		q.blamed(p, name, -1)
	}
	for _, name := range plugins {
		q.blamed(p, name, 1)
	}
	p.blames = plugins
}

// longestWait is how long a pod stays unschedulable before it is tried again whatever happened, lest a
// hint that is wrong makes it wait for ever. It is kube-scheduler's default.
const longestWait = 5 * time.Minute

type place uint8

const (
	nowhere place = iota // being placed, or bound
	inActive
	inBackoff
	inUnschedulable
	inGated
)

type queuedPod struct {
	QueuedPod
	where place
	// lastTry is when the last one failed, until when the back-off ends.
	lastTry, until time.Time
	// failed tells that the last attempt did not end with a refusal but with an error.
	failed bool
	// refusedBy are the plugins that refused the pod; noNodes that there was no node to ask.
	refusedBy []string
	noNodes   bool
	// interest are the kinds of events that may help it.
	interest eventKinds
	// pending tells that the pod need not sit out a back-off once it is woken.
	pending bool
	// eviction is what is being done to make room for this pod, or nil.
	eviction *eviction
	// gatedBy is the plugin that keeps the pod out of the queue.
	gatedBy string
	// blames are the plugins for which the pod is counted; see queue.blame.
	blames []string
	// entered is when the pod was active for the first time, began when the attempt under way began, and
	// choosing how long it took to choose a node, where someone wants to know.
	entered, began time.Time
	choosing       time.Duration
	// seq orders pods that the QueueSortPlugin does not.
	seq   uint64
	index int
}

func newQueue(initial, longest time.Duration, sort QueueSortPlugin) *queue {
	q := &queue{initial: initial, longest: longest, pods: map[string]*queuedPod{},
		cause: causeForced, unschedulable: map[string]*queuedPod{}, gated: map[string]*queuedPod{}, interested: map[eventKinds]map[*queuedPod]struct{}{}}
	q.active.less = func(a, b *queuedPod) bool {
		if sort.Less(&a.QueuedPod, &b.QueuedPod) {
			return true
		}
		return a.seq < b.seq && !sort.Less(&b.QueuedPod, &a.QueuedPod)
	}
	q.backoff.less = func(a, b *queuedPod) bool {
		return cmp.Or(a.until.Compare(b.until), cmp.Compare(a.seq, b.seq)) < 0
	}
	return q
}

// set adds a pod or gives a waiting one its new state. With retry, what changed may let it fit: it
// leaves the unschedulable part. GatedBy names the plugin, if any, that keeps it out of the queue.
func (q *queue) set(info *PodInfo, gatedBy string, retry bool, now time.Time) {
	p, ok := q.pods[info.Key]
	switch {
	case !ok:
		q.cause = causePodAdded
	case p.where == inGated:
		q.cause = causeUngated
	default:
		q.cause = causePodUpdated
	}
	defer func() { q.cause = causeForced }()
	if !ok {
		p = &queuedPod{QueuedPod: QueuedPod{Since: info.Pod.CreationTimestamp.Time}, seq: q.next()}
		if p.Since.IsZero() {
			p.Since = now
		}
		q.pods[info.Key] = p
	}
	switch {
	case gatedBy != "":
		q.take(p)
		p.Pod = info
		q.gate(p, gatedBy)
	case !ok || p.where == inGated:
		q.take(p)
		p.Pod = info
		q.enter(p, now)
	case p.where == inActive:
		q.take(p) // its priority may be another
		p.Pod = info
		q.pushActive(p)
	default:
		p.Pod = info
		if retry && p.where == inUnschedulable {
			q.wakeUp(p, now)
		}
	}
}

// gate keeps a pod out that is in no part.
func (q *queue) gate(p *queuedPod, by string) {
	p.where, p.gatedBy = inGated, by
	q.gates++
	q.blame(p, []string{by})
	q.tellEntered(p, "unschedulable")
	if by != NameSchedulingGates {
		q.gated[p.Pod.Key] = p
	}
}

func (q *queue) next() uint64 {
	q.seq++
	return q.seq
}

// remove forgets a pod.
func (q *queue) remove(key string) {
	if p, ok := q.pods[key]; ok {
		q.take(p)
		q.blame(p, nil)
		delete(q.pods, key)
	}
}

// take takes a pod out of its part.
func (q *queue) take(p *queuedPod) {
	switch p.where {
	case inActive:
		heap.Remove(&q.active, p.index)
	case inBackoff:
		heap.Remove(&q.backoff, p.index)
	case inUnschedulable:
		delete(q.unschedulable, p.Pod.Key)
		if of := q.interested[p.interest]; len(of) > 1 {
			delete(of, p)
		} else {
			delete(q.interested, p.interest)
		}
	case inGated:
		q.gates--
		delete(q.gated, p.Pod.Key)
	}
	p.where = nowhere
}

// enter activates a pod that nothing keeps out any more.
func (q *queue) enter(p *queuedPod, now time.Time) {
	if p.entered.IsZero() {
		p.entered = now
	}
	q.activate(p)
}

func (q *queue) activate(p *queuedPod) {
	q.take(p)
	q.pushActive(p)
	q.tellEntered(p, "active")
}

func (q *queue) pushActive(p *queuedPod) {
	p.where = inActive
	heap.Push(&q.active, p)
}

// pop returns the pod to try now, or nil. When no pod is active, one that was woken up is tried before
// its back-off has ended: there is nothing that it could delay. A pod whose attempt failed
// with an error always waits.
func (q *queue) pop(now time.Time) *queuedPod {
	q.tick(now)
	if q.active.Len() > 0 {
		p := heap.Pop(&q.active).(*queuedPod)
		p.where = nowhere
		q.blame(p, nil)
		return p
	}
	for _, p := range q.backoff.pods {
		if !p.failed {
			q.take(p)
			q.because(causePopped, func() { q.tellEntered(p, "active") })
			q.blame(p, nil)
			return p
		}
	}
	return nil
}

// tick activates the pods whose time has come.
func (q *queue) tick(now time.Time) {
	for q.backoff.Len() > 0 && !q.backoff.pods[0].until.After(now) {
		q.because(causeBackoffEnded, func() { q.activate(q.backoff.pods[0]) })
	}
}

// flush wakes the pods that have been unschedulable for too long.
func (q *queue) flush(now time.Time) {
	for _, p := range q.unschedulable {
		if now.Sub(p.lastTry) >= longestWait {
			q.because(causeTimeout, func() { q.wakeUp(p, now) })
		}
	}
}

// deadline returns when pop may have something that it has not now.
func (q *queue) deadline() (time.Time, bool) {
	if q.backoff.Len() == 0 {
		return time.Time{}, false
	}
	return q.backoff.pods[0].until, true
}

// refused puts back a pod that fits nowhere.
func (q *queue) refused(p *queuedPod, by []string, interest eventKinds, noNodes bool, now time.Time) {
	q.retried(p, now)
	p.refusedBy, p.noNodes, p.failed, p.pending = by, noNodes, false, false
	p.where = inUnschedulable
	q.unschedulable[p.Pod.Key] = p
	p.interest = interest
	of := q.interested[p.interest]
	if of == nil {
		of = map[*queuedPod]struct{}{}
		q.interested[p.interest] = of
	}
	of[p] = struct{}{}
	q.blame(p, by)
	q.because(causeFailed, func() { q.tellEntered(p, "unschedulable") })
}

// errored puts back a pod whose attempt ended with an error: it is tried again after its back-off.
func (q *queue) errored(p *queuedPod, now time.Time) {
	q.retried(p, now)
	p.refusedBy, p.noNodes, p.failed = nil, false, true
	q.blame(p, nil)
	q.because(causeFailed, func() { q.backOff(p) })
}

func (q *queue) backOff(p *queuedPod) {
	p.where = inBackoff
	heap.Push(&q.backoff, p)
	q.tellEntered(p, "backoff")
}

func (q *queue) retried(p *queuedPod, now time.Time) {
	q.take(p)
	p.Attempts++
	p.lastTry, p.Since, p.seq = now, now, q.next()
	wait := q.initial
	for i := 1; i < p.Attempts && wait < q.longest; i++ {
		wait *= 2
	}
	p.until = now.Add(min(wait, q.longest))
}

// regate asks gatedBy about the pods that helps returns true for. Those that no plugin keeps out any
// more are active.
func (q *queue) regate(helps func(*queuedPod) bool, gatedBy func(*queuedPod) string, now time.Time) {
	for _, p := range q.gated {
		if !helps(p) {
			continue
		}
		by := gatedBy(p)
		if q.take(p); by != "" {
			q.gate(p, by)
		} else {
			q.enter(p, now)
		}
	}
}

// roomMade makes a pod active whose victims are gone: it is the first of its priority.
func (q *queue) roomMade(p *queuedPod) {
	if p.where == inUnschedulable || p.where == inBackoff {
		p.Since = time.Time{}
		q.activate(p)
	}
}

// wake wakes the unschedulable pods that an event of some kind helps, of those that it may help.
func (q *queue) wake(kind EventKind, helps func(*queuedPod) bool, now time.Time) {
	for kinds, pods := range q.interested {
		if !kinds.has(kind) {
			continue
		}
		for p := range pods {
			if helps(p) {
				q.wakeUp(p, now)
			}
		}
	}
}

func (q *queue) wakeUp(p *queuedPod, now time.Time) {
	q.take(p)
	if p.until.After(now) && !p.pending {
		q.backOff(p)
		return
	}
	q.activate(p)
}

// podHeap is a container/heap of pods that know their index.
type podHeap struct {
	pods []*queuedPod
	less func(a, b *queuedPod) bool
}

func (h *podHeap) Len() int           { return len(h.pods) }
func (h *podHeap) Less(i, j int) bool { return h.less(h.pods[i], h.pods[j]) }

func (h *podHeap) Swap(i, j int) {
	h.pods[i], h.pods[j] = h.pods[j], h.pods[i]
	h.pods[i].index, h.pods[j].index = i, j
}

// Push implements heap.Interface.
func (h *podHeap) Push(x any) {
	p := x.(*queuedPod)
	p.index = len(h.pods)
	h.pods = append(h.pods, p)
}

// Pop implements heap.Interface.
func (h *podHeap) Pop() any {
	last := len(h.pods) - 1
	p := h.pods[last]
	h.pods[last] = nil
	h.pods = h.pods[:last]
	return p
}
