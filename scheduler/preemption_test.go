package scheduler

import (
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

// TestNobodyIsEvictedForNothing checks what random pods would evict from random clusters: without the victims the pod
// fits, all of them matter less, a node that fits without an eviction is always preferred, none of them could
// stay with all others that do, and where a node needs no violated budget none is violated.
func TestNobodyIsEvictedForNothing(t *testing.T) {
	p := mustProfile(t, ProfileConfig{})
	preempted := 0
	rapid.Check(t, func(t *rapid.T) {
		s := drawFullCluster(t, p)
		pod := drawPod(t, "preemptor")
		pod.Spec.Priority = new(rapid.Int32Range(1, 30).Draw(t, "priority"))
		info := NewPodInfo(pod)
		_, room, err := p.PlaceOrPreempt(s, info, nil)
		if room.Nominate == "" {
			checkNoRoom(t, p, s, info, err)
			return
		}
		preempted++
		without := s.Edit()
		for _, v := range room.Victims {
			if v.Priority >= info.Priority {
				t.Fatalf("%s of priority %d is evicted for %d", v.Key, v.Priority, info.Priority)
			}
			without.RemovePod(v.Key, room.Nominate)
		}
		without.Nominate(info, room.Nominate)
		after := without.Snapshot()
		if a, err := p.Place(after, info, nil); err != nil || a.Node != room.Nominate {
			t.Fatalf("after the eviction the pod is placed on %q, not on %s: %v", a.Node, room.Nominate, err)
		}
		if len(pod.Spec.TopologySpreadConstraints) > 0 || pod.Spec.Affinity.PodAffinity != nil {
			return // to bring one victim back may even help such a pod
		}
		for _, v := range room.Victims {
			b := after.Edit()
			b.AddPod(v, room.Nominate)
			if _, err := p.Place(only(b.Snapshot(), room.Nominate), info, nil); err == nil {
				t.Fatalf("%s was evicted for nothing", v.Key)
			}
		}
		checkBudgets(t, p, s, info, room)
	})
	if preempted == 0 {
		t.Error("nobody was evicted at all")
	}
}

// checkNoRoom: where nobody is nominated, no node fits with all less important pods gone, but for the pods
// whose affinity asks for just these.
func checkNoRoom(t *rapid.T, p *Profile, s *Snapshot, pod *PodInfo, err error) {
	var fit *FitError
	if !errors.As(err, &fit) {
		return
	}
	for n := range s.Nodes() {
		b := s.Edit()
		for _, q := range n.Pods {
			if q.Priority < pod.Priority {
				b.RemovePod(q.Key, n.name)
			}
		}
		if a, err := p.Place(only(b.Snapshot(), n.name), pod, nil); err == nil {
			t.Fatalf("the pod would fit on %s without less important ones: %+v; we say %v", n.name, a, fit)
		}
	}
}

// only cordons all other nodes.
func only(s *Snapshot, node string) *Snapshot {
	b := s.Edit()
	for n := range s.Nodes() {
		if n.name != node {
			c := n.Node.DeepCopy()
			c.Spec.Unschedulable = true
			b.SetNode(c)
		}
	}
	return b.Snapshot()
}

// checkBudgets: when the choice violates a budget, each single other node alone would, too.
func checkBudgets(t *rapid.T, p *Profile, s *Snapshot, pod *PodInfo, room PostFilterResult) {
	if violations(s, room.Victims) == 0 {
		return
	}
	for n := range s.Nodes() {
		_, other, _ := p.PlaceOrPreempt(only(s, n.name), pod, nil)
		if other.Nominate != "" && violations(s, other.Victims) == 0 {
			t.Fatalf("%s violates a budget, %s would not", room.Nominate, other.Nominate)
		}
	}
}

func violations(s *Snapshot, victims []*PodInfo) (n int) {
	for pdb := range Objects[*policyv1.PodDisruptionBudget](s, "") {
		left := pdb.Status.DisruptionsAllowed
		for _, v := range victims {
			if v.Pod.Namespace == pdb.Namespace && v.Pod.Labels["app"] == pdb.Spec.Selector.MatchLabels["app"] {
				if left--; left < 0 {
					n++
				}
			}
		}
	}
	return n
}

func drawFullCluster(t *rapid.T, p *Profile) *Snapshot {
	nodes, pods := drawCluster(t)
	for _, q := range pods {
		q.Spec.Priority = new(rapid.Int32Range(0, 20).Draw(t, "priority"))
		start := metav1.Unix(rapid.Int64Range(0, 3).Draw(t, "start"), 0)
		q.Status.StartTime = &start
	}
	_, s := p.ScheduleAll(NewSnapshot(nodes, nil), pods, nil)
	b := s.Edit()
	if rapid.Bool().Draw(t, "budget?") {
		b.SetObject(&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "budget"},
			Spec:   policyv1.PodDisruptionBudgetSpec{Selector: selectApp(apps.Draw(t, "guarded"))},
			Status: policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: rapid.Int32Range(0, 1).Draw(t, "allowed")}})
	}
	return b.Snapshot()
}

// TestDraftsDecideAsSnapshotsDo: trying nodes out in place and by changed snapshots comes to the same, also when
// it is remembered.
func TestDraftsDecideAsSnapshotsDo(t *testing.T) {
	p := mustProfile(t, ProfileConfig{})
	slow := mustProfile(t, ProfileConfig{Plugins: append(DefaultPlugins(), WeightedPlugin{Plugin: notLocal{}})})
	rapid.Check(t, func(t *rapid.T) {
		s := drawFullCluster(t, p)
		for range rapid.IntRange(1, 6).Draw(t, "preemptors") {
			pod := drawPod(t, "preemptor")
			pod.Spec.Priority = new(rapid.SampledFrom([]int32{5, 30}).Draw(t, "priority"))
			if rapid.Bool().Draw(t, "plain") {
				pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "preemptor"}, Spec: corev1.PodSpec{
					Priority: pod.Spec.Priority, Containers: drawPod(t, "plain").Spec.Containers}}
			}
			info := NewPodInfo(pod)
			_, want, wantErr := slow.PlaceOrPreempt(s, info, nil)
			_, got, err := p.PlaceOrPreempt(s, info, nil)
			if got.Nominate != want.Nominate || !slices.Equal(got.Victims, want.Victims) || (err == nil) != (wantErr == nil) {
				t.Fatalf("drafts: %s, evicts %d: %v\nsnapshots: %s, evicts %d: %v", got.Nominate, len(got.Victims), err, want.Nominate, len(want.Victims), wantErr)
			}
			if err != nil && err.Error() != wantErr.Error() {
				t.Fatalf("drafts: %v\nsnapshots: %v", err, wantErr)
			}
			b := s.Edit()
			for _, v := range got.Victims {
				b.RemovePod(v.Key, got.Nominate)
			}
			if n := pickNode(t, s); n != nil && len(n.Pods) > 0 {
				b.RemovePod(n.Pods[0].Key, n.name)
			}
			s = b.Snapshot()
		}
	})
}

func pickNode(t *rapid.T, s *Snapshot) *NodeInfo {
	return s.nodes.at(rapid.IntRange(0, s.Len()-1).Draw(t, "node"))
}

// notLocal accepts everything, but nobody can know that.
type notLocal struct{}

func (notLocal) Name() string                          { return "NotLocal" }
func (notLocal) Filter(*Cycle, any, *NodeInfo) *Status { return nil }
