package scheduler

import (
	"iter"
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// PodTopologySpread keeps the pods that a selector matches evenly spread over the domains of a
// topology, as a rule (DoNotSchedule) or a preference (ScheduleAnyway).
// https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/
type PodTopologySpread struct {
	// DefaultConstraints are for pods without constraints of their own that belong to a Service, a
	// ReplicationController, a ReplicaSet or a StatefulSet, which gives the selector. Nil means
	// kube-scheduler's: prefer a skew of at most 3 between hosts and 5 between zones. An empty list
	// means none.
	DefaultConstraints []corev1.TopologySpreadConstraint
}

var (
	refuseSkew     = NewStatus(Unschedulable, "node(s) didn't match pod topology spread constraints")
	refuseTopology = NewStatus(UnschedulableAndUnresolvable, "node(s) didn't match pod topology spread constraints (missing required label)")
)

// spreadConstraint is one of spec.topologySpreadConstraints, with defaults filled in.
type spreadConstraint struct {
	topologyKey               string
	maxSkew, minDomains       int64
	hard                      bool
	selector                  matcher
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
	selector, err := mergeLabelKeys(c.LabelSelector, pod.Labels, c.MatchLabelKeys, nil)
	out.selector = newMatcher(selector)
	if err == nil && out.selector.Matches(labels.Set(pod.Labels)) {
		out.self = 1
	}
	return out, err
}

// includes tells whether a node's pods and its domain count.
func (c *spreadConstraint) includes(p *PodInfo, n *corev1.Node) bool {
	return (!c.honorAffinity || matchesNodeAffinity(p, n)) && (!c.honorTaint || !hasUntoleratedTaint(p.Pod, n))
}

// counted returns the groups of pods that are spread. An empty selector counts none, and pods that are
// being deleted no longer count.
func (c *spreadConstraint) counted(s *Snapshot, namespace string) iter.Seq[*group] {
	return func(yield func(*group) bool) {
		if c.selector.Empty() {
			return
		}
		for g := range s.groups.selected(&c.selector) {
			if g.namespace == namespace && !g.deleting && !yield(g) {
				return
			}
		}
	}
}

// includesAll tells whether all nodes count.
func (c *spreadConstraint) includesAll(p *PodInfo) bool {
	return (!c.honorAffinity || p.nodeAffinity == nil) && !c.honorTaint
}

func constraintsOf(p *PodInfo, hard bool) (out []*spreadConstraint) {
	for i := range p.spread {
		if p.spread[i].hard == hard {
			out = append(out, &p.spread[i])
		}
	}
	return out
}

// spreadAxes are the constraints of one kind, each with the domains of its topology key.
type spreadAxes struct {
	constraints []*spreadConstraint
	axes        []*axis
	// partial tells that nodes which lack a topology key count for the other ones.
	partial bool
	// counts has, for each constraint, the pods by domain.
	counts [][]int64
}

func newSpreadAxes(c *Cycle, constraints []*spreadConstraint) (out spreadAxes) {
	out.constraints = constraints
	for _, con := range out.constraints {
		a := c.Snapshot.axis(con.topologyKey)
		out.axes = append(out.axes, a)
		out.counts = append(out.counts, make([]int64, len(a.nodes)))
	}
	return out
}

// hasAllKeys tells whether the node at a place is in a domain of each constraint, or need not be.
func (x *spreadAxes) hasAllKeys(place int) bool {
	if x.partial {
		return true
	}
	for _, a := range x.axes {
		if a.domains[place] == noDomain {
			return false
		}
	}
	return true
}

type spreadState struct {
	spreadAxes
	// least is, for each constraint, the lowest count of any domain.
	least []int64
}

// Name implements Plugin.
func (PodTopologySpread) Name() string { return NamePodTopologySpread }

// PreFilter implements PreFilterPlugin.
func (p PodTopologySpread) PreFilter(c *Cycle) (PreFilterResult, *Status) {
	constraints, _ := p.constraintsFor(c.Snapshot, c.Pod, true)
	if len(constraints) == 0 {
		return PreFilterResult{Skip: true}, nil
	}
	st := &spreadState{spreadAxes: newSpreadAxes(c, constraints)}
	for i := range st.constraints {
		st.least = append(st.least, st.count(c, i))
	}
	return PreFilterResult{State: st}, nil
}

// count counts the pods of a constraint, and returns the lowest count of any domain.
func (st *spreadState) count(c *Cycle, i int) int64 {
	con, a, counts := st.constraints[i], st.axes[i], st.counts[i]
	included := st.included(c, con)
	for g := range con.counted(c.Snapshot, c.Pod.kind.namespace) {
		for place, n := range g.nodes.all() {
			if included == nil {
				if d := a.domains[place]; d != noDomain {
					counts[d] += int64(n)
				}
			} else if included(place) {
				counts[a.domains[place]] += int64(n)
			}
		}
	}
	// The domains that count are those of the nodes that do.
	nodes, found := a.nodes, a.live
	if included != nil {
		nodes, found = make([]int32, len(counts)), 0
		for place, d := range a.domains {
			if included(place) {
				if nodes[d]++; nodes[d] == 1 {
					found++
				}
			}
		}
	}
	// With fewer domains than are asked for, more may come, and they would be empty. With no domain
	// at all nothing bounds the skew from below.
	if int64(found) < con.minDomains {
		return 0
	}
	least := int64(math.MaxInt32)
	for d, n := range counts {
		if nodes[d] > 0 {
			least = min(least, n)
		}
	}
	return least
}

// included returns what tells whether the node at a place counts for a constraint; nil means that all do
// that are in a domain.
func (st *spreadState) included(c *Cycle, con *spreadConstraint) func(place int) bool {
	if con.includesAll(c.Pod) {
		if len(st.axes) == 1 {
			return nil
		}
		return st.hasAllKeys
	}
	return func(place int) bool {
		return st.hasAllKeys(place) && con.includes(c.Pod, c.Snapshot.nodes.at(place).Node)
	}
}

// Filter implements FilterPlugin.
func (PodTopologySpread) Filter(_ *Cycle, state any, n *NodeInfo) *Status {
	st := state.(*spreadState)
	for i, c := range st.constraints {
		d := st.axes[i].domains[n.place]
		if d == noDomain {
			return refuseTopology
		}
		if st.counts[i][d]+c.self-st.least[i] > c.maxSkew {
			return refuseSkew
		}
	}
	return nil
}

type spreadScore struct {
	spreadAxes
	// hosts has, for the constraints that are about single nodes, the pods by place.
	hosts   [][]int32
	weights []float64
}

// PreScore implements PreScorePlugin.
func (p PodTopologySpread) PreScore(c *Cycle, nodes []*NodeInfo) (any, bool, error) {
	constraints, partial := p.constraintsFor(c.Snapshot, c.Pod, false)
	if len(constraints) == 0 {
		return nil, true, nil
	}
	st := &spreadScore{spreadAxes: newSpreadAxes(c, constraints)}
	st.partial = partial
	st.hosts = make([][]int32, len(st.constraints))
	complete := 0
	for _, n := range nodes {
		if st.hasAllKeys(n.place) {
			complete++
		}
	}
	for i, con := range st.constraints {
		size := complete
		if con.topologyKey == corev1.LabelHostname {
			st.countHosts(c, i)
		} else {
			size = st.countDomains(c, i, nodes)
		}
		// The logarithm keeps topologies of many domains from drowning those of few.
		st.weights = append(st.weights, math.Log(float64(size+2)))
	}
	return st, false, nil
}

// countDomains counts the pods by domain and returns how many domains the candidates are in. Those in none
// are as good as one domain more.
func (st *spreadScore) countDomains(c *Cycle, i int, nodes []*NodeInfo) (size int) {
	con, domains, counts := st.constraints[i], st.axes[i].domains, st.counts[i]
	candidate, inNone := make([]bool, len(counts)), 0
	for _, n := range nodes {
		switch d := domains[n.place]; {
		case !st.hasAllKeys(n.place):
		case d == noDomain:
			inNone = 1
		case !candidate[d]:
			candidate[d] = true
			size++
		}
	}
	all := con.includesAll(c.Pod)
	for g := range con.counted(c.Snapshot, c.Pod.kind.namespace) {
		for place, n := range g.nodes.all() {
			if d := domains[place]; d != noDomain && candidate[d] && st.hasAllKeys(place) && (all || con.includes(c.Pod, c.Snapshot.nodes.at(place).Node)) {
				counts[d] += int64(n)
			}
		}
	}
	return size + inNone
}

func (st *spreadScore) countHosts(c *Cycle, i int) {
	st.hosts[i] = make([]int32, c.Snapshot.nodes.n)
	for g := range st.constraints[i].counted(c.Snapshot, c.Pod.kind.namespace) {
		for place, n := range g.nodes.all() {
			st.hosts[i][place] += n
		}
	}
}

// Score implements ScorePlugin: lower is better until NormalizeScores turns it round. Nodes that lack a
// topology key get the worst score then.
func (PodTopologySpread) Score(_ *Cycle, state any, n *NodeInfo) (int64, error) {
	st := state.(*spreadScore)
	if !st.hasAllKeys(n.place) {
		return 0, nil
	}
	var sum float64
	for i, con := range st.constraints {
		d := st.axes[i].domains[n.place]
		if d == noDomain {
			continue
		}
		count := st.counts[i][d]
		if hosts := st.hosts[i]; hosts != nil {
			count = int64(hosts[n.place])
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
		if st.hasAllKeys(nodes[i].place) {
			least, most = min(least, v), max(most, v)
		}
	}
	for i, v := range scores {
		switch {
		case !st.hasAllKeys(nodes[i].place):
			scores[i] = 0
		case most == 0:
			scores[i] = MaxNodeScore
		default:
			scores[i] = MaxNodeScore * (most + least - v) / most
		}
	}
	return nil
}

// EventsToRegister implements EnqueueExtensions.
func (PodTopologySpread) EventsToRegister() []EventKind {
	return []EventKind{NodeAdded, NodeUpdated, NodeRemoved, PodAssigned, PodRemoved, PodUpdated, ObjectAdded, ObjectUpdated, ObjectRemoved}
}

// Helps implements EventHinter.
func (PodTopologySpread) Helps(pod *PodInfo, e *Event) bool {
	if len(pod.spread) == 0 {
		return defaultsHelp(pod, e)
	}
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
