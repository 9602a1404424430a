package scheduler

import (
	"cmp"
	"iter"
	"math"
	"slices"

	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
)

// Victim is a pod to be evicted, and where it is: spec.nodeName may still be empty.
type Victim struct {
	Pod  *PodInfo
	Node string
}

// victims are pods that are evicted together or not at all: a single one, or all pods of a group whose
// disruptionMode is All.
type victims struct {
	pods     []Victim
	priority int32
	// grouped tells that the pods are of a group, which is worth more than a pod of no group.
	grouped bool
	// start is when the first one has started.
	start int64
	// violations is how many of the evictions a budget does not allow.
	violations int
}

// moreImportant orders victims, those that are spared first.
func moreImportant(a, b victims) int {
	rank := func(v *victims) int {
		if v.grouped {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(rank(&b), rank(&a)),
		cmp.Compare(len(b.pods), len(a.pods)), cmp.Compare(a.start, b.start))
}

// grouping knows the groups of the pods on nodes.
type grouping struct {
	snapshot *Snapshot
	// together are the pods of the groups whose disruptionMode is All; nil until somebody asks.
	together map[string][]Victim
}

// groupsOf returns nil when there are no groups that could matter.
func (p *Profile) groupsOf(s *Snapshot) *grouping {
	if p.plugins[NameGangScheduling] == nil || !hasAny[*schedulingv1beta1.PodGroup](s) {
		return nil
	}
	return &grouping{snapshot: s}
}

func (g *grouping) of(p *PodInfo) *schedulingv1beta1.PodGroup {
	if g == nil || p.Pod.Spec.SchedulingGroup == nil || p.Pod.Spec.SchedulingGroup.PodGroupName == nil {
		return nil
	}
	group, _ := Object[*schedulingv1beta1.PodGroup](g.snapshot, p.Pod.Namespace, *p.Pod.Spec.SchedulingGroup.PodGroupName)
	return group
}

// priority is what counts for a victim: its group's.
func (g *grouping) priority(p *PodInfo) int32 {
	if group := g.of(p); group != nil {
		return groupPriority(group)
	}
	return p.Priority
}

func groupPriority(group *schedulingv1beta1.PodGroup) int32 {
	if group.Spec.Priority == nil {
		return 0
	}
	return *group.Spec.Priority
}

func endsTogether(group *schedulingv1beta1.PodGroup) bool {
	return group != nil && group.Spec.DisruptionMode != nil && group.Spec.DisruptionMode.All != nil
}

// members returns the pods on nodes of a group that ends together.
func (g *grouping) members(key string) []Victim {
	if g.together == nil {
		g.together = map[string][]Victim{}
		for n := range g.snapshot.Nodes() {
			for _, p := range n.Pods {
				if endsTogether(g.of(p)) {
					g.together[groupKey(p.Pod)] = append(g.together[groupKey(p.Pod)], Victim{p, n.name})
				}
			}
		}
	}
	return g.together[key]
}

// on returns the victims of less than a priority that have a pod on one of the nodes; their other pods may be
// anywhere. The most important ones come first.
func (g *grouping) on(nodes iter.Seq[*NodeInfo], below int32) []victims {
	var out []victims
	seen := map[string]bool{}
	for n := range nodes {
		for _, p := range n.Pods {
			group := g.of(p)
			v := victims{pods: []Victim{{p, n.name}}, priority: g.priority(p), grouped: g != nil && p.Pod.Spec.SchedulingGroup != nil}
			if v.priority >= below {
				continue
			}
			if endsTogether(group) {
				key := groupKey(p.Pod)
				if seen[key] {
					continue
				}
				seen[key], v.pods = true, g.members(key)
			}
			v.start = math.MaxInt64
			for _, x := range v.pods {
				v.start = min(v.start, startOf(x.Pod))
			}
			out = append(out, v)
		}
	}
	slices.SortStableFunc(out, moreImportant)
	return out
}

// violatorsFirst notes which evictions would violate a budget, if all that come before them happened, and puts
// those victims first: they are tried to be spared before the others.
func (x *budgets) violatorsFirst(all []victims) {
	if !x.any {
		return
	}
	for _, v := range all {
		for _, q := range v.pods {
			x.restore(q.Pod.Pod.Namespace)
		}
	}
	for i := range all {
		for _, q := range all[i].pods {
			if x.violates(q.Pod.Pod) {
				all[i].violations++
			}
		}
	}
	slices.SortStableFunc(all, func(a, b victims) int { return cmp.Compare(min(b.violations, 1), min(a.violations, 1)) })
}

// spare returns those victims that have to go: fits tells whether whoever needs room has it in the builder's state,
// from which all are missing to begin with. The others are put back, as far as possible.
func spare(b *Builder, all []victims, fits func(spared victims) bool) (gone []victims) {
	for _, v := range all {
		for _, q := range v.pods {
			b.AddPod(q.Pod, q.Node)
		}
		if fits(v) {
			continue
		}
		for _, q := range v.pods {
			b.RemovePod(q.Pod.Key, q.Node)
		}
		gone = append(gone, v)
	}
	slices.SortStableFunc(gone, moreImportant)
	return gone
}

// tryGroups is try for a node with pods of groups, which may have to go with others elsewhere.
func (p *preemption) tryGroups(n *NodeInfo) (candidate, *Status) {
	all := p.groups.on(slices.Values([]*NodeInfo{n}), p.r.Pod.Priority)
	if len(all) == 0 {
		return candidate{node: n}, noVictims
	}
	b := p.r.Snapshot.Edit()
	for _, v := range all {
		for _, q := range v.pods {
			b.RemovePod(q.Pod.Key, q.Node)
		}
	}
	if status := p.r.Fits(&b.s, n.name); status != nil {
		return candidate{node: n}, status
	}
	p.budgets.violatorsFirst(all)
	violations := 0
	p.victims = p.victims[:0]
	for _, v := range spare(b, all, func(victims) bool { return p.r.Fits(&b.s, n.name) == nil }) {
		violations += v.violations
		for _, q := range v.pods {
			p.victims = append(p.victims, q.Pod)
		}
	}
	return weigh(n, p.victims, violations), nil
}
