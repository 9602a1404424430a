package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// scratch is the memory that one placement needs and the next can use again.
type scratch struct {
	states   []any
	skip     []bool
	feasible []*NodeInfo
	refusals []refusal
	// told are refusals that are not in the run's memory.
	told   []nodeRefusal
	totals []int64
	scores []int64
	// shapes are what is remembered from earlier placements.
	shapes     []*opinions
	placements uint64
	// trailing are the filters of the run that come after the leading ones.
	trailing []stage[FilterPlugin]
	draft    draft
	scratchTries
}

func (x *scratch) clear() {
	clear(x.states)
	clear(x.skip)
	clear(x.feasible)
	clear(x.told)
	x.feasible, x.refusals, x.told, x.totals = x.feasible[:0], x.refusals[:0], x.told[:0], x.totals[:0]
}

// refusal becomes a Verdict when it turns out that it matters. It is small, as there may be thousands of them: the
// place of the node and the number of what was said, in the run's memory or, below 0, in told.
type refusal struct{ place, said int32 }

// run is one placement under way.
type run struct {
	*Profile
	Cycle
	*scratch
	// memory has the opinions about nodes for pods of this shape, of the leading filters and of those
	// scorers that go by shapes.
	memory  *opinions
	leading int
	// at and point name the plugin that is running, should it panic.
	at, point string
	// only, when restricted, are the nodes that PreFilter plugins have left over.
	only         []string
	restricted   bool
	restrictedBy []string
	// preScored is the time that PreScore took, where somebody wants to know.
	preScored time.Duration
}

func (r *run) place() (Assignment, error) {
	fit := &FitError{Pod: r.Pod.Pod, NumAllNodes: r.Snapshot.nodes.n}
	var err error
	began := r.Handle.begin()
	fit.PreFilter, err = r.admit()
	r.Handle.ran("PreFilter", r.Pod, codeOf(fit.PreFilter, err), began)
	if err != nil {
		return Assignment{}, err
	} else if fit.PreFilter != nil {
		return Assignment{}, fit
	}
	if n, err := r.takeNominated(); err != nil {
		return Assignment{}, err
	} else if n != nil {
		return Assignment{Node: n.Node.Name, EvaluatedNodes: 1, FeasibleNodes: 1}, nil
	}
	began = r.Handle.begin()
	err = r.filter(fit)
	r.Handle.ran("Filter", r.Pod, codeOf(nil, err), began)
	if err != nil {
		return Assignment{}, err
	}
	a := Assignment{EvaluatedNodes: len(r.feasible) + len(r.refusals), FeasibleNodes: len(r.feasible)}
	switch len(r.feasible) {
	case 0:
		r.explain(fit)
		return Assignment{}, fit
	case 1:
		a.Node = r.feasible[0].Node.Name
		return a, nil
	}
	if err := r.scoreInTime(); err != nil {
		return Assignment{}, err
	}
	best := r.best()
	a.Node, a.Score = r.feasible[best].Node.Name, r.totals[best]
	return a, nil
}

// explain tells the refusals: by node or, if nobody looks at single nodes, by what was said.
func (r *run) explain(fit *FitError) {
	if r.Cycle.brief {
		fit.counted = r.countRefusals()
		return
	}
	fit.Nodes = make([]Verdict, len(r.refusals))
	for i, x := range r.refusals {
		said := r.said(x)
		fit.Nodes[i] = Verdict{Node: r.Snapshot.nodes.at(int(x.place)).name, Plugin: said.plugin, Status: said.status}
	}
}

// countedRefusal is what was said of a number of nodes.
type countedRefusal struct {
	nodeRefusal
	nodes int
}

func (r *run) countRefusals() []countedRefusal {
	remembered := len(r.memory.refusals)
	out := make([]countedRefusal, remembered+len(r.told))
	for _, x := range r.refusals {
		i := int(x.said)
		if i < 0 {
			i = remembered - 1 - i
		}
		out[i].nodes++
		if out[i].nodes == 1 {
			out[i].nodeRefusal = r.said(x)
		}
	}
	return slices.DeleteFunc(out, func(c countedRefusal) bool { return c.nodes == 0 })
}

