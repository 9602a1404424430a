package scheduler

import (
	"math"
	"slices"
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

// domainSet is some domains of a topology key.
type domainSet struct {
	key string
	*axis
	bits []uint64
}

func (d *domainSet) has(n *NodeInfo) bool {
	i := d.domains[n.place]
	return i != noDomain && d.bits[i/64]&(1<<(i%64)) != 0
}

// domainSets are sets for some topology keys, each made when its first domain is added.
type domainSets []domainSet

func (ds domainSets) find(key string) *domainSet {
	for i := range ds {
		if ds[i].key == key {
			return &ds[i]
		}
	}
	return nil
}

// add adds the domains in which a group has pods.
func (ds *domainSets) add(s *Snapshot, key string, g *group) {
	d := ds.find(key)
	if d == nil {
		d = &domainSet{key: key, axis: s.axis(key)}
	}
	for place := range g.nodes.all() {
		i := d.domains[place]
		if i == noDomain {
			continue
		}
		if d.bits == nil {
			d.bits = make([]uint64, (len(d.nodes)+63)/64)
			*ds = append(*ds, *d)
			d = &(*ds)[len(*ds)-1]
		}
		d.bits[i/64] |= 1 << (i % 64)
	}
}

type affinityState struct {
	// existing are the domains of pods there that have a required anti-affinity rule about the
	// incoming pod; near those of pods that match all its required affinity rules, away those of
	// pods that match one of its required anti-affinity rules.
	existing, near, away domainSets
	// company has, for each required affinity rule, the domains of its topology key, and which of them
	// are near; the latter is nil when none is.
	company []company
	// self tells that the pod itself matches all its required affinity rules.
	self bool
}

type company struct {
	*axis
	near *domainSet
}

// Name implements Plugin.
func (InterPodAffinity) Name() string { return NameInterPodAffinity }

// PreFilter implements PreFilterPlugin.
func (InterPodAffinity) PreFilter(c *Cycle) (PreFilterResult, *Status) {
	p, s := c.Pod, c.Snapshot
	own := len(p.affinity)+len(p.antiAffinity) > 0
	if !own && s.groups.avoiding.n == 0 {
		return PreFilterResult{Skip: true}, nil
	}
	st := &affinityState{}
	for _, number := range s.groups.about(&s.groups.avoiding, p.kind.labels) {
		g := s.groups.all.at(number)
		for i := range g.antiAffinity {
			if t := &g.antiAffinity[i]; t.matches(s, p.kind) {
				st.existing.add(s, t.topologyKey, g)
			}
		}
	}
	if own {
		st.addOwn(c)
	}
	return PreFilterResult{State: st, Skip: !own && len(st.existing) == 0}, nil
}

func (st *affinityState) addOwn(c *Cycle) {
	p, s := c.Pod, c.Snapshot
	if len(p.affinity) > 0 {
		for g := range s.groups.selected(&p.affinity[0].selector) {
			if !matchesAll(s, p.affinity, g.kind) {
				continue
			}
			for i := range p.affinity {
				st.near.add(s, p.affinity[i].topologyKey, g)
			}
		}
		for i := range p.affinity {
			key := p.affinity[i].topologyKey
			st.company = append(st.company, company{s.axis(key), st.near.find(key)})
		}
		st.self = matchesAll(s, p.affinity, p.kind)
	}
	for i := range p.antiAffinity {
		t := &p.antiAffinity[i]
		for g := range s.groups.selected(&t.selector) {
			if t.matches(s, g.kind) {
				st.away.add(s, t.topologyKey, g)
			}
		}
	}
}

// matchesAll tells whether all rules are about the pods of a kind.
func matchesAll(s *Snapshot, terms []affinityTerm, k *kind) bool {
	for i := range terms {
		if !terms[i].matches(s, k) {
			return false
		}
	}
	return true
}

// Filter implements FilterPlugin.
func (InterPodAffinity) Filter(_ *Cycle, state any, n *NodeInfo) *Status {
	st := state.(*affinityState)
	if !st.nearEnough(n) {
		return refusePodAffinity
	}
	for i := range st.away {
		if st.away[i].has(n) {
			return refusePodAntiAffinity
		}
	}
	for i := range st.existing {
		if st.existing[i].has(n) {
			return refuseExistingAntiAffinity
		}
	}
	return nil
}

// nearEnough tells whether the node is in a domain of each rule that has a pod matching all. When no
// pod anywhere does, the first of a group that wants its own company may go anywhere that has the
// topology keys.
func (st *affinityState) nearEnough(n *NodeInfo) bool {
	all := true
	for i := range st.company {
		c := &st.company[i]
		if c.domains[n.place] == noDomain {
			return false
		}
		all = all && c.near != nil && c.near.has(n)
	}
	return all || len(st.near) == 0 && st.self
}

// hardAffinityWeight is what a required affinity rule of a pod that is there counts for when it is
// about the incoming pod; it is kube-scheduler's default.
const hardAffinityWeight = 1

// domainSums are sums of weights by domain, for one topology key.
type domainSums struct {
	key string
	*axis
	sums []int64
}

type affinityScore []domainSums

// add counts a weight for each pod of a group, in its domain.
func (ds *affinityScore) add(s *Snapshot, key string, g *group, weight int64) {
	i := slices.IndexFunc(*ds, func(d domainSums) bool { return d.key == key })
	if i < 0 {
		a := s.axis(key)
		i, *ds = len(*ds), append(*ds, domainSums{key: key, axis: a, sums: make([]int64, len(a.nodes))})
	}
	d := &(*ds)[i]
	for place, n := range g.nodes.all() {
		if i := d.domains[place]; i != noDomain {
			d.sums[i] += weight * int64(n)
		}
	}
}

// PreScore implements PreScorePlugin.
func (InterPodAffinity) PreScore(c *Cycle, _ []*NodeInfo) (any, bool, error) {
	p, s := c.Pod, c.Snapshot
	if len(p.preferred)+len(p.preferredAgainst) == 0 && s.groups.wishing.n == 0 {
		return nil, true, nil
	}
	var sums affinityScore
	sums.addPreferences(s, p.preferred, 1)
	sums.addPreferences(s, p.preferredAgainst, -1)
	for _, number := range s.groups.about(&s.groups.wishing, p.kind.labels) {
		sums.addWishes(s, s.groups.all.at(number), p.kind)
	}
	return sums, len(sums) == 0, nil
}

// addPreferences counts what the incoming pod prefers about the pods that are there.
func (ds *affinityScore) addPreferences(s *Snapshot, terms []affinityTerm, sign int64) {
	for i := range terms {
		t := &terms[i]
		for g := range s.groups.selected(&t.selector) {
			if t.matches(s, g.kind) {
				ds.add(s, t.topologyKey, g, sign*t.weight)
			}
		}
	}
}

// addWishes counts what pods that are there prefer, or once required, about the incoming pod.
func (ds *affinityScore) addWishes(s *Snapshot, g *group, pod *kind) {
	weigh := func(terms []affinityTerm, weight func(*affinityTerm) int64) {
		for i := range terms {
			if t := &terms[i]; t.matches(s, pod) {
				ds.add(s, t.topologyKey, g, weight(t))
			}
		}
	}
	weigh(g.affinity, func(*affinityTerm) int64 { return hardAffinityWeight })
	weigh(g.preferred, func(t *affinityTerm) int64 { return t.weight })
	weigh(g.preferredAgainst, func(t *affinityTerm) int64 { return -t.weight })
}

// Score implements ScorePlugin.
func (InterPodAffinity) Score(_ *Cycle, state any, n *NodeInfo) (sum int64, _ error) {
	ds := state.(affinityScore)
	for i := range ds {
		if d := ds[i].domains[n.place]; d != noDomain {
			sum += ds[i].sums[d]
		}
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

// EventsToRegister implements EnqueueExtensions.
func (InterPodAffinity) EventsToRegister() []EventKind {
	return []EventKind{NodeAdded, NodeUpdated, NodeRemoved, PodAssigned, PodRemoved, PodUpdated, NamespaceUpdated}
}

// Helps implements EventHinter.
func (InterPodAffinity) Helps(pod *PodInfo, e *Event) bool {
	switch e.Kind {
	case PodRemoved:
		// What the pod wanted to avoid may be gone, or what wanted to avoid it. And with the last of
		// the company that it wants, it may be the first anywhere.
		return mayConcern(pod.antiAffinity, e.Pod) || mayConcern(e.Pod.antiAffinity, pod) || mayConcern(pod.affinity, e.Pod)
	case PodAssigned:
		return mayConcern(pod.affinity, e.Pod)
	case PodUpdated:
		return mayConcern(pod.affinity, e.OldPod) || mayConcern(pod.affinity, e.Pod) || mayConcern(pod.antiAffinity, e.OldPod) ||
			mayConcern(e.OldPod.antiAffinity, pod)
	case NodeUpdated:
		return !sameLabels(e.OldNode.Labels, e.Node.Labels)
	case NodeAdded, NodeRemoved, NamespaceUpdated:
		return true
	}
	return false
}

// mayConcern tells whether one of the rules may be about a pod. What labels its namespace has is not known.
func mayConcern(terms []affinityTerm, pod *PodInfo) bool {
	for i := range terms {
		t := &terms[i]
		if (t.nsSelector != nil || slices.Contains(t.namespaces, pod.kind.namespace)) && t.selector.Matches(pod.kind.labels) {
			return true
		}
	}
	return false
}
