package scheduler

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// DefaultPreemption finds a node on which a pod would fit if pods of lower priority were evicted, and
// among these nodes the one where that does the least harm: the fewest pods whose PodDisruptionBudget
// is used up, then the lowest highest priority, the smallest sum of priorities, the fewest pods and the
// latest start of the most important ones.
// https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
type DefaultPreemption struct {
	// Of the nodes that may do, at least this percentage and this number are compared, in large
	// clusters not all. 0 means 10 and 100.
	MinCandidateNodesPercentage, MinCandidateNodesAbsolute int
}

// Name implements Plugin.
func (DefaultPreemption) Name() string { return NameDefaultPreemption }

// Watches implements Watcher.
func (DefaultPreemption) Watches() []client.Object {
	return []client.Object{&policyv1.PodDisruptionBudget{}}
}

const preemptionPrefix = "preemption: "

var (
	neverPreempts  = NewStatus(Unschedulable, preemptionPrefix+"not eligible due to preemptionPolicy=Never.")
	preemptsNow    = NewStatus(Unschedulable, preemptionPrefix+"not eligible due to a terminating pod on the nominated node.")
	noVictims      = NewStatus(UnschedulableAndUnresolvable, "No preemption victims found for incoming pod")
	notHelpful     = NewStatus(UnschedulableAndUnresolvable, "Preemption is not helpful for scheduling")
	notOnThatPoint = NewStatus(Error, "preemption needs a placement under way")
)

// PostFilter implements PostFilterPlugin.
func (pl DefaultPreemption) PostFilter(c *Cycle, fit *FitError) (PostFilterResult, *Status) {
	c.Handle.preemptionAttempted()
	if c.run == nil {
		return PostFilterResult{}, notOnThatPoint
	}
	if neverPreempting(c.Pod) {
		return PostFilterResult{}, neverPreempts
	}
	if waitsForVictims(c, fit) {
		return PostFilterResult{}, preemptsNow
	}
	p := preemption{r: c.run, local: c.run.local(), budgets: budgetsOf(c.Snapshot), groups: c.run.groupsOf(c.Snapshot)}
	p.memory = c.run.triesOf(p.local)
	nodes := p.potentialNodes(fit)
	failed := FitError{NumAllNodes: c.Snapshot.Len(), Absent: notHelpful}
	if err := p.search(nodes, pl.candidates(len(nodes)), &failed); err != nil {
		return PostFilterResult{}, AsStatus(err)
	}
	if p.best.node == nil {
		return PostFilterResult{Denominate: true}, NewStatus(Unschedulable, preemptionPrefix+failed.Error())
	}
	node := p.best.node.Node.Name
	return PostFilterResult{
		Nominate: node, Victims: p.best.victims,
		Message: fmt.Sprintf(preemptionPrefix+"found a potential placement for pod on node %s, preempting %d victims", node, len(p.best.victims)),
	}, nil
}

func neverPreempting(p *PodInfo) bool {
	policy := p.Pod.Spec.PreemptionPolicy
	return policy != nil && *policy == corev1.PreemptNever
}

// candidates returns how many candidates are enough.
func (pl DefaultPreemption) candidates(nodes int) int {
	n := max(nodes*cmp.Or(pl.MinCandidateNodesPercentage, 10)/100, cmp.Or(pl.MinCandidateNodesAbsolute, 100))
	return min(n, nodes)
}

// waitsForVictims tells whether pods of lower priority that were evicted are still on the node that was
// nominated for this one. If that node can't be right any more, another one is looked for.
func waitsForVictims(c *Cycle, fit *FitError) bool {
	name := c.nominatedNode()
	if name == "" {
		return false
	}
	n := c.Snapshot.Node(name)
	if n == nil || c.run.hopeless(n, fit) {
		return false
	}
	groups := c.run.groupsOf(c.Snapshot)
	return slices.ContainsFunc(n.Pods, func(p *PodInfo) bool {
		return endsByPreemption(p.Pod) && groups.priority(p) < c.Pod.Priority
	})
}