// takeNominated returns the node where room was made for the pod, if the pod fits there. That is looked at first:
// no other is likely to fit.
func (r *run) takeNominated() (*NodeInfo, error) {
	name := r.nominatedNode()
	n := r.Snapshot.Node(name)
	if name == "" || n == nil || r.restricted && !slices.Contains(r.only, name) {
		return nil, nil
	}
	r.point = "Filter"
	if refused, err := r.ask(r.filters, n); err != nil || refused.status != nil {
		return nil, err
	}
	if refused, err := r.askForClaims(n); err != nil || refused.status != nil {
		return nil, err
	}
	return n, nil
}

// nominatedNode is where room was made for the pod.
func (c *Cycle) nominatedNode() string {
	if node, ok := c.Snapshot.nominations.get(c.Pod.Key); ok {
		return node
	}
	return c.Pod.Pod.Status.NominatedNodeName
}

// admit looks at the pod before any node, and returns what refuses it altogether.
func (r *run) admit() (*Verdict, error) {
	if r.Pod.err != nil {
		return &Verdict{Plugin: "NewPodInfo", Status: NewStatus(UnschedulableAndUnresolvable, r.Pod.err.Error())}, nil
	}
	r.point = "PreFilter"
	for _, st := range r.preFilters {
		r.at = st.name
		res, status := st.plugin.PreFilter(&r.Cycle)
		if status != nil {
			if status.Code == Error {
				return nil, r.failure(status)
			}
			return &Verdict{Plugin: st.name, Status: status}, nil
		}
		r.states[st.slot], r.skip[st.slot] = res.State, res.Skip
		if res.Nodes == nil {
			continue
		}
		r.restrictedBy = append(r.restrictedBy, st.name)
		if !r.restricted {
			r.only, r.restricted = slices.Clone(res.Nodes), true
		} else {
			r.only = slices.DeleteFunc(r.only, func(n string) bool { return !slices.Contains(res.Nodes, n) })
		}
		if len(r.only) == 0 {
			return &Verdict{Plugin: st.name, Status: noneLeft(r.restrictedBy)}, nil
		}
	}
	return nil, nil
}

// noneLeft says that no node is named by all of some plugins.
func noneLeft(plugins []string) *Status {
	if len(plugins) == 1 {
		return NewStatus(UnschedulableAndUnresolvable, "node(s) didn't satisfy plugin "+plugins[0])
	}
	slices.Sort(plugins)
	return NewStatus(UnschedulableAndUnresolvable, fmt.Sprintf("node(s) didn't satisfy plugin(s) %v simultaneously", plugins))
}

func (r *run) failure(s *Status) error {
	return &PluginError{Plugin: r.at, Point: r.point, Err: s.cause()}
}

// filter collects the feasible nodes, and the refusals of the others.
func (r *run) filter(fit *FitError) error {
	r.point = "Filter"
	r.recall()
	if r.restricted {
		return r.filterOnly(fit)
	}
	n := r.Snapshot.nodes.n
	want, first := r.enough(n), 0
	if want < n && r.Random != nil {
		// Beginning anywhere gives all nodes of a large cluster the same chance.
		first = r.Random.IntN(n)
	}
	for i := range n {
		at := first + i
		if at >= n {
			at -= n
		}
		if err := r.consider(r.Snapshot.nodes.at(at)); err != nil {
			return err
		}
		if len(r.feasible) >= want {
			return nil
		}
	}
	return nil
}

func (r *run) filterOnly(fit *FitError) error {
	slices.Sort(r.only)
	for _, name := range slices.Compact(r.only) {
		if n := r.Snapshot.Node(name); n != nil {
			if err := r.consider(n); err != nil {
				return err
			}
		}
	}
	fit.Absent = r.absent()
	return nil
}

