package scheduler

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// PodTopologySpread keeps the pods that a selector matches evenly spread over the domains of a
// topology, as a rule (DoNotSchedule) or a preference (ScheduleAnyway).
// https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/
type PodTopologySpread struct{}

var (
	refuseSkew     = NewStatus(Unschedulable, "node(s) didn't match pod topology spread constraints")
	refuseTopology = NewStatus(UnschedulableAndUnresolvable, "node(s) didn't match pod topology spread constraints (missing required label)")
)

// spreadConstraint is one of spec.topologySpreadConstraints, with defaults filled in.
type spreadConstraint struct {
	topologyKey               string
	maxSkew, minDomains       int64
	hard                      bool
	selector                  labels.Selector
	honorAffinity, honorTaint bool
	// self is 1 when the pod itself is one of those that are spread.
	self int64
}

func newSpreadConstraint(pod *corev1.Pod, c *corev1.TopologySpreadConstraint) (spreadConstraint, error) {
	out := spreadConstraint{
		topologyKey: c.TopologyKey, maxSkew: int64(c.MaxSkew), minDomains: 1,
		hard:          c.WhenUnsatisfiable != corev1.ScheduleAnyway,
		honorAffinity: c.NodeAffinityPolicy == nil || *c.NodeAffinityPolicy == corev1.NodeInclusionPolicyHonor,
		honorTaint:    c.NodeTaintsPolicy != nil && *c.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor,
	}
	if c.MinDomains != nil {
		out.minDomains = int64(*c.MinDomains)
	}
	var err error
	out.selector, err = mergeLabelKeys(c.LabelSelector, pod.Labels, c.MatchLabelKeys, nil)
	if err == nil && out.selector.Matches(labels.Set(pod.Labels)) {
		out.self = 1
	}
	return out, err
}

// includes tells whether a node's pods and its domain count.
func (c *spreadConstraint) includes(p *PodInfo, n *corev1.Node) bool {
	return (!c.honorAffinity || matchesNodeAffinity(p, n)) && (!c.honorTaint || !hasUntoleratedTaint(p.Pod, n))
}

// count returns how many pods of a node are among those that are spread. An empty selector counts
// none, and pods that are being deleted no longer count.
func (c *spreadConstraint) count(namespace string, n *NodeInfo) (sum int64) {
	if c.selector.Empty() {
		return 0
	}
	for _, p := range n.Pods {
		if p.Pod.Namespace == namespace && p.Pod.DeletionTimestamp == nil && c.selector.Matches(labels.Set(p.Pod.Labels)) {
			sum++
		}
	}
	return sum
}

func constraintsOf(p *PodInfo, hard bool) (out []*spreadConstraint) {
	for i := range p.spread {
		if p.spread[i].hard == hard {
			out = append(out, &p.spread[i])
		}
	}
	return out
}

func hasAllKeys(n *corev1.Node, cs []*spreadConstraint) bool {
	for _, c := range cs {
		if _, ok := n.Labels[c.topologyKey]; !ok {
			return false
		}
	}
	return true
}

type spreadState struct {
	constraints []*spreadConstraint
	// counts has, for each constraint, the pods by domain.
	counts []map[string]int64
	// least is, for each constraint, the lowest count of any domain.
	least []int64
}

// Name implements Plugin.
func (PodTopologySpread) Name() string { return NamePodTopologySpread }

// PreFilter implements PreFilterPlugin.
func (PodTopologySpread) PreFilter(c *Cycle) (PreFilterResult, *Status) {
	st := &spreadState{constraints: constraintsOf(c.Pod, true)}
	if len(st.constraints) == 0 {
		return PreFilterResult{Skip: true}, nil
	}
	for range st.constraints {
		st.counts = append(st.counts, map[string]int64{})
	}
	for n := range c.Snapshot.Nodes() {
		if !hasAllKeys(n.Node, st.constraints) {
			continue
		}
		for i, con := range st.constraints {
			if con.includes(c.Pod, n.Node) {
				st.counts[i][n.Node.Labels[con.topologyKey]] += con.count(c.Pod.Pod.Namespace, n)
			}
		}
	}
	for i, con := range st.constraints {
		// With fewer domains than are asked for, more may come, and they would be empty. With no
		// domain at all nothing bounds the skew from below.
		least := int64(math.MaxInt32)
		for _, n := range st.counts[i] {
			least = min(least, n)
		}
		if int64(len(st.counts[i])) < con.minDomains {
			least = 0
		}
		st.least = append(st.least, least)
	}
	return PreFilterResult{State: st}, nil
}

