package scheduler

import (
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// topologies caches which domain each node is in, by topology key. It is a cache of what the nodes'
// labels say: snapshots share one until labels change, and a Builder that changes some makes
// another one from it.
type topologies struct {
	mu   sync.Mutex
	axes map[string]*axis
	// owner is the edit that may change axes; nobody else may.
	owner *edit
}

// mostAxes bounds the keys that are cached: pods may name any.
const mostAxes = 32

// noDomain is the domain of a node without the label.
const noDomain int32 = -1

// axis numbers the values that one label has. It is immutable but for its owner.
type axis struct {
	owner *edit
	// domains has the domain of each node, by its place in the snapshot.
	domains []int32
	numbers table[int32]
	// nodes has the number of nodes in each domain. One that has lost all keeps its number.
	nodes []int32
	// live is the number of domains that have nodes.
	live int
}

// axis returns the domains of a topology key.
func (s *Snapshot) axis(key string) *axis {
	t := s.topology
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.axes[key]; a != nil {
		return a
	}
	a := &axis{domains: make([]int32, 0, s.nodes.n)}
	e := &edit{} // numbers is changed in place while it is made
	for i := range s.nodes.n {
		a.domains = append(a.domains, a.number(e, s.nodes.at(i).Node, key))
	}
	if len(t.axes) >= mostAxes {
		clear(t.axes)
	}
	if t.axes == nil {
		t.axes = map[string]*axis{}
	}
	t.axes[key] = a
	return a
}

// number counts a node in, and returns its domain.
func (a *axis) number(e *edit, n *corev1.Node, key string) int32 {
	v, ok := n.Labels[key]
	if !ok {
		return noDomain
	}
	d, ok := a.numbers.get(v)
	if !ok {
		d = int32(len(a.nodes))
		a.numbers.put(e, v, d)
		a.nodes = append(a.nodes, 0)
	}
	if a.nodes[d]++; a.nodes[d] == 1 {
		a.live++
	}
	return d
}

func (a *axis) leave(d int32) {
	if d == noDomain {
		return
	}
	if a.nodes[d]--; a.nodes[d] == 0 {
		a.live--
	}
}

// wasteful tells that most domains are gone for good, as hosts are in a cluster that scales up and
// down.
func (a *axis) wasteful() bool { return len(a.nodes) > 2*a.live+chunkSize }

// editAxes calls f with each axis, for change in place.
func (b *Builder) editAxes(f func(key string, a *axis)) {
	t := b.s.topology
	if t.owner != b.e {
		t.mu.Lock()
		axes := maps.Clone(t.axes)
		t.mu.Unlock()
		t = &topologies{axes: axes, owner: b.e}
		b.s.topology = t
	}
	for key, a := range t.axes {
		if a.owner != b.e {
			a = &axis{owner: b.e, domains: append(make([]int32, 0, len(a.domains)+1), a.domains...),
				numbers: a.numbers, nodes: append(make([]int32, 0, len(a.nodes)+1), a.nodes...), live: a.live}
			t.axes[key] = a
		}
		if f(key, a); a.wasteful() {
			delete(t.axes, key)
		}
	}
}

func (b *Builder) domainsOfNew(n *corev1.Node) {
	b.editAxes(func(key string, a *axis) { a.domains = append(a.domains, a.number(b.e, n, key)) })
}

func (b *Builder) domainsChanged(place int, old, now *corev1.Node) {
	if maps.Equal(old.Labels, now.Labels) {
		return
	}
	b.editAxes(func(key string, a *axis) {
		a.leave(a.domains[place])
		a.domains[place] = a.number(b.e, now, key)
	})
}

// domainsOfGone forgets the node at a place, which the last one then takes.
func (b *Builder) domainsOfGone(place int) {
	b.editAxes(func(_ string, a *axis) {
		last := len(a.domains) - 1
		a.leave(a.domains[place])
		a.domains[place] = a.domains[last]
		a.domains = a.domains[:last]
	})
}
