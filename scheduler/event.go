package scheduler

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// EventKind is what happened in the cluster.
type EventKind uint8

// Kinds of events that may let a waiting pod fit.
const (
	// NodeAdded comes with Node.
	NodeAdded EventKind = iota + 1
	// NodeUpdated comes with OldNode and Node.
	NodeUpdated
	// NodeRemoved comes with OldNode: a domain that was empty may be gone with it, and so are its pods.
	NodeRemoved
	// PodAssigned comes with Pod, which is now on Node: a pod that wants its company may fit.
	PodAssigned
	// PodRemoved comes with Pod, which no longer is on a node or asks for less there, and with On.
	PodRemoved
	// PodUpdated comes with OldPod and Pod: a pod on a node got other labels or requests.
	PodUpdated
	// NamespaceUpdated means that the labels of a namespace changed.
	NamespaceUpdated
	// ObjectAdded, ObjectUpdated and ObjectRemoved come with Object, OldObject and Object, and OldObject:
	// a change of a kind that a plugin Watches.
	ObjectAdded
	ObjectUpdated
	ObjectRemoved
)

// Event is one change of the cluster.
type Event struct {
	Kind          EventKind
	OldNode, Node *corev1.Node
	OldPod, Pod   *PodInfo
	// On is the node that the pod has left, or Node, as it is now and with its pods; nil when it is gone
	// or not known.
	On *NodeInfo
	// OldObject and Object are never assumed ones.
	OldObject, Object client.Object

	// claims are the pods that wait for room on that node.
	claims []*PodInfo
	// was is OldNode with its pods, or nil.
	was *NodeInfo
	// kept remembers what keeping returned last; nil when several goroutines may ask.
	kept *keptNode
}

// keptNode is a node without the pods below a priority.
type keptNode struct {
	priority int32
	node     *NodeInfo
}

// keeping returns On without its pods of less than a priority: what is left when they are preempted. Thousands of
// pods may ask, most of them with the same priority.
func (e *Event) keeping(priority int32) *NodeInfo {
	if e.kept != nil && e.kept.node != nil && e.kept.priority == priority {
		return e.kept.node
	}
	n := e.On
	if slices.ContainsFunc(n.Pods, func(p *PodInfo) bool { return p.Priority < priority }) {
		n = n.keeping(func(p *PodInfo) bool { return p.Priority >= priority })
	}
	if e.kept != nil {
		*e.kept = keptNode{priority, n}
	}
	return n
}

// EnqueueExtensions is an EventHinter that tells beforehand which kinds of events it is to be asked about: for
// others its hint would be false. One that is none is asked about all.
type EnqueueExtensions interface {
	EventHinter
	EventsToRegister() []EventKind
}

// eventKinds is a set of kinds of events.
type eventKinds uint32

const allEvents = ^eventKinds(0)

func kindsOf(kinds []EventKind) (out eventKinds) {
	for _, k := range kinds {
		out |= 1 << k
	}
	return out
}

func (s eventKinds) has(k EventKind) bool { return s&(1<<k) != 0 }

// interest returns the kinds of events that may help a pod that the named plugins refused.
func (p *Profile) interest(refusedBy []string) (out eventKinds) {
	for _, name := range refusedBy {
		x, ok := p.plugins[name].(EnqueueExtensions)
		if !ok {
			return allEvents
		}
		out |= kindsOf(x.EventsToRegister())
	}
	if len(refusedBy) == 0 {
		return allEvents
	}
	return out
}

// EventHinter is a plugin that can tell which events may let a pod fit that it refused before. For a
// plugin that is none, any event is tried.
type EventHinter interface {
	Plugin
	// Helps tells whether pod, which this plugin refused on at least one node, may fit since e.
	Helps(pod *PodInfo, e *Event) bool
}

// Helps tells whether an event may let a pod fit that the named plugins refused.
func (p *Profile) Helps(refusedBy []string, pod *PodInfo, e *Event) (helps bool) {
	// A hint that panics is no reason to let the pod wait for ever.
	defer func() {
		if recover() != nil {
			helps = true
		}
	}()
	for _, name := range refusedBy {
		h, ok := p.plugins[name].(EventHinter)
		if !ok || h.Helps(pod, e) {
			return true
		}
	}
	return len(refusedBy) == 0
}

func sameLabels(a, b map[string]string) bool { return maps.Equal(a, b) }

func taintsDiffer(a, b *corev1.Node) bool {
	return a.Spec.Unschedulable != b.Spec.Unschedulable ||
		!slices.EqualFunc(a.Spec.Taints, b.Spec.Taints, func(x, y corev1.Taint) bool {
			return x.Key == y.Key && x.Value == y.Value && x.Effect == y.Effect
		})
}
