package scheduler

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

// TestNoRuleIsBroken places random pods on random nodes and checks the outcome against a second, plain
// reading of the rules.
func TestNoRuleIsBroken(t *testing.T) {
	p := mustProfile(t, ProfileConfig{})
	rapid.Check(t, func(t *rapid.T) {
		nodes, pods := drawCluster(t)
		s := NewSnapshot(nodes, nil)
		for _, pod := range pods {
			a, err := p.Schedule(s, pod, rand.New(rand.NewPCG(1, 2)))
			checkTrace(t, p, s, pod, a, err)
			for _, n := range nodes {
				ok := admits(s, pod, n)
				if err != nil && ok {
					t.Fatalf("%s fits on %s, but: %v", pod.Name, n.Name, err)
				}
				if err == nil && n.Name == a.Node && !ok {
					t.Fatalf("%s does not fit on %s", pod.Name, n.Name)
				}
			}
			if err == nil {
				s = s.AddPod(pod, a.Node)
			}
		}
		for n := range s.Nodes() {
			checkSums(t, n)
		}
	})
}

// checkTrace checks that the explanation is the one of the decision.
func checkTrace(t *rapid.T, p *Profile, s *Snapshot, pod *corev1.Pod, a Assignment, err error) {
	trace, traceErr := p.Explain(s, NewPodInfo(pod))
	if traceErr != nil {
		t.Fatal(traceErr)
	}
	best := int64(-1)
	for _, n := range trace.Nodes {
		if n.Refused == nil {
			best = max(best, n.Total)
		}
	}
	if (best < 0) != (err != nil) {
		t.Fatalf("%s: the trace finds a node: %v; Schedule: %v", pod.Name, best >= 0, err)
	}
	for _, n := range trace.Nodes {
		if err == nil && n.Node == a.Node && (n.Refused != nil || n.Total != best) {
			t.Fatalf("%s was chosen with %d, but %d is the best", n.Node, n.Total, best)
		}
	}
}

// admits reads the rules in the plainest way.
func admits(s *Snapshot, pod *corev1.Pod, node *corev1.Node) bool {
	n := s.Node(node.Name)
	if node.Spec.Unschedulable || len(n.Pods)+1 > int(node.Status.Allocatable.Pods().Value()) {
		return false
	}
	for name, q := range pod.Spec.Containers[0].Resources.Requests {
		free := node.Status.Allocatable[name].DeepCopy()
		for _, o := range n.Pods {
			free.Sub(o.Pod.Spec.Containers[0].Resources.Requests[name])
		}
		if !q.IsZero() && q.Cmp(free) > 0 {
			return false
		}
	}
	for _, taint := range node.Spec.Taints {
		tolerated := slices.ContainsFunc(pod.Spec.Tolerations, func(t corev1.Toleration) bool { return t.Value == taint.Value })
		if taint.Effect != corev1.TaintEffectPreferNoSchedule && !tolerated {
			return false
		}
	}
	if a := pod.Spec.Affinity.NodeAffinity; a != nil {
		r := a.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchExpressions[0]
		if node.Labels[r.Key] != r.Values[0] {
			return false
		}
	}
	return admitsPorts(n, pod) && admitsCompany(s, pod, node) && admitsSpread(s, pod, node)
}

func admitsPorts(n *NodeInfo, pod *corev1.Pod) bool {
	for _, want := range pod.Spec.Containers[0].Ports {
		for _, o := range n.Pods {
			for _, have := range o.Pod.Spec.Containers[0].Ports {
				if want.HostPort == have.HostPort && (want.HostIP == have.HostIP || want.HostIP == "" || have.HostIP == "") {
					return false
				}
			}
		}
	}
	return true
}

