package scheduler

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
)

// GroupCycle is one attempt to place a pod group.
type GroupCycle struct {
	Group *schedulingv1beta1.PodGroup
	// Pods are those without a node, in the order in which they are placed.
	Pods []*PodInfo
	// Snapshot is the state to decide on; see Cycle.
	Snapshot *Snapshot
	// Handle and Random are those of Cycle.
	Handle *Handle
	Random *rand.Rand

	profile *Profile
}

// Place places the group in another snapshot, such as one with fewer pods: at least as many pods as it lacks. The
// error says why it can't be.
func (c *GroupCycle) Place(s *Snapshot) ([]Nomination, error) {
	t := c.profile.tryGroup(s.Edit(), c.Group, c.Pods, c.Random)
	if t.err != nil {
		return nil, t.err
	}
	var out []Nomination
	for i, p := range t.pods {
		if t.errs[i] == nil {
			out = append(out, Nomination{p, t.assignments[i].Node})
		}
	}
	return out, nil
}

const groupPreemptionPrefix = "pod group " + preemptionPrefix

// PodGroupPostFilter implements PodGroupPostFilterPlugin. The victims are the fewest and least important ones of the
// whole cluster without which the group fits where it would be placed if there were none of lower priority.
func (DefaultPreemption) PodGroupPostFilter(c *GroupCycle) (PodGroupPostFilterResult, *Status) {
	if neverPreemptingGroup(c) {
		return PodGroupPostFilterResult{}, NewStatus(Unschedulable, groupPreemptionPrefix+"not eligible due to preemptionPolicy=Never.")
	}
	groups := c.profile.groupsOf(c.Snapshot)
	if groups == nil {
		groups = &grouping{snapshot: c.Snapshot}
	}
	if groupWaitsForVictims(c, groups) {
		return PodGroupPostFilterResult{Ongoing: true, Message: groupPreemptionPrefix + "ongoing preemption on nominated nodes"}, nil
	}
	all := groups.on(c.Snapshot.Nodes(), groupPriority(c.Group))
	if len(all) == 0 {
		return PodGroupPostFilterResult{}, NewStatus(UnschedulableAndUnresolvable, groupPreemptionPrefix+"No preemption victims found for incoming preemptor")
	}
	b := c.Snapshot.Edit()
	for _, p := range c.Pods {
		b.Denominate(p.Key)
	}
	for _, v := range all {
		for _, q := range v.pods {
			b.RemovePod(q.Pod.Key, q.Node)
		}
	}
	placed, err := c.Place(&b.s)
	if err != nil {
		return PodGroupPostFilterResult{}, NewStatus(Unschedulable, groupPreemptionPrefix+err.Error())
	}
	x := budgetsOf(c.Snapshot)
	x.violatorsFirst(all)
	check := newSeating(c, placed)
	out := PodGroupPostFilterResult{Nominate: placed}
	for _, v := range spare(b, all, func(spared victims) bool { return check.fits(&b.s, spared) }) {
		out.Victims = append(out.Victims, v.pods...)
	}
	out.Message = fmt.Sprintf(groupPreemptionPrefix+"found a placement for podgroup, preempting %d victims", len(out.Victims))
	return out, nil
}

func neverPreemptingGroup(c *GroupCycle) bool {
	if policy := c.Group.Spec.PreemptionPolicy; policy != nil {
		return *policy == schedulingv1beta1.PreemptNever
	}
	return slices.ContainsFunc(c.Pods, neverPreempting)
}

// groupWaitsForVictims tells whether pods of lower priority that were evicted are still on nodes that were nominated
// for pods of the group.
func groupWaitsForVictims(c *GroupCycle, groups *grouping) bool {
	for _, p := range c.Pods {
		cycle := Cycle{Pod: p, Snapshot: c.Snapshot}
		n := c.Snapshot.Node(cycle.nominatedNode())
		if n != nil && slices.ContainsFunc(n.Pods, func(q *PodInfo) bool {
			return endsByPreemption(q.Pod) && groups.priority(q) < groupPriority(c.Group)
		}) {
			return true
		}
	}
	return false
}

// seating checks whether pods of a group still fit on the nodes that were found for them.
type seating struct {
	c      *GroupCycle
	placed []Nomination
	// on has the places in placed by node, in their order, if all pods go by nothing but what is on their own node:
	// then the others need not be asked when one node has changed.
	on map[string][]int
}

func newSeating(c *GroupCycle, placed []Nomination) *seating {
	s := &seating{c: c, placed: placed, on: map[string][]int{}}
	for i, x := range placed {
		if !c.profile.goesByNode(c, x.Pod) {
			s.on = nil
			return s
		}
		s.on[x.Node] = append(s.on[x.Node], i)
	}
	return s
}