// hopeless tells whether no eviction would help on a node.
func (r *run) hopeless(n *NodeInfo, fit *FitError) bool {
	if fit.PreFilter != nil {
		return fit.PreFilter.Status.Code == UnschedulableAndUnresolvable
	}
	for i := range r.refusals {
		if x := r.refusals[i]; int(x.place) == n.place {
			return r.said(x).status.Code == UnschedulableAndUnresolvable
		}
	}
	return r.restricted
}

func endsByPreemption(p *corev1.Pod) bool {
	if p.DeletionTimestamp == nil {
		return false
	}
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.DisruptionTarget {
			return c.Status == corev1.ConditionTrue && c.Reason == corev1.PodReasonPreemptionByScheduler
		}
	}
	return false
}

// preemption is one search.
type preemption struct {
	r *run
	// local tells that nodes can be asked about as drafts.
	local   bool
	budgets budgets
	// groups is nil when there are none.
	groups *grouping
	// memory has what earlier searches have come to, or is nil.
	memory *tries
	best   candidate
	// victims, lower, violating and others are memory for each node's victims-to-be.
	victims, lower, violating, others []*PodInfo
}

// candidate is a node on which the pod fits without the victims, which are ordered by importance.
type candidate struct {
	node       *NodeInfo
	victims    []*PodInfo
	violations int
	// highest is the highest priority, sum that of all, each raised above zero, earliest the start of
	// the first victim of the highest priority.
	highest  int32
	sum      int64
	earliest int64
}

// potentialNodes are the places of those on which an eviction may help.
func (p *preemption) potentialNodes(fit *FitError) []int32 {
	out := p.r.potential[:0]
	switch {
	case fit.PreFilter == nil:
		for _, x := range p.r.refusals {
			if p.r.said(x).status.Code == Unschedulable {
				out = append(out, x.place)
			}
		}
	case fit.PreFilter.Status.Code == Unschedulable:
		for i := range p.r.Snapshot.nodes.n {
			out = append(out, int32(i))
		}
	}
	p.r.potential = out
	return out
}

// search looks for candidates from a random node on, until it has found enough and one of them violates
// no budget. Failed gets the verdicts of the nodes that are none.
func (p *preemption) search(nodes []int32, enough int, failed *FitError) error {
	first, found, clean := 0, 0, false
	if p.r.Random != nil && len(nodes) > 0 {
		first = p.r.Random.IntN(len(nodes))
	}
	for i := range nodes {
		at := first + i
		if at >= len(nodes) {
			at -= len(nodes)
		}
		n := p.r.Snapshot.nodes.at(int(nodes[at]))
		c, status := p.outcome(n)
		if status != nil {
			if status.Code == Error {
				return status.cause()
			}
			failed.count(status)
			continue
		}
		if len(c.victims) == 0 {
			continue // it fits, after all: there is nothing to evict
		}
		found++
		clean = clean || c.violations == 0
		if p.best.node == nil || c.better(&p.best) {
			p.best = *c
			p.best.victims = slices.Clone(c.victims)
		}
		if clean && found >= enough {
			break
		}
	}
	return nil
}

// outcome is try by what is remembered about the node. The victims are good until the next call.
func (p *preemption) outcome(n *NodeInfo) (*candidate, *Status) {
	if p.groups != nil && slices.ContainsFunc(n.Pods, func(q *PodInfo) bool { return q.Pod.Spec.SchedulingGroup != nil }) {
		// What it comes to depends on other nodes and on the groups.
		c, status := p.tryGroups(n)
		return &c, status
	}
	claims := p.r.claims(n)
	if p.memory == nil || len(claims) > 0 {
		c, status := p.try(n, claims)
		return &c, status
	}
	t := &p.memory.nodes[n.place]
	if t.node != n {
		t.candidate, t.status = p.try(n, nil)
		t.node, t.victims = n, slices.Clone(t.victims)
	}
	return &t.candidate, t.status
}