func admitsCompany(s *Snapshot, pod *corev1.Pod, node *corev1.Node) bool {
	about := func(owner *corev1.Pod, t corev1.PodAffinityTerm, other *corev1.Pod) bool {
		return owner.Namespace == other.Namespace && t.LabelSelector.MatchLabels["app"] == other.Labels["app"]
	}
	together := func(t corev1.PodAffinityTerm, a, b *corev1.Node) bool {
		v, ok := a.Labels[t.TopologyKey]
		w, also := b.Labels[t.TopologyKey]
		return ok && also && v == w
	}
	if a := pod.Spec.Affinity.PodAffinity; a != nil && len(a.RequiredDuringSchedulingIgnoredDuringExecution) > 0 {
		term := a.RequiredDuringSchedulingIgnoredDuringExecution[0]
		near, anywhere := false, false
		for n := range s.Nodes() {
			for _, o := range n.Pods {
				if about(pod, term, o.Pod) {
					if _, ok := n.Node.Labels[term.TopologyKey]; ok {
						anywhere = true
					}
					near = near || together(term, node, n.Node)
				}
			}
		}
		_, labelled := node.Labels[term.TopologyKey]
		if !labelled || !near && (anywhere || !about(pod, term, pod)) {
			return false
		}
	}
	for n := range s.Nodes() {
		for _, o := range n.Pods {
			if a := pod.Spec.Affinity.PodAntiAffinity; a != nil {
				for _, term := range a.RequiredDuringSchedulingIgnoredDuringExecution {
					if about(pod, term, o.Pod) && together(term, node, n.Node) {
						return false
					}
				}
			}
			if a := o.Pod.Spec.Affinity.PodAntiAffinity; a != nil {
				for _, term := range a.RequiredDuringSchedulingIgnoredDuringExecution {
					if about(o.Pod, term, pod) && together(term, node, n.Node) {
						return false
					}
				}
			}
		}
	}
	return true
}

func admitsSpread(s *Snapshot, pod *corev1.Pod, node *corev1.Node) bool {
	for _, c := range pod.Spec.TopologySpreadConstraints {
		if c.WhenUnsatisfiable != corev1.DoNotSchedule {
			continue
		}
		here, ok := node.Labels[c.TopologyKey]
		if !ok {
			return false
		}
		counts := map[string]int{}
		for n := range s.Nodes() {
			v, ok := n.Node.Labels[c.TopologyKey]
			if a := pod.Spec.Affinity.NodeAffinity; a != nil {
				r := a.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchExpressions[0]
				ok = ok && n.Node.Labels[r.Key] == r.Values[0]
			}
			if !ok {
				continue
			}
			counts[v] += 0
			for _, o := range n.Pods {
				if o.Pod.Namespace == pod.Namespace && o.Pod.Labels["app"] == c.LabelSelector.MatchLabels["app"] {
					counts[v]++
				}
			}
		}
		least := -1
		for _, n := range counts {
			if least < 0 || n < least {
				least = n
			}
		}
		if counts[here]+1-max(least, 0) > int(c.MaxSkew) {
			return false
		}
	}
	return true
}

// checkSums compares what a node keeps with what its pods add up to.
func checkSums(t *rapid.T, n *NodeInfo) {
	var want Resource
	for _, p := range n.Pods {
		want = want.Add(p.Requests)
	}
	if !sameAmounts(want, n.Requested) {
		t.Fatalf("%s: requested is %v; its pods make %v", n.Node.Name, n.Requested, want)
	}
}

func sameAmounts(a, b Resource) bool {
	for _, s := range slices.Concat(a.scalars, b.scalars) {
		if a.Scalar(s.name) != b.Scalar(s.name) {
			return false
		}
	}
	a.scalars, b.scalars = nil, nil
	return reflect.DeepEqual(a, b)
}

// TestPlacementIsDeterministic: the same snapshot, pods and seed give the same nodes.
func TestPlacementIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, pods := drawCluster(t)
		seed := rapid.Uint64().Draw(t, "seed")
		var first []Outcome
		for i := range 3 {
			p, _ := NewProfile(ProfileConfig{})
			out, _ := p.ScheduleAll(NewSnapshot(nodes, nil), pods, rand.New(rand.NewPCG(seed, 0)))
			if i == 0 {
				first = out
			}
			for j := range out {
				if out[j].Assignment != first[j].Assignment || fmt.Sprint(out[j].Err) != fmt.Sprint(first[j].Err) {
					t.Fatalf("%s: %v %v, then %v %v", pods[j].Name, first[j].Assignment, first[j].Err, out[j].Assignment, out[j].Err)
				}
			}
		}
	})
}

