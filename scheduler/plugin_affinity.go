package scheduler

import (
	"math"

	corev1 "k8s.io/api/core/v1"
)

// InterPodAffinity keeps pods near or away from other pods, by required and preferred affinity and
// anti-affinity, the pod's own and that of the pods already there.
// https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity
type InterPodAffinity struct{}

var (
	refuseExistingAntiAffinity = NewStatus(Unschedulable, "node(s) didn't satisfy existing pods anti-affinity rules")
	refusePodAffinity          = NewStatus(UnschedulableAndUnresolvable, "node(s) didn't match pod affinity rules")
	refusePodAntiAffinity      = NewStatus(Unschedulable, "node(s) didn't match pod anti-affinity rules")
)

// domain is one value of a topology key.
type domain struct{ key, value string }

// domains counts something by domain.
type domains map[domain]int64

func (d domains) add(n *corev1.Node, key string, by int64) {
	if v, ok := n.Labels[key]; ok {
		d[domain{key, v}] += by
	}
}

type affinityState struct {
	// existing counts, by domain, the required anti-affinity rules of pods there that are about
	// the incoming pod; near counts pods that match all its required affinity rules, away those
	// that match one of its required anti-affinity rules.
	existing, near, away domains
	// self tells that the pod itself matches all its required affinity rules.
	self bool
}

// Name implements Plugin.
func (InterPodAffinity) Name() string { return NameInterPodAffinity }

// PreFilter implements PreFilterPlugin.
func (InterPodAffinity) PreFilter(c *Cycle) (PreFilterResult, *Status) {
	p := c.Pod
	own := len(p.affinity)+len(p.antiAffinity) > 0
	if !own && c.Snapshot.affine == 0 {
		return PreFilterResult{Skip: true}, nil
	}
	st := &affinityState{existing: domains{}, near: domains{}, away: domains{}}
	for n := range c.Snapshot.Nodes() {
		if c.Snapshot.affine > 0 {
			st.countExisting(c, n)
		}
		if own {
			st.countOwn(c, n)
		}
	}
	st.self = matchesAll(c.Snapshot, p.affinity, p.Pod)
	return PreFilterResult{State: st, Skip: !own && len(st.existing) == 0}, nil
}

func (st *affinityState) countExisting(c *Cycle, n *NodeInfo) {
	for _, other := range n.withAffinity {
		for i := range other.antiAffinity {
			if t := &other.antiAffinity[i]; t.matches(c.Snapshot, c.Pod.Pod) {
				st.existing.add(n.Node, t.topologyKey, 1)
			}
		}
	}
}

func (st *affinityState) countOwn(c *Cycle, n *NodeInfo) {
	for _, other := range n.Pods {
		if matchesAll(c.Snapshot, c.Pod.affinity, other.Pod) {
			for i := range c.Pod.affinity {
				st.near.add(n.Node, c.Pod.affinity[i].topologyKey, 1)
			}
		}
		for i := range c.Pod.antiAffinity {
			if t := &c.Pod.antiAffinity[i]; t.matches(c.Snapshot, other.Pod) {
				st.away.add(n.Node, t.topologyKey, 1)
			}
		}
	}
}

// matchesAll tells whether there are rules and all are about the pod.
func matchesAll(s *Snapshot, terms []affinityTerm, pod *corev1.Pod) bool {
	for i := range terms {
		if !terms[i].matches(s, pod) {
			return false
		}
	}
	return len(terms) > 0
}

// Filter implements FilterPlugin.
func (InterPodAffinity) Filter(c *Cycle, state any, n *NodeInfo) *Status {
	st := state.(*affinityState)
	if !st.nearEnough(c.Pod, n.Node) {
		return refusePodAffinity
	}
	for i := range c.Pod.antiAffinity {
		if st.away.at(n.Node, c.Pod.antiAffinity[i].topologyKey) > 0 {
			return refusePodAntiAffinity
		}
	}
	if len(st.existing) > 0 {
		for k, v := range n.Node.Labels {
			if st.existing[domain{k, v}] > 0 {
				return refuseExistingAntiAffinity
			}
		}
	}
	return nil
}

