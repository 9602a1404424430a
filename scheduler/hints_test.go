package scheduler

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"
)

// newLoopWithoutServer returns a loop whose messages the test makes up.
func newLoopWithoutServer(t testing.TB, p *Profile) *loop {
	s := &Scheduler{cfg: Config{Profiles: map[string]*Profile{"": p}, Logger: slog.New(slog.DiscardHandler), InitialBackoff: time.Second, MaxBackoff: time.Second}}
	return newLoop(t.Context(), t.Context(), s)
}

// try places a waiting pod, or puts it back as refused.
func (l *loop) try(p *queuedPod, random *rand.Rand) error {
	a, err := l.cfg.Profiles[""].Place(&l.edit.s, p.Pod, random)
	var fit *FitError
	switch {
	case errors.As(err, &fit):
		l.refused(p, fit.Plugins(), time.Now())
	case err != nil:
		l.queue.refused(p, nil, kindsOf([]EventKind{NodeAdded}), true, time.Now())
	default:
		bound := p.Pod.Pod.DeepCopy()
		bound.Spec.NodeName = a.Node
		l.podChanged(p.Pod.Pod, bound)
	}
	return err
}

// TestHintsAreNeverSilent changes a cluster at random while pods wait that fit nowhere: those that no change has
// woken still fit nowhere.
func TestHintsAreNeverSilent(t *testing.T) {
	profile := mustProfile(t, ProfileConfig{})
	woken, kept := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		l := newLoopWithoutServer(t, profile)
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		nodes := map[string]*corev1.Node{}
		for i := range rapid.IntRange(0, 4).Draw(rt, "nodes") {
			n := drawNode(rt, fmt.Sprintf("node-%d", i))
			nodes[n.Name] = n
			l.nodeChanged(nil, n)
		}
		for i := range rapid.IntRange(1, 12).Draw(rt, "pods") {
			l.queue.set(NewPodInfo(drawPod(rt, fmt.Sprint("pod-", i))), "", false, time.Now())
		}
		for range rapid.IntRange(1, 15).Draw(rt, "changes") {
			for p := l.queue.pop(time.Now().Add(time.Hour)); p != nil; p = l.queue.pop(time.Now().Add(time.Hour)) {
				_ = l.try(p, random)
			}
			waiting := len(l.queue.unschedulable)
			changeForLoop(rt, l, nodes)
			woken += waiting - len(l.queue.unschedulable)
			for _, p := range l.queue.unschedulable {
				kept++
				if a, err := profile.Place(&l.edit.s, p.Pod, random); err == nil {
					rt.Fatalf("%s, refused by %v, fits on %s and was not told", p.Pod.Key, p.refusedBy, a.Node)
				}
			}
		}
	})
	t.Logf("%d pods were woken, %d rightly not", woken, kept)
	if woken == 0 || kept == 0 {
		t.Error("the test shows nothing")
	}
}

func changeForLoop(t *rapid.T, l *loop, nodes map[string]*corev1.Node) {
	name := fmt.Sprintf("node-%d", rapid.IntRange(0, 4).Draw(t, "node"))
	var placed []string
	for key := range l.placed {
		placed = append(placed, key)
	}
	slices.Sort(placed)
	op := rapid.IntRange(0, 5).Draw(t, "op")
	switch {
	case op <= 1:
		n := drawNode(t, name)
		if old := nodes[name]; old != nil && rapid.Bool().Draw(t, "slightly") {
			n = old.DeepCopy()
			n.Status.Allocatable[corev1.ResourceCPU] = quantity(rapid.SampledFrom([]string{"0", "1", "2", "4", "8"}).Draw(t, "cpu"))
		}
		l.nodeChanged(nodes[name], n)
		nodes[name] = n
	case op == 2 && nodes[name] != nil:
		l.nodeChanged(nodes[name], nil)
		delete(nodes, name)
	case op == 3 && len(placed) > 0:
		at := l.placed[rapid.SampledFrom(placed).Draw(t, "updated")]
		now := at.info.Pod.DeepCopy()
		now.Labels = map[string]string{"app": apps.Draw(t, "app")}
		l.podChanged(at.info.Pod, now)
	case len(placed) > 0:
		l.podChanged(l.placed[rapid.SampledFrom(placed).Draw(t, "deleted")].info.Pod, nil)
	}
}

