package scheduler

import (
	"iter"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Snapshot is the state that placement is decided on: nodes, the pods on them, and the labels of
// namespaces. It is an immutable value that shares structure with the snapshots it was made from: a
// change of one node copies about a kilobyte, however large the cluster is. The nil snapshot is
// empty. All methods may be called by many goroutines at once.
type Snapshot struct {
	nodes vector[*NodeInfo]
	slots table[int]
	// images counts, by image, the nodes that have it; softTainted the nodes with a PreferNoSchedule
	// taint.
	images      table[int]
	softTainted int
	namespaces  table[map[string]string]
	// groups are the pods on nodes by what rules about other pods can know of them.
	groups   groups
	topology *topologies
	// lost holds the pods, by key, that are said to be on a node that is not here (yet).
	lost table[lostPod]
	// kinds are the tables of other objects, one for each kind that was ever set.
	kinds []kindTable
	// members counts the pods, with and without a node, of each pod group.
	members table[int]
	// nominated are the pods, by node, that wait for room that is being made for them there.
	nominated table[[]*PodInfo]
	// nominations are their nodes, by the pods' keys.
	nominations table[string]
}

type lostPod struct {
	node string
	pod  *PodInfo
}

var emptySnapshot = &Snapshot{topology: &topologies{}}

func (s *Snapshot) orEmpty() *Snapshot {
	if s == nil {
		return emptySnapshot
	}
	return s
}

// NewSnapshot returns a snapshot of nodes and of the pods on them. Those that have finished take no part,
// nor do pods without spec.nodeName but for those with status.nominatedNodeName, which wait for room there.
func NewSnapshot(nodes []*corev1.Node, pods []*corev1.Pod) *Snapshot {
	b := emptySnapshot.Edit()
	for _, n := range nodes {
		b.SetNode(n)
	}
	for _, p := range pods {
		switch {
		case finished(p):
		case p.Spec.NodeName != "":
			b.AddPod(NewPodInfo(p), p.Spec.NodeName)
		case p.Status.NominatedNodeName != "":
			b.Nominate(NewPodInfo(p), p.Status.NominatedNodeName)
		}
	}
	return b.Snapshot()
}

func finished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// Len returns the number of nodes.
func (s *Snapshot) Len() int { return s.orEmpty().nodes.n }

// Nodes returns the nodes; their order is the same for the same snapshot.
func (s *Snapshot) Nodes() iter.Seq[*NodeInfo] { return s.orEmpty().nodes.all() }

// Node returns the node with the given name, or nil.
func (s *Snapshot) Node(name string) *NodeInfo {
	s = s.orEmpty()
	i, ok := s.slots.get(name)
	if !ok {
		return nil
	}
	return s.nodes.at(i)
}

func (s *Snapshot) namespaceLabels(name string) map[string]string {
	l, _ := s.orEmpty().namespaces.get(name)
	return l
}

// AddNode returns a snapshot with one more node, or with that node replaced.
func (s *Snapshot) AddNode(node *corev1.Node) *Snapshot {
	b := s.Edit()
	b.SetNode(node)
	return b.Snapshot()
}

// RemoveNode returns a snapshot without the node. Its pods are no longer on any node; they count
// again when the node returns.
func (s *Snapshot) RemoveNode(name string) *Snapshot {
	b := s.Edit()
	b.RemoveNode(name)
	return b.Snapshot()
}

// AddPod returns a snapshot in which the pod runs on the node.
func (s *Snapshot) AddPod(pod *corev1.Pod, node string) *Snapshot {
	b := s.Edit()
	b.AddPod(NewPodInfo(pod), node)
	return b.Snapshot()
}

// RemovePod returns a snapshot in which the pod no longer runs on the node.
func (s *Snapshot) RemovePod(pod *corev1.Pod, node string) *Snapshot {
	b := s.Edit()
	b.RemovePod(podKey(pod), node)
	return b.Snapshot()
}

// Edit starts a series of changes. The receiver stays as it is.
func (s *Snapshot) Edit() *Builder {
	return &Builder{s: *s.orEmpty(), e: &edit{}}
}

// Builder makes a snapshot by many changes, copying each part of the old one at most once. It must
// not be used by two goroutines at once.
type Builder struct {
	s Snapshot
	e *edit
	// kindsOf is the edit that owns s.kinds.
	kindsOf *edit
}

// Snapshot returns the state so far. The builder may go on; what it has returned no longer changes.
func (b *Builder) Snapshot() *Snapshot {
	s := b.s
	b.e = &edit{}
	return &s
}

// SetNode adds a node, or replaces the one that has its name and keeps its pods.
func (b *Builder) SetNode(node *corev1.Node) {
	if i, ok := b.s.slots.get(node.Name); ok {
		old := b.s.nodes.at(i)
		now := old.withNode(node)
		b.countNode(old, -1)
		b.countNode(now, 1)
		b.domainsChanged(i, old.Node, node)
		b.s.nodes.set(b.e, i, now)
		return
	}
	now := newNodeInfo(node)
	now.place = b.s.nodes.n
	b.countNode(now, 1)
	b.domainsOfNew(node)
	b.s.slots.put(b.e, node.Name, b.s.nodes.n)
	b.s.nodes.push(b.e, now)
	b.markClaimed(node.Name)
	var found []*PodInfo
	for _, l := range b.s.lost.all() {
		if l.node == node.Name {
			found = append(found, l.pod)
		}
	}
	slices.SortFunc(found, func(a, b *PodInfo) int { return strings.Compare(a.Key, b.Key) })
	for _, p := range found {
		b.AddPod(p, node.Name)
	}
}

// RemoveNode removes a node. The pods on it are remembered, and are on it again when it returns.
func (b *Builder) RemoveNode(name string) {
	i, ok := b.s.slots.get(name)
	if !ok {
		return
	}
	old := b.s.nodes.at(i)
	b.countNode(old, -1)
	b.domainsOfGone(i)
	for _, p := range old.Pods {
		b.countKind(p.kind, i, -1)
		b.s.lost.put(b.e, p.Key, lostPod{name, p})
	}
	// The last node moves into the gap, so that the nodes stay dense.
	if last := b.s.nodes.at(b.s.nodes.n - 1); last != old {
		b.move(last, i)
	}
	b.s.nodes.pop(b.e)
	b.s.slots.remove(b.e, name)
}

// move gives a node another place.
func (b *Builder) move(n *NodeInfo, to int) {
	for _, p := range n.Pods {
		// Counted up first, lest the group be forgotten meanwhile.
		b.countKind(p.kind, to, 1)
		b.countKind(p.kind, n.place, -1)
	}
	c := *n
	c.place = to
	b.s.nodes.set(b.e, to, &c)
	b.s.slots.put(b.e, n.Node.Name, to)
}

// AddPod puts a pod on a node. A pod that is there already is replaced. A node that does not exist
// is waited for.
func (b *Builder) AddPod(p *PodInfo, node string) {
	i, ok := b.s.slots.get(node)
	if !ok {
		b.s.lost.put(b.e, p.Key, lostPod{node, p})
		return
	}
	b.s.lost.remove(b.e, p.Key)
	n := b.s.nodes.at(i)
	if at := n.find(p.Key); at >= 0 {
		if old := n.Pods[at]; old.kind.key != p.kind.key {
			b.countKind(p.kind, i, 1)
			b.countKind(old.kind, i, -1)
		}
		b.s.nodes.set(b.e, i, n.replacing(at, p))
		return
	}
	b.countKind(p.kind, i, 1)
	b.s.nodes.set(b.e, i, n.with(p))
}

// RemovePod takes the pod with the given key off a node, and tells whether it was there.
func (b *Builder) RemovePod(key, node string) bool {
	if l, ok := b.s.lost.get(key); ok && l.node == node {
		b.s.lost.remove(b.e, key)
		return true
	}
	i, ok := b.s.slots.get(node)
	if !ok {
		return false
	}
	n := b.s.nodes.at(i)
	at := n.find(key)
	if at < 0 {
		return false
	}
	b.countKind(n.Pods[at].kind, i, -1)
	b.s.nodes.set(b.e, i, n.without(at))
	return true
}

// SetNamespace sets the labels of a namespace, which namespaceSelectors of pod affinity look at.
func (b *Builder) SetNamespace(name string, labels map[string]string) {
	b.s.namespaces.put(b.e, name, maps.Clone(labels))
}

// RemoveNamespace forgets a namespace.
func (b *Builder) RemoveNamespace(name string) { b.s.namespaces.remove(b.e, name) }

// countNode follows that a node comes, by 1, or goes, by -1.
func (b *Builder) countNode(n *NodeInfo, by int) {
	if n.softTaints {
		b.s.softTainted += by
	}
	for name := range n.images {
		count, _ := b.s.images.get(name)
		if count += by; count > 0 {
			b.s.images.put(b.e, name, count)
		} else {
			b.s.images.remove(b.e, name)
		}
	}
}
