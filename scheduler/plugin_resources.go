package scheduler

import (
	"math"
)

// NodeResourcesFit admits nodes with enough free CPU, memory, ephemeral storage, extended resources
// and room for one more pod, and prefers those with the most free CPU and memory.
// https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
type NodeResourcesFit struct{}

// Name implements Plugin.
func (NodeResourcesFit) Name() string { return NameNodeResourcesFit }

// Filter implements FilterPlugin.
func (NodeResourcesFit) Filter(c *Cycle, _ any, n *NodeInfo) *Status {
	return fits(&c.Pod.Requests, n)
}

// One status for each set of the common reasons, by the bits below, so that refusing thousands of
// nodes allocates nothing. The last bit is for Code.
const (
	tooManyPods = 1 << iota
	lackCPU
	lackMemory
	lackStorage
	hopeless
)

var refusals = makeRefusals()

func makeRefusals() (out [2 * hopeless]*Status) {
	texts := []string{"Too many pods", "Insufficient cpu", "Insufficient memory", "Insufficient ephemeral-storage"}
	for bits := range out {
		s := &Status{Code: Unschedulable}
		for i, text := range texts {
			if bits&(1<<i) != 0 {
				s.Reasons = append(s.Reasons, text)
			}
		}
		if bits&hopeless != 0 {
			s.Code = UnschedulableAndUnresolvable
		}
		out[bits] = s
	}
	return out
}

func fits(want *Resource, n *NodeInfo) *Status {
	bits := 0
	if int64(len(n.Pods))+1 > n.AllowedPods {
		bits |= tooManyPods
	}
	bits |= lacks(want.MilliCPU, n.Requested.MilliCPU, n.Allocatable.MilliCPU, lackCPU)
	bits |= lacks(want.Memory, n.Requested.Memory, n.Allocatable.Memory, lackMemory)
	bits |= lacks(want.EphemeralStorage, n.Requested.EphemeralStorage, n.Allocatable.EphemeralStorage, lackStorage)
	var more []string
	for i := range want.scalars {
		s := &want.scalars[i]
		if b := lacks(s.amount, n.Requested.Scalar(s.name), n.Allocatable.Scalar(s.name), lackCPU); b != 0 {
			bits |= b & hopeless
			more = append(more, "Insufficient "+string(s.name))
		}
	}
	if bits == 0 && more == nil {
		return nil
	}
	if more == nil {
		return refusals[bits]
	}
	base := refusals[bits]
	return &Status{Code: base.Code, Reasons: appended(base.Reasons, more...)}
}

// lacks returns bit when want is more than what is free, and hopeless too when it is more than there
// is in all. Nothing wanted is never too much, even on a node that is over-committed.
func lacks(want, used, all int64, bit int) int {
	switch {
	case want <= 0 || want <= all-used:
		return 0
	case want > all:
		return bit | hopeless
	}
	return bit
}

// Score implements ScorePlugin: LeastAllocated, the mean of the free shares of CPU and memory.
func (NodeResourcesFit) Score(c *Cycle, _ any, n *NodeInfo) (int64, error) {
	var sum, of int64
	free := func(requested, allocatable int64) {
		if allocatable == 0 {
			return
		}
		of++
		if requested <= allocatable {
			sum += share(allocatable-requested, allocatable)
		}
	}
	free(addSaturated(n.NonZeroRequested.MilliCPU, c.Pod.asked.MilliCPU), n.Allocatable.MilliCPU)
	free(addSaturated(n.NonZeroRequested.Memory, c.Pod.asked.Memory), n.Allocatable.Memory)
	if of == 0 {
		return 0, nil
	}
	return sum / of, nil
}

// share returns part * MaxNodeScore / of, also when the product would not fit into 64 bits.
func share(part, of int64) int64 {
	if part > math.MaxInt64/MaxNodeScore {
		return min(int64(float64(part)/float64(of)*float64(MaxNodeScore)), MaxNodeScore)
	}
	return part * MaxNodeScore / of
}

// EventsToRegister implements EnqueueExtensions.
func (NodeResourcesFit) EventsToRegister() []EventKind {
	return []EventKind{PodRemoved, NodeAdded, NodeUpdated}
}