// TestRegisteredEvents: a plugin's hint is false for the kinds of events that it does not register.
func TestRegisteredEvents(t *testing.T) {
	profile := mustProfile(t, ProfileConfig{})
	rapid.Check(t, func(t *rapid.T) {
		pod, other, old := NewPodInfo(drawPod(t, "pod")), NewPodInfo(drawPod(t, "other")), NewPodInfo(drawPod(t, "other"))
		was, node := drawNode(t, "node"), drawNode(t, "node")
		for name, plugin := range profile.plugins {
			x, ok := plugin.(EnqueueExtensions)
			if !ok {
				continue
			}
			for kind := NodeAdded; kind <= ObjectRemoved; kind++ {
				e := &Event{Kind: kind}
				switch kind {
				case NodeAdded, NodeUpdated, NodeRemoved:
					e.OldNode, e.Node = was, node
				case PodAssigned, PodRemoved, PodUpdated:
					e.OldPod, e.Pod = old, other
				case ObjectAdded, ObjectUpdated, ObjectRemoved:
					e.OldObject, e.Object = &corev1.Service{}, &corev1.Service{}
				}
				if !kindsOf(x.EventsToRegister()).has(kind) && x.Helps(pod, e) {
					t.Fatalf("%s hopes for events of kind %d and has not registered them", name, kind)
				}
			}
		}
	})
}

// BenchmarkUnhelpfulEvent is the cost of an event that helps none of the pods that wait, on 1,000 nodes.
func BenchmarkUnhelpfulEvent(b *testing.B) {
	for _, waiting := range []int{1000, 10000} {
		for _, w := range []struct {
			name   string
			change func(*corev1.Pod)
			event  func(l *loop, i int)
		}{
			{"too-large/pod-assigned", tooLarge, func(l *loop, i int) { l.wake(&Event{Kind: PodAssigned, Pod: NewPodInfo(benchPod(i))}) }},
			{"too-large/pod-removed", tooLarge, func(l *loop, i int) {
				pod := benchPod(i)
				pod.Spec.NodeName = fmt.Sprint("node-", i%1000)
				l.podChanged(nil, pod)
				l.podChanged(pod, nil)
			}},
			{"no-such-node/node-updated", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"no": "such"} }, relabel},
			{"no-such-company/pod-assigned", func(p *corev1.Pod) { p.Spec.Affinity = companyOf("nobody") }, func(l *loop, i int) {
				l.wake(&Event{Kind: PodAssigned, Pod: NewPodInfo(benchPod(i))})
			}},
		} {
			b.Run(fmt.Sprintf("%s/waiting=%d", w.name, waiting), func(b *testing.B) { benchEvent(b, waiting, w.change, w.event) })
		}
	}
}

func quantity(s string) resource.Quantity { return resource.MustParse(s) }

func tooLarge(p *corev1.Pod) {
	p.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = quantity("1000")
}

func companyOf(app string) *corev1.Affinity {
	return &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
		{TopologyKey: corev1.LabelTopologyZone, LabelSelector: selectApp(app)}}}}
}

func relabel(l *loop, i int) {
	old := l.edit.s.nodes.at(i % 1000).Node
	now := old.DeepCopy()
	now.Labels["turn"] = fmt.Sprint(i)
	l.nodeChanged(old, now)
}

func benchEvent(b *testing.B, waiting int, change func(*corev1.Pod), event func(*loop, int)) {
	l := newLoopWithoutServer(b, mustProfile(b, ProfileConfig{}))
	for _, n := range benchNodes(1000) {
		l.nodeChanged(nil, n)
	}
	for i := range waiting {
		pod := benchPod(i)
		pod.Name = fmt.Sprint("waiting-", i)
		change(pod)
		l.queue.set(NewPodInfo(pod), "", false, time.Now())
	}
	for p := l.queue.pop(time.Now()); p != nil; p = l.queue.pop(time.Now()) {
		if l.try(p, nil) == nil {
			b.Fatal("a pod fits that should not")
		}
	}
	from := ProcessorTime()
	i := 0
	for b.Loop() {
		event(l, i)
		i++
	}
	used := float64(ProcessorTime() - from)
	if n := len(l.queue.unschedulable); n != waiting {
		b.Fatalf("%d of %d pods still wait: the event helped", n, waiting)
	}
	b.ReportMetric(used/float64(b.N)/float64(waiting), "cpu-ns/event/pod")
}
