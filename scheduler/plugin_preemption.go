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
	if c.run == nil {
		return PostFilterResult{}, notOnThatPoint
	}
	if neverPreempting(c.Pod) {
		return PostFilterResult{}, neverPreempts
	}
	if waitsForVictims(c, fit) {
		return PostFilterResult{}, preemptsNow
	}
	p := preemption{r: c.run, local: c.run.local(), hasBudgets: hasAny[*policyv1.PodDisruptionBudget](c.Snapshot)}
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
		Nominate: node, Victims: slices.Clone(p.best.victims),
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
	return slices.ContainsFunc(n.Pods, func(p *PodInfo) bool {
		return p.Priority < c.Pod.Priority && endsByPreemption(p.Pod)
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
	local      bool
	hasBudgets bool
	budgets    map[string][]budget
	// best is the best candidate so far; trial the one that is being looked at.
	best, trial candidate
	// lower, violating and others are memory for each node's victims-to-be.
	lower, violating, others []*PodInfo
}

// candidate is a node on which the pod fits without the victims, which are ordered by importance.
type candidate struct {
	node       *NodeInfo
	victims    []*PodInfo
	violations int
	// sum is that of the priorities, each raised above zero, earliest the start of the first victim
	// of the highest priority.
	sum      int64
	earliest int64
}

// potentialNodes are those on which an eviction may help.
func (p *preemption) potentialNodes(fit *FitError) []*NodeInfo {
	var out []*NodeInfo
	switch {
	case fit.PreFilter == nil:
		for i := range p.r.refusals {
			if x := p.r.refusals[i]; p.r.said(x).status.Code == Unschedulable {
				out = append(out, p.r.Snapshot.nodes.at(int(x.place)))
			}
		}
	case fit.PreFilter.Status.Code == Unschedulable:
		out = slices.Collect(p.r.Snapshot.Nodes())
	}
	return out
}

// search looks for candidates from a random node on, until it has found enough and one of them violates
// no budget. Failed gets the verdicts of the nodes that are none.
func (p *preemption) search(nodes []*NodeInfo, enough int, failed *FitError) error {
	first, found, clean := 0, 0, false
	if p.r.Random != nil && len(nodes) > 0 {
		first = p.r.Random.IntN(len(nodes))
	}
	for i := range nodes {
		n := nodes[(first+i)%len(nodes)]
		status := p.try(n)
		if status != nil {
			if status.Code == Error {
				return status.cause()
			}
			failed.Nodes = append(failed.Nodes, Verdict{Node: n.Node.Name, Status: status})
			continue
		}
		if len(p.trial.victims) == 0 {
			continue // it fits, after all: there is nothing to evict
		}
		found++
		clean = clean || p.trial.violations == 0
		if p.weigh(n); p.best.node == nil || p.trial.better(&p.best) {
			p.best, p.trial = p.trial, p.best
		}
		if clean && found >= enough {
			break
		}
	}
	return nil
}

// try finds the fewest and least important victims on a node, and leaves them in p.trial.
func (p *preemption) try(n *NodeInfo) *Status {
	p.trial.victims, p.trial.violations = p.trial.victims[:0], 0
	p.lower = p.lower[:0]
	for _, q := range n.Pods {
		if q.Priority < p.r.Pod.Priority {
			p.lower = append(p.lower, q)
		}
	}
	if len(p.lower) == 0 {
		return noVictims
	}
	room := p.clear(n)
	if status := room.refuse(); status != nil {
		return status
	}
	slices.SortStableFunc(p.lower, byImportance)
	p.splitByBudget()
	for _, q := range p.violating {
		if !room.reprieve(q) {
			p.trial.victims = append(p.trial.victims, q)
			p.trial.violations++
		}
	}
	for _, q := range p.others {
		if !room.reprieve(q) {
			p.trial.victims = append(p.trial.victims, q)
		}
	}
	if len(p.violating) > 0 && len(p.others) > 0 {
		slices.SortStableFunc(p.trial.victims, byImportance)
	}
	return nil
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
func (p *preemption) weigh(n *NodeInfo) {
	c := &p.trial
	c.node, c.sum, c.earliest = n, 0, math.MaxInt64
	for _, v := range c.victims {
		c.sum += int64(v.Priority) + math.MaxInt32 + 1
		if v.Priority == c.victims[0].Priority {
			c.earliest = min(c.earliest, startOf(v))
		}
	}
}

// better tells whether a candidate does less harm than another one.
func (c *candidate) better(o *candidate) bool {
	return cmp.Or(
		cmp.Compare(c.violations, o.violations),
		cmp.Compare(c.victims[0].Priority, o.victims[0].Priority),
		cmp.Compare(c.sum, o.sum),
		cmp.Compare(len(c.victims), len(o.victims)),
		cmp.Compare(o.earliest, c.earliest),
	) < 0
}

// clearing is a node without the pods of lower priority, to which they come back one by one.
type clearing interface {
	// refuse returns why the pod still does not fit.
	refuse() *Status
	// reprieve tells whether the pod fits although q stays; if not, q goes.
	reprieve(q *PodInfo) bool
}

func (p *preemption) clear(n *NodeInfo) clearing {
	claims := p.r.claims(n.Node.Name)
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