// absent is what holds for the nodes that PreFilter plugins have left out.
func (r *run) absent() *Status {
	slices.Sort(r.restrictedBy)
	return NewStatus(UnschedulableAndUnresolvable, fmt.Sprintf("node(s) didn't satisfy plugin(s) %v", r.restrictedBy))
}

func (r *run) check(n *NodeInfo) error {
	refused, err := r.ask(r.filters, n)
	if err == nil && refused.status == nil {
		refused, err = r.askForClaims(n)
	}
	switch {
	case err != nil:
		return err
	case refused.status != nil:
		r.refuse(n, refused)
	default:
		r.feasible = append(r.feasible, n)
	}
	return nil
}

// refuse notes a refusal that is not in the run's memory.
func (r *run) refuse(n *NodeInfo, refused nodeRefusal) {
	if len(r.told) == 0 || r.told[len(r.told)-1] != refused {
		r.told = append(r.told, refused)
	}
	r.refusals = append(r.refusals, refusal{int32(n.place), int32(-len(r.told))})
}

// said returns what was said.
func (r *run) said(x refusal) nodeRefusal {
	if x.said < 0 {
		return r.told[-1-x.said]
	}
	return r.memory.refusals[x.said]
}

// ask returns the first refusal of some filters, if any.
func (r *run) ask(filters []stage[FilterPlugin], n *NodeInfo) (nodeRefusal, error) {
	return r.orFailure(r.verdict(filters, n))
}

// orFailure tells a refusal from an error.
func (r *run) orFailure(said nodeRefusal) (nodeRefusal, error) {
	if said.status != nil && said.status.Code == Error {
		return nodeRefusal{}, r.failure(said.status)
	}
	return said, nil
}

// verdict returns the first status of some filters that is not nil, if any.
func (r *run) verdict(filters []stage[FilterPlugin], n *NodeInfo) nodeRefusal {
	for i := range filters {
		st := &filters[i]
		if r.skip[st.slot] {
			continue
		}
		r.at = st.name
		if status := st.plugin.Filter(&r.Cycle, r.states[st.slot], n); status != nil {
			return nodeRefusal{st.name, status}
		}
	}
	return nodeRefusal{}
}

// leastFeasible is how many feasible nodes are looked for at the least, and leastPercentage the least
// part of a large cluster; both are kube-scheduler's.
const (
	leastFeasible   = 100
	leastPercentage = 5
)

// enough returns how many feasible nodes end the search.
func (r *run) enough(n int) int {
	if n < leastFeasible {
		return n
	}
	percentage := r.percentage
	if percentage == 0 {
		percentage = max(50-n/125, leastPercentage)
	}
	return max(n*percentage/100, leastFeasible)
}

// postFilter asks what would make room for a pod that fits nowhere, and adds the answer to the error.
func (r *run) postFilter(fit *FitError) PostFilterResult {
	began := r.Handle.begin()
	out := r.askForRoom(fit)
	status := Unschedulable
	if out.Nominate != "" {
		status = 0
	}
	r.Handle.ran("PostFilter", r.Pod, status, began)
	return out
}

func (r *run) askForRoom(fit *FitError) PostFilterResult {
	r.point, r.run = "PostFilter", r
	defer func() { r.run = nil }()
	var reasons []string
	var last PostFilterResult
	for i := range r.postFilters {
		st := &r.postFilters[i]
		r.at = st.name
		res, status := st.plugin.PostFilter(&r.Cycle, fit)
		if status == nil {
			fit.PostFilter = res.Message
			return res
		}
		if status.Code != Unschedulable {
			fit.PostFilter = strings.Join(status.Reasons, ", ")
			return PostFilterResult{Denominate: res.Denominate}
		}
		reasons = append(reasons, status.Reasons...)
		last.Denominate = last.Denominate || res.Denominate
	}
	fit.PostFilter = strings.Join(reasons, ", ")
	return last
}
