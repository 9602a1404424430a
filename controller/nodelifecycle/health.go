package nodelifecycle

import (
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// reported are the conditions that a kubelet reports. NetworkUnavailable is the network's to report.
var reported = []corev1.NodeConditionType{
	corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure,
}

// Silent returns the conditions of a node whose kubelet is not heard of any more: those that it
// reports are Unknown. The node itself does not change.
func Silent(node *corev1.Node, now metav1.Time) []corev1.NodeCondition {
	out := slices.Clone(node.Status.Conditions)
	for _, t := range reported {
		i := slices.IndexFunc(out, func(c corev1.NodeCondition) bool { return c.Type == t })
		switch {
		case i < 0:
			out = append(out, corev1.NodeCondition{
				Type: t, Status: corev1.ConditionUnknown,
				Reason: "NodeStatusNeverUpdated", Message: "Kubelet never posted node status.",
				LastHeartbeatTime: node.CreationTimestamp, LastTransitionTime: now,
			})
		case out[i].Status != corev1.ConditionUnknown:
			out[i].Status = corev1.ConditionUnknown
			out[i].Reason = "NodeStatusUnknown"
			out[i].Message = "Kubelet stopped posting node status."
			out[i].LastTransitionTime = now
		}
	}
	return out
}

// sign is the newest of one kind of sign of life: what it said, which is a time on another machine's
// clock and only compared with others of its kind, and when it was seen here.
type sign struct {
	said time.Time
	seen time.Time
}

// pulse is when signs of life of nodes were seen, by this machine's clock.
type pulse struct {
	mu         sync.Mutex
	heartbeats map[string]sign // Ready's lastHeartbeatTime
	leases     map[string]sign // the lease's renewTime
}

func newPulse() *pulse { return &pulse{heartbeats: map[string]sign{}, leases: map[string]sign{}} }

// see notes a sign that differs from the last one, forwards or backwards: clocks are set.
func see(signs map[string]sign, name string, said, now time.Time) {
	if last, ok := signs[name]; !ok || !last.said.Equal(said) {
		signs[name] = sign{said, now}
	}
}

// node notes what a node shows.
func (p *pulse) node(node *corev1.Node, now time.Time) {
	var said time.Time
	if c := conditionOf(node, corev1.NodeReady); c != nil {
		said = c.LastHeartbeatTime.Time
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	see(p.heartbeats, node.Name, said, now)
}

// lease notes what a lease shows.
func (p *pulse) lease(lease *coordinationv1.Lease, now time.Time) {
	if lease.Spec.RenewTime == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	see(p.leases, lease.Name, lease.Spec.RenewTime.Time, now)
}

func (p *pulse) forgetNode(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.heartbeats, name)
}

func (p *pulse) forgetLease(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.leases, name)
}

// left returns how much of its grace period a node has left since its newest sign of life; all of it
// for one that was never seen.
func (p *pulse) left(name string, grace time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	heartbeat, ok := p.heartbeats[name]
	if !ok {
		return grace
	}
	seen := heartbeat.seen
	if lease := p.leases[name]; lease.seen.After(seen) {
		seen = lease.seen
	}
	return time.Until(seen.Add(grace))
}