// try finds the fewest and least important victims on a node.
func (p *preemption) try(n *NodeInfo, claims []*PodInfo) (candidate, *Status) {
	p.lower, p.victims = p.lower[:0], p.victims[:0]
	for _, q := range n.Pods {
		if q.Priority < p.r.Pod.Priority {
			p.lower = append(p.lower, q)
		}
	}
	if len(p.lower) == 0 {
		return candidate{node: n}, noVictims
	}
	room := p.clear(n, claims)
	if status := room.refuse(); status != nil {
		return candidate{node: n}, status
	}
	slices.SortStableFunc(p.lower, byImportance)
	p.splitByBudget()
	violations := 0
	for _, q := range p.violating {
		if !room.reprieve(q) {
			p.victims = append(p.victims, q)
			violations++
		}
	}
	for _, q := range p.others {
		if !room.reprieve(q) {
			p.victims = append(p.victims, q)
		}
	}
	if len(p.violating) > 0 && len(p.others) > 0 {
		slices.SortStableFunc(p.victims, byImportance)
	}
	return weigh(n, p.victims, violations), nil
}

// byImportance orders pods by falling priority and, of the same priority, those that started first come
// first. Pods that have not started have run for the shortest time.
func byImportance(a, b *PodInfo) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(startOf(a), startOf(b)))
}

func startOf(p *PodInfo) int64 {
	if t := p.Pod.Status.StartTime; t != nil {
		return t.UnixNano()
	}
	return math.MaxInt64
}

// weigh adds up what candidates are compared by.
func weigh(n *NodeInfo, victims []*PodInfo, violations int) candidate {
	c := candidate{node: n, victims: victims, violations: violations, earliest: math.MaxInt64}
	if len(victims) > 0 {
		c.highest = victims[0].Priority
	}
	for _, v := range victims {
		c.sum += int64(v.Priority) + math.MaxInt32 + 1
		if v.Priority == c.highest {
			c.earliest = min(c.earliest, startOf(v))
		}
	}
	return c
}

// better tells whether a candidate does less harm than another one.
func (c *candidate) better(o *candidate) bool {
	switch {
	case c.violations != o.violations:
		return c.violations < o.violations
	case c.highest != o.highest:
		return c.highest < o.highest
	case c.sum != o.sum:
		return c.sum < o.sum
	case len(c.victims) != len(o.victims):
		return len(c.victims) < len(o.victims)
	}
	return c.earliest > o.earliest
}

// clearing is a node without the pods of lower priority, to which they come back one by one.
type clearing interface {
	// refuse returns why the pod still does not fit.
	refuse() *Status
	// reprieve tells whether the pod fits although q stays; if not, q goes.
	reprieve(q *PodInfo) bool
}

func (p *preemption) clear(n *NodeInfo, claims []*PodInfo) clearing {
	if p.local && !slices.ContainsFunc(claims, (*PodInfo).avoidsPods) {
		d := p.r.draft.copyOf(n, false)
		for _, q := range n.Pods {
			if q.Priority >= p.r.Pod.Priority {
				d.add(q)
			}
		}
		for _, q := range claims {
			d.add(q)
		}
		return (*draftClearing)(p.r)
	}
	b := p.r.Snapshot.Edit()
	for _, q := range p.lower {
		b.RemovePod(q.Key, n.Node.Name)
	}
	return &snapshotClearing{c: &p.r.Cycle, b: b, node: n.Node.Name}
}

// draftClearing asks local filters about the run's draft. With the pods that wait for room in place they
// refuse whatever they would refuse without them.
type draftClearing run

func (d *draftClearing) refuse() *Status {
	return (*run)(d).verdict(d.filters, &d.draft.n).status
}

func (d *draftClearing) reprieve(q *PodInfo) bool {
	d.draft.add(q)
	if d.refuse() == nil {
		return true
	}
	d.draft.undo(q)
	return false
}

// snapshotClearing asks all filters about a changed snapshot.
type snapshotClearing struct {
	c    *Cycle
	b    *Builder
	node string
}

func (s *snapshotClearing) refuse() *Status { return s.c.Fits(&s.b.s, s.node) }

func (s *snapshotClearing) reprieve(q *PodInfo) bool {
	s.b.AddPod(q, s.node)
	if s.refuse() == nil {
		return true
	}
	s.b.RemovePod(q.Key, s.node)
	return false
}
