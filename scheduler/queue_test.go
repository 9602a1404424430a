package scheduler

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

func waitingPod(name string, priority int32) *PodInfo {
	p := &corev1.Pod{}
	p.Namespace, p.Name, p.Spec.Priority = "default", name, &priority
	return NewPodInfo(p)
}

func popped(t *testing.T, q *queue, now time.Time) string {
	t.Helper()
	if p := q.pop(now); p != nil {
		return p.Pod.Pod.Name
	}
	return ""
}

func TestQueueOrdersByPriorityThenAge(t *testing.T) {
	q, now := newQueue(time.Second, 10*time.Second, PrioritySort{}), time.Unix(0, 0)
	for i, priority := range []int32{5, 10, 5, 10} {
		q.set(waitingPod(fmt.Sprint("p", i), priority), "", false, now)
	}
	for _, want := range []string{"p1", "p3", "p0", "p2", ""} {
		if got := popped(t, q, now); got != want {
			t.Fatalf("popped %q, want %q", got, want)
		}
	}
}

func TestBackoffDoublesUpToItsLimit(t *testing.T) {
	q, now := newQueue(time.Second, 10*time.Second, PrioritySort{}), time.Unix(0, 0)
	q.set(waitingPod("p", 0), "", false, now)
	p := q.pop(now)
	for _, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		q.errored(p, now)
		at, ok := q.deadline()
		if !ok || at.Sub(now) != want*time.Second {
			t.Fatalf("waits %v, want %ds", at.Sub(now), want)
		}
		if got := popped(t, q, at.Add(-1)); got != "" {
			t.Fatal("a pod was tried before its back-off had ended")
		}
		if got := popped(t, q, at); got != "p" {
			t.Fatal("a pod was not tried after its back-off")
		}
		now = at
	}
}

func TestWokenPodNeedNotWaitWhenNothingElseIsToDo(t *testing.T) {
	q, now := newQueue(time.Second, 10*time.Second, PrioritySort{}), time.Unix(0, 0)
	q.set(waitingPod("p", 0), "", false, now)
	q.refused(q.pop(now), []string{NameNodeResourcesFit}, kindsOf([]EventKind{PodRemoved}), false, now)
	if got := popped(t, q, now.Add(time.Minute)); got != "" {
		t.Fatal("an unschedulable pod was tried without a reason")
	}
	q.wake(PodRemoved, func(*queuedPod) bool { return true }, now)
	q.set(waitingPod("new", 0), "", false, now)
	if a, b := popped(t, q, now), popped(t, q, now); a != "new" || b != "p" {
		t.Fatalf("popped %q and %q", a, b)
	}
}

func TestOnlyAChangeThatMattersRetriesAPod(t *testing.T) {
	q, now := newQueue(time.Second, 10*time.Second, PrioritySort{}), time.Unix(0, 0)
	q.set(waitingPod("p", 0), "", false, now)
	q.refused(q.pop(now), nil, allEvents, false, now)
	q.set(waitingPod("p", 0), "", false, now) // its condition was written
	if got := popped(t, q, now.Add(time.Hour)); got != "" {
		t.Fatal("a change of the status made the pod active")
	}
	q.set(waitingPod("p", 0), "", true, now.Add(time.Hour))
	if got := popped(t, q, now.Add(time.Hour)); got != "p" {
		t.Fatal("a change of the spec did not")
	}
}

func TestAPodThatWaitedTooLongIsTriedAgain(t *testing.T) {
	q, now := newQueue(time.Second, 10*time.Second, PrioritySort{}), time.Unix(0, 0)
	q.set(waitingPod("p", 0), "", false, now)
	q.refused(q.pop(now), nil, allEvents, false, now)
	q.flush(now.Add(longestWait - 1))
	if got := popped(t, q, now.Add(longestWait-1)); got != "" {
		t.Fatal("tried too early")
	}
	q.flush(now.Add(longestWait))
	if got := popped(t, q, now.Add(longestWait)); got != "p" {
		t.Fatal("not tried")
	}
}