// Helps implements EventHinter. A pod may also fit by preemption when it would without the pods of lower priority.
func (NodeResourcesFit) Helps(pod *PodInfo, e *Event) bool {
	switch e.Kind {
	case PodRemoved:
		// One that could have been preempted makes no more room than its own.
		return e.On == nil || roomFor(pod, e, e.Pod.Priority >= pod.Priority)
	case NodeAdded:
		if e.On == nil {
			return fits(&pod.Requests, newNodeInfo(e.Node)) == nil
		}
		return roomFor(pod, e, true)
	case NodeUpdated:
		if e.On == nil || e.was == nil {
			old, now := newNodeInfo(e.OldNode), newNodeInfo(e.Node)
			return fits(&pod.Requests, now) == nil && grew(&pod.Requests, old, now)
		}
		return grew(&pod.Requests, e.was, e.On) && roomFor(pod, e, true)
	}
	return false
}

// roomFor tells whether the pod fits on the event's node now or, with preempt, when it takes the room of others,
// besides those that wait for room there and go before it.
func roomFor(pod *PodInfo, e *Event, preempt bool) bool {
	if fitsBeside(pod, e.On, e.claims) {
		return true
	}
	if !preempt || neverPreempting(pod) {
		return false
	}
	n := e.keeping(pod.Priority)
	return n != e.On && fitsBeside(pod, n, e.claims)
}

func fitsBeside(pod *PodInfo, n *NodeInfo, claims []*PodInfo) bool {
	claims = claimsOn(claims, pod)
	if len(claims) == 0 {
		return fits(&pod.Requests, n) == nil
	}
	c := *n
	for _, p := range claims {
		c.Requested = c.Requested.Add(p.Requests)
		c.AllowedPods--
	}
	return fits(&pod.Requests, &c) == nil
}

// grew tells whether a node now has more of something that is wanted.
func grew(want *Resource, old, now *NodeInfo) bool {
	if now.AllowedPods > old.AllowedPods ||
		want.MilliCPU > 0 && now.Allocatable.MilliCPU > old.Allocatable.MilliCPU ||
		want.Memory > 0 && now.Allocatable.Memory > old.Allocatable.Memory ||
		want.EphemeralStorage > 0 && now.Allocatable.EphemeralStorage > old.Allocatable.EphemeralStorage {
		return true
	}
	for _, s := range want.scalars {
		if s.amount > 0 && now.Allocatable.Scalar(s.name) > old.Allocatable.Scalar(s.name) {
			return true
		}
	}
	return false
}

// BalancedAllocation prefers nodes whose CPU and memory would be used in more equal shares with the
// pod than without it.
type BalancedAllocation struct{}

// Name implements Plugin.
func (BalancedAllocation) Name() string { return NameBalancedAllocation }

// PreScore implements PreScorePlugin: a pod that requests nothing changes no balance.
func (BalancedAllocation) PreScore(c *Cycle, _ []*NodeInfo) (any, bool, error) {
	return nil, c.Pod.Requests.MilliCPU == 0 && c.Pod.Requests.Memory == 0, nil
}

// Score implements ScorePlugin: 75 when the balance stays as it is, up to 100 when it gets better,
// down to 50 when it gets worse.
func (BalancedAllocation) Score(c *Cycle, _ any, n *NodeInfo) (int64, error) {
	with := balance(addSaturated(n.Requested.MilliCPU, c.Pod.Requests.MilliCPU),
		addSaturated(n.Requested.Memory, c.Pod.Requests.Memory), n)
	return MaxNodeScore/2 + (MaxNodeScore/2+with-n.balance)/2, nil
}

// balance is 100 less the standard deviation, in percent, of the used shares of CPU and memory.
func balance(cpu, memory int64, n *NodeInfo) int64 {
	if n.Allocatable.MilliCPU == 0 || n.Allocatable.Memory == 0 {
		return MaxNodeScore
	}
	a := min(float64(cpu)/float64(n.Allocatable.MilliCPU), 1)
	b := min(float64(memory)/float64(n.Allocatable.Memory), 1)
	return int64((1 - math.Abs((a-b)/2)) * float64(MaxNodeScore))
}