func (d domains) at(n *corev1.Node, key string) int64 {
	v, ok := n.Labels[key]
	if !ok {
		return 0
	}
	return d[domain{key, v}]
}

// nearEnough tells whether the node is in a domain of each rule that has a pod matching all. When no
// pod anywhere does, the first of a group that wants its own company may go anywhere that has the
// topology keys.
func (st *affinityState) nearEnough(p *PodInfo, n *corev1.Node) bool {
	all := true
	for i := range p.affinity {
		if _, ok := n.Labels[p.affinity[i].topologyKey]; !ok {
			return false
		}
		all = all && st.near.at(n, p.affinity[i].topologyKey) > 0
	}
	return all || len(st.near) == 0 && st.self
}

// hardAffinityWeight is what a required affinity rule of a pod that is there counts for when it is
// about the incoming pod; it is kube-scheduler's default.
const hardAffinityWeight = 1

// PreScore implements PreScorePlugin.
func (InterPodAffinity) PreScore(c *Cycle, _ []*NodeInfo) (any, bool, error) {
	own := len(c.Pod.preferred)+len(c.Pod.preferredAgainst) > 0
	if !own && c.Snapshot.wishes == 0 {
		return nil, true, nil
	}
	sums := domains{}
	for n := range c.Snapshot.Nodes() {
		if own {
			sums.addPreferences(c, n)
		}
		if n.wishes == 0 {
			continue
		}
		for _, other := range n.withAffinity {
			sums.addWishes(c, other, n.Node)
		}
	}
	return sums, len(sums) == 0, nil
}

// addPreferences counts what the incoming pod prefers about the pods on a node.
func (d domains) addPreferences(c *Cycle, n *NodeInfo) {
	for _, other := range n.Pods {
		d.weigh(c.Snapshot, c.Pod.preferred, other.Pod, n.Node, 1)
		d.weigh(c.Snapshot, c.Pod.preferredAgainst, other.Pod, n.Node, -1)
	}
}

// addWishes counts what a pod that is there prefers, or once required, about the incoming pod.
func (d domains) addWishes(c *Cycle, other *PodInfo, n *corev1.Node) {
	for i := range other.affinity {
		if t := &other.affinity[i]; t.matches(c.Snapshot, c.Pod.Pod) {
			d.add(n, t.topologyKey, hardAffinityWeight)
		}
	}
	d.weigh(c.Snapshot, other.preferred, c.Pod.Pod, n, 1)
	d.weigh(c.Snapshot, other.preferredAgainst, c.Pod.Pod, n, -1)
}

func (d domains) weigh(s *Snapshot, terms []affinityTerm, about *corev1.Pod, n *corev1.Node, sign int64) {
	for i := range terms {
		if terms[i].matches(s, about) {
			d.add(n, terms[i].topologyKey, sign*terms[i].weight)
		}
	}
}

// Score implements ScorePlugin.
func (InterPodAffinity) Score(_ *Cycle, state any, n *NodeInfo) (sum int64, _ error) {
	d := state.(domains)
	for k, v := range n.Node.Labels {
		sum += d[domain{k, v}]
	}
	return sum, nil
}

// NormalizeScores implements ScoreNormalizer: the lowest sum becomes 0, the highest MaxNodeScore.
func (InterPodAffinity) NormalizeScores(_ *Cycle, _ any, _ []*NodeInfo, scores []int64) error {
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	for _, v := range scores {
		least, most = min(least, v), max(most, v)
	}
	for i, v := range scores {
		if scores[i] = 0; most > least {
			scores[i] = int64(float64(MaxNodeScore) * (float64(v-least) / float64(most-least)))
		}
	}
	return nil
}

// Helps implements EventHinter.
func (InterPodAffinity) Helps(pod *PodInfo, e *Event) bool {
	switch e.Kind {
	case PodRemoved:
		// What the pod wanted to avoid may be gone, and so may what wanted to avoid it.
		return len(e.Pod.antiAffinity) > 0 || len(pod.antiAffinity) > 0
	case PodAssigned, PodUpdated:
		return len(pod.affinity) > 0 || e.Kind == PodUpdated
	case NodeUpdated:
		return !sameLabels(e.OldNode.Labels, e.Node.Labels)
	}
	return true
}
