package scheduler

import (
	"reflect"
	"slices"

	policyv1 "k8s.io/api/policy/v1"
)

// tries remembers what trying out nodes has come to for pods of one shape and priority, by the node's place. As
// a NodeInfo never changes, and has the pods themselves, that holds until it is replaced.
type tries struct {
	shape    string
	priority int32
	// budgets is the state of the PodDisruptionBudgets.
	budgets uint64
	nodes   []tried
	used    uint64
}

// tried is the outcome of preemption.try for candidate.node.
type tried struct {
	node *NodeInfo
	candidate
	status *Status
}

// mostTries bounds the shapes and priorities that are remembered.
const mostTries = 4

// triesOf returns the memory for a pod, and nil when what nodes come to depends on more than it can tell apart.
func (r *run) triesOf(local bool) *tries {
	if !local {
		return nil
	}
	for i := range r.filters {
		if st := &r.filters[i]; !r.skip[st.slot] && !filtersByShape(st.plugin) {
			return nil
		}
	}
	var budgets uint64
	if k := r.Snapshot.kind(reflect.TypeFor[*policyv1.PodDisruptionBudget]()); k != nil {
		budgets = k.version
	}
	r.attempts++
	t := r.find(r.Pod.shape, r.Pod.Priority)
	t.used = r.attempts
	if t.shape != r.Pod.shape || t.priority != r.Pod.Priority || t.budgets != budgets {
		clear(t.nodes)
		t.shape, t.priority, t.budgets = r.Pod.shape, r.Pod.Priority, budgets
	}
	if n := r.Snapshot.nodes.n; len(t.nodes) < n {
		t.nodes = slices.Grow(t.nodes, n-len(t.nodes))[:n]
	}
	return t
}

// find returns the memory of the pod's shape and priority, or one that may be used for them.
func (x *scratchTries) find(shape string, priority int32) *tries {
	var oldest *tries
	for _, t := range x.tries {
		if t.shape == shape && t.priority == priority {
			return t
		}
		if oldest == nil || t.used < oldest.used {
			oldest = t
		}
	}
	if len(x.tries) < mostTries {
		oldest = &tries{}
		x.tries = append(x.tries, oldest)
	}
	return oldest
}

// scratchTries is the part of the scratch memory that belongs to preemption.
type scratchTries struct {
	tries     []*tries
	attempts  uint64
	potential []int32
}