func TestGatedPodIsNotTried(t *testing.T) {
	q, now := newQueue(time.Second, 10*time.Second, PrioritySort{}), time.Unix(0, 0)
	gated := waitingPod("p", 0)
	gated.Pod.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "hold"}}
	q.set(gated, NameSchedulingGates, false, now)
	q.wake(PodRemoved, func(*queuedPod) bool { return true }, now)
	if got := popped(t, q, now.Add(time.Hour)); got != "" {
		t.Fatal("a gated pod was tried")
	}
	q.set(waitingPod("p", 0), "", true, now)
	if got := popped(t, q, now); got != "p" {
		t.Fatal("the pod was not tried without its gate")
	}
}

// TestQueueKeepsEveryPodInOnePlace drives the queue at random. Whatever happens, each pod is in exactly
// the part that it says, the heaps are in order, and pods come out by priority.
func TestQueueKeepsEveryPodInOnePlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, now := newQueue(time.Second, 10*time.Second, PrioritySort{}), time.Unix(0, 0)
		var out []*queuedPod
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			info := waitingPod(fmt.Sprint("p", rapid.IntRange(0, 9).Draw(t, "pod")), rapid.Int32Range(0, 3).Draw(t, "priority"))
			switch rapid.IntRange(0, 6).Draw(t, "op") {
			case 0, 1:
				by := rapid.SampledFrom([]string{"", "", "", NameSchedulingGates, "Quota"}).Draw(t, "gatedBy")
				if p := q.pods[info.Key]; p == nil || p.where != nowhere {
					q.set(info, by, rapid.Bool().Draw(t, "retry"), now)
				}
			case 2:
				q.remove(info.Key)
			case 3:
				q.wake(PodRemoved, func(p *queuedPod) bool { return p.Pod.Priority > 0 }, now)
			case 4:
				if p := q.pop(now); p != nil {
					for _, o := range q.active.pods {
						if o.Pod.Priority > p.Pod.Priority && p.until.Before(now) {
							t.Fatalf("%s of priority %d came before %s of %d", p.Pod.Key, p.Pod.Priority, o.Pod.Key, o.Pod.Priority)
						}
					}
					out = append(out, p)
				}
			case 5:
				q.flush(now)
				q.regate(func(*queuedPod) bool { return true }, func(p *queuedPod) string {
					return rapid.SampledFrom([]string{"", "Quota", NameSchedulingGates}).Draw(t, "regatedBy")
				}, now)
			case 6:
				for _, p := range out {
					if q.pods[p.Pod.Key] == p {
						if rapid.Bool().Draw(t, "error") {
							q.errored(p, now)
						} else {
							q.refused(p, nil, rapid.SampledFrom([]eventKinds{allEvents, 1 << PodRemoved, 1<<PodRemoved | 1<<NodeAdded, 1 << PodAssigned}).Draw(t, "interest"), false, now)
						}
					}
				}
				out = nil
			}
			checkQueue(t, q)
		}
	})
}

func checkQueue(t *rapid.T, q *queue) {
	counts := map[place]int{}
	for key, p := range q.pods {
		counts[p.where]++
		if p.Pod.Key != key {
			t.Fatalf("%s stands under %s", p.Pod.Key, key)
		}
		if (p.where == inGated && p.gatedBy != NameSchedulingGates) != (q.gated[key] == p) {
			t.Fatalf("%s is gated by %q", p.Pod.Key, p.gatedBy)
		}
		if p.where == inUnschedulable && q.unschedulable[key] != p {
			t.Fatalf("%s is not among the unschedulable", key)
		}
		if _, listed := q.interested[p.interest][p]; listed != (p.where == inUnschedulable) {
			t.Fatalf("%s waits for events: %v; it is in part %d", key, listed, p.where)
		}
	}
	if counts[inActive] != q.active.Len() || counts[inBackoff] != q.backoff.Len() || counts[inUnschedulable] != len(q.unschedulable) {
		t.Fatalf("counts %v, but active %d, backoff %d, unschedulable %d", counts, q.active.Len(), q.backoff.Len(), len(q.unschedulable))
	}
	for _, h := range []*podHeap{&q.active, &q.backoff} {
		for i := range h.pods {
			if h.pods[i].index != i || i > 0 && h.Less(i, (i-1)/2) {
				t.Fatalf("heap is out of order at %d", i)
			}
		}
	}
}