// fits tells whether all pods have room in a state that lacks them, and that had enough until the given pods came.
func (x *seating) fits(s *Snapshot, came victims) bool {
	if x.on == nil {
		return x.allFit(s, x.placed)
	}
	asked := map[string]bool{}
	for _, q := range came.pods {
		if asked[q.Node] {
			continue
		}
		asked[q.Node] = true
		var here []Nomination
		for _, i := range x.on[q.Node] {
			here = append(here, x.placed[i])
		}
		if !x.allFit(s, here) {
			return false
		}
	}
	return true
}

// allFit asks about each pod with those in place that were placed before it. What these have reserved besides is not
// looked at: no victim changes that.
func (x *seating) allFit(s *Snapshot, placed []Nomination) bool {
	if len(placed) == 0 {
		return true
	}
	b := s.Edit()
	for _, n := range placed {
		if x.c.profile.fitsOn(Cycle{Pod: n.Pod, Snapshot: &b.s, Random: x.c.Random}, n.Node) != nil {
			return false
		}
		b.AddPod(n.Pod, n.Node)
	}
	return true
}

// asked runs f with a placement of its own, for questions about a pod.
func (p *Profile) asked(c Cycle, f func(r *run)) {
	x := p.scratch.Get().(*scratch)
	r := run{Profile: p, Cycle: c, scratch: x}
	r.Cycle.run = &r
	f(&r)
	x.clear()
	p.scratch.Put(x)
}

// fitsOn is Cycle.Fits for a pod that is not being placed.
func (p *Profile) fitsOn(c Cycle, node string) (refusal *Status) {
	p.asked(c, func(r *run) { refusal = r.Fits(c.Snapshot, node) })
	return refusal
}

// goesByNode tells whether no filter that has something to say about a pod looks beyond the pods of a node.
func (p *Profile) goesByNode(c *GroupCycle, pod *PodInfo) (local bool) {
	p.asked(Cycle{Pod: pod, Snapshot: c.Snapshot, Random: c.Random}, func(r *run) {
		refusal, err := r.admit()
		local = refusal == nil && err == nil && r.local()
	})
	return local
}

// makeRoom asks the plugins what would make room for a group, and adds the answer to its error.
func (p *Profile) makeRoom(c *GroupCycle, few *GangError) (out PodGroupPostFilterResult, err error) {
	at := ""
	defer func() {
		if v := recover(); v != nil {
			err = &PluginError{Plugin: at, Point: "PodGroupPostFilter", Err: fmt.Errorf("panic: %v", v)}
		}
	}()
	c.profile = p
	var reasons []string
	for i := range p.groupPostFilters {
		st := &p.groupPostFilters[i]
		at = st.name
		res, status := st.plugin.PodGroupPostFilter(c)
		switch {
		case status == nil:
			few.PostFilter = res.Message
			return res, nil
		case status.Code == Error:
			return PodGroupPostFilterResult{}, &PluginError{Plugin: at, Point: "PodGroupPostFilter", Err: status.cause()}
		}
		reasons = append(reasons, status.Reasons...)
		if status.Code == UnschedulableAndUnresolvable {
			break
		}
	}
	few.PostFilter = strings.Join(reasons, ", ")
	return PodGroupPostFilterResult{}, nil
}

// PlaceGroupOrPreempt places the pods of one group that have no node yet, as ScheduleAll does, for a group that may
// take the room of others: if it does not fit, what the PodGroupPostFilter plugins say comes with the errors, whose
// text tells it, too.
func (p *Profile) PlaceGroupOrPreempt(s *Snapshot, pods []*corev1.Pod, random *rand.Rand) ([]Outcome, PodGroupPostFilterResult, error) {
	if len(pods) == 0 || pods[0].Spec.SchedulingGroup == nil {
		return nil, PodGroupPostFilterResult{}, fmt.Errorf("scheduler: PlaceGroupOrPreempt needs pods with spec.schedulingGroup")
	}
	s = s.orEmpty()
	group, status := podGroupOf(s, pods[0])
	if status != nil {
		return nil, PodGroupPostFilterResult{}, &FitError{Pod: pods[0], NumAllNodes: s.Len(), PreFilter: &Verdict{Plugin: NameGangScheduling, Status: status}}
	}
	c := &GroupCycle{Group: group, Snapshot: s, Random: random, profile: p}
	for _, pod := range pods {
		c.Pods = append(c.Pods, NewPodInfo(pod))
	}
	t := p.tryGroup(s.Edit(), group, c.Pods, random)
	var room PodGroupPostFilterResult
	if few, ok := t.err.(*GangError); ok {
		var err error
		if room, err = p.makeRoom(c, few); err != nil {
			t.err = err
		}
	}
	out := make([]Outcome, len(pods))
	for i, pod := range pods {
		at := slices.IndexFunc(t.pods, func(q *PodInfo) bool { return q.Pod == pod })
		out[i] = Outcome{Pod: pod, Assignment: t.assignments[at], Err: cmp.Or(t.errs[at], t.err)}
		if t.err != nil {
			out[i].Assignment = Assignment{}
		}
	}
	return out, room, nil
}