// Filter implements FilterPlugin.
func (PodTopologySpread) Filter(_ *Cycle, state any, n *NodeInfo) *Status {
	st := state.(*spreadState)
	for i, c := range st.constraints {
		v, ok := n.Node.Labels[c.topologyKey]
		if !ok {
			return refuseTopology
		}
		if st.counts[i][v]+c.self-st.least[i] > c.maxSkew {
			return refuseSkew
		}
	}
	return nil
}

type spreadScore struct {
	constraints []*spreadConstraint
	counts      []map[string]int64
	weights     []float64
	// ignored are nodes that lack a topology key: they get the worst score.
	ignored map[string]bool
}

// PreScore implements PreScorePlugin.
func (PodTopologySpread) PreScore(c *Cycle, nodes []*NodeInfo) (any, bool, error) {
	st := &spreadScore{constraints: constraintsOf(c.Pod, false), ignored: map[string]bool{}}
	if len(st.constraints) == 0 {
		return nil, true, nil
	}
	for range st.constraints {
		st.counts = append(st.counts, map[string]int64{})
	}
	for _, n := range nodes {
		if !hasAllKeys(n.Node, st.constraints) {
			st.ignored[n.Node.Name] = true
			continue
		}
		for i, con := range st.constraints {
			st.counts[i][n.Node.Labels[con.topologyKey]] = 0
		}
	}
	for i, con := range st.constraints {
		size := len(st.counts[i])
		if con.topologyKey == corev1.LabelHostname {
			size = len(nodes) - len(st.ignored)
		}
		// The logarithm keeps topologies of many domains from drowning those of few.
		st.weights = append(st.weights, math.Log(float64(size+2)))
	}
	st.countAll(c)
	return st, false, nil
}

func (st *spreadScore) countAll(c *Cycle) {
	for n := range c.Snapshot.Nodes() {
		if !hasAllKeys(n.Node, st.constraints) {
			continue
		}
		for i, con := range st.constraints {
			v := n.Node.Labels[con.topologyKey]
			// Hosts are counted when they are scored.
			if _, candidate := st.counts[i][v]; candidate && con.topologyKey != corev1.LabelHostname && con.includes(c.Pod, n.Node) {
				st.counts[i][v] += con.count(c.Pod.Pod.Namespace, n)
			}
		}
	}
}

// Score implements ScorePlugin: lower is better until NormalizeScores turns it round.
func (PodTopologySpread) Score(c *Cycle, state any, n *NodeInfo) (int64, error) {
	st := state.(*spreadScore)
	if st.ignored[n.Node.Name] {
		return 0, nil
	}
	var sum float64
	for i, con := range st.constraints {
		count := st.counts[i][n.Node.Labels[con.topologyKey]]
		if con.topologyKey == corev1.LabelHostname {
			count = con.count(c.Pod.Pod.Namespace, n)
		}
		sum += float64(count)*st.weights[i] + float64(con.maxSkew-1)
	}
	return int64(math.Round(sum)), nil
}

// NormalizeScores implements ScoreNormalizer.
func (PodTopologySpread) NormalizeScores(_ *Cycle, state any, nodes []*NodeInfo, scores []int64) error {
	st := state.(*spreadScore)
	least, most := int64(math.MaxInt64), int64(0)
	for i, v := range scores {
		if !st.ignored[nodes[i].Node.Name] {
			least, most = min(least, v), max(most, v)
		}
	}
	for i, v := range scores {
		switch {
		case st.ignored[nodes[i].Node.Name]:
			scores[i] = 0
		case most == 0:
			scores[i] = MaxNodeScore
		default:
			scores[i] = MaxNodeScore * (most + least - v) / most
		}
	}
	return nil
}

// Helps implements EventHinter.
func (PodTopologySpread) Helps(pod *PodInfo, e *Event) bool {
	switch e.Kind {
	case PodAssigned, PodRemoved, PodUpdated:
		if e.Pod.Pod.Namespace != pod.Pod.Namespace {
			return false
		}
		for i := range pod.spread {
			s := pod.spread[i].selector
			if s.Matches(labels.Set(e.Pod.Pod.Labels)) || e.OldPod != nil && s.Matches(labels.Set(e.OldPod.Pod.Labels)) {
				return true
			}
		}
		return false
	case NodeUpdated:
		return !sameLabels(e.OldNode.Labels, e.Node.Labels) || taintsDiffer(e.OldNode, e.Node)
	}
	return e.Kind == NodeAdded || e.Kind == NodeRemoved
}