// TestSnapshotsAreIndependent makes a tree of snapshots by random changes and checks that each still is
// what it was when it was made, compared with a plain model.
func TestSnapshotsAreIndependent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			s    *Snapshot
			want map[string]map[string]bool // node -> pods; "" holds pods whose node is gone
		}
		versions := []version{{nil, map[string]map[string]bool{}}}
		for range rapid.IntRange(1, 40).Draw(t, "changes") {
			from := versions[rapid.IntRange(0, len(versions)-1).Draw(t, "from")]
			b, want := from.s.Edit(), map[string]map[string]bool{}
			for n, pods := range from.want {
				want[n] = map[string]bool{}
				for p := range pods {
					want[n][p] = true
				}
			}
			for range rapid.IntRange(1, 5).Draw(t, "steps") {
				name := fmt.Sprintf("node-%d", rapid.IntRange(0, 70).Draw(t, "node"))
				pod := &corev1.Pod{}
				pod.Namespace, pod.Name = "ns", fmt.Sprintf("%s-pod-%d", name, rapid.IntRange(0, 3).Draw(t, "pod"))
				switch rapid.IntRange(0, 3).Draw(t, "op") {
				case 0:
					b.SetNode(drawNode(t, name))
					if want[name] == nil {
						want[name] = map[string]bool{}
					}
				case 1:
					b.RemoveNode(name)
					delete(want, name)
				case 2:
					if want[name] != nil {
						b.AddPod(NewPodInfo(pod), name)
						want[name]["ns/"+pod.Name] = true
					}
				case 3:
					b.RemovePod("ns/"+pod.Name, name)
					delete(want[name], "ns/"+pod.Name)
				}
				// Pods of a node that went count again when it returns; the model leaves them out.
				for key := range allKeys(&b.s.lost) {
					b.s.lost.remove(b.e, key)
				}
			}
			versions = append(versions, version{b.Snapshot(), want})
		}
		for i, v := range versions {
			got := map[string]map[string]bool{}
			for n := range v.s.Nodes() {
				got[n.Node.Name] = map[string]bool{}
				for _, p := range n.Pods {
					got[n.Node.Name][p.Key] = true
				}
				if v.s.Node(n.Node.Name) != n {
					t.Fatalf("version %d: node %s is not found by its name", i, n.Node.Name)
				}
			}
			if !reflect.DeepEqual(got, v.want) {
				t.Fatalf("version %d is %v; it was made as %v", i, got, v.want)
			}
		}
	})
}

func allKeys[V any](t *table[V]) map[string]bool {
	out := map[string]bool{}
	for k := range t.all() {
		out[k] = true
	}
	return out
}

// TestTablesAndVectors compares the persistent structures with a map and a slice, over old versions, too.
func TestTablesAndVectors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			v     vector[int]
			t     table[int]
			slice []int
			m     map[string]int
		}
		versions := []version{{m: map[string]int{}}}
		for range rapid.IntRange(1, 30).Draw(t, "versions") {
			x := versions[rapid.IntRange(0, len(versions)-1).Draw(t, "from")]
			x.slice = slices.Clone(x.slice)
			m := map[string]int{}
			for k, v := range x.m {
				m[k] = v
			}
			x.m = m
			e := &edit{}
			for range rapid.IntRange(1, 150).Draw(t, "steps") {
				i := rapid.IntRange(0, 999).Draw(t, "i")
				switch k := fmt.Sprint("key", i); i % 4 {
				case 0, 1:
					x.v.push(e, i)
					x.slice = append(x.slice, i)
					x.t.put(e, k, i)
					x.m[k] = i
				case 2:
					if len(x.slice) > 0 {
						x.v.set(e, i%len(x.slice), i)
						x.slice[i%len(x.slice)] = i
					}
				case 3:
					if len(x.slice) > 0 {
						x.v.pop(e)
						x.slice = x.slice[:len(x.slice)-1]
					}
					x.t.remove(e, fmt.Sprint("key", i-3))
					delete(x.m, fmt.Sprint("key", i-3))
				}
			}
			versions = append(versions, x)
		}
		for _, x := range versions {
			if got := slices.Collect(x.v.all()); !slices.Equal(got, x.slice) {
				t.Fatalf("vector is %v, want %v", got, x.slice)
			}
			if len(allKeys(&x.t)) != len(x.m) || x.t.n != len(x.m) {
				t.Fatalf("table has %d keys, n is %d, want %d", len(allKeys(&x.t)), x.t.n, len(x.m))
			}
			for k, v := range x.m {
				if got, ok := x.t.get(k); !ok || got != v {
					t.Fatalf("table[%q] = %v %v, want %v", k, got, ok, v)
				}
			}
		}
	})
}
