package scheduler

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// NodePorts admits nodes on which the host ports that the pod asks for are free.
type NodePorts struct{}

const anyIP = "0.0.0.0"

var refusePorts = NewStatus(Unschedulable, "node(s) didn't have free ports for the requested pod ports")

// Name implements Plugin.
func (NodePorts) Name() string { return NameNodePorts }

// PreFilter implements PreFilterPlugin.
func (NodePorts) PreFilter(c *Cycle) (PreFilterResult, *Status) {
	return PreFilterResult{Skip: len(c.Pod.Ports) == 0}, nil
}

// Filter implements FilterPlugin.
func (NodePorts) Filter(c *Cycle, _ any, n *NodeInfo) *Status {
	if portsClash(c.Pod.Ports, n.ports) {
		return refusePorts
	}
	return nil
}

func portsClash(want, used []HostPort) bool {
	for _, a := range want {
		for _, b := range used {
			if a.Port == b.Port && a.Protocol == b.Protocol && (a.IP == b.IP || a.IP == anyIP || b.IP == anyIP) {
				return true
			}
		}
	}
	return false
}

// EventsToRegister implements EnqueueExtensions.
func (NodePorts) EventsToRegister() []EventKind { return []EventKind{NodeAdded, PodRemoved} }

// Helps implements EventHinter: a pod that gave up one of the ports, or a node where all are free.
func (NodePorts) Helps(pod *PodInfo, e *Event) bool {
	return e.Kind == NodeAdded || e.Kind == PodRemoved && portsClash(pod.Ports, e.Pod.Ports)
}

// ImageLocality prefers nodes that have the pod's images already, the more so the larger they are and
// the more nodes have them, so that not one node attracts all pods.
type ImageLocality struct{}

// Images below 23 MB on a node count for nothing, and above 1000 MB per container for no more.
const (
	leastImageBytes = 23 << 20
	mostImageBytes  = 1000 << 20
)

// Name implements Plugin.
func (ImageLocality) Name() string { return NameImageLocality }

// PreScore implements PreScorePlugin: with no image on any node there is nothing to prefer.
func (ImageLocality) PreScore(c *Cycle, _ []*NodeInfo) (any, bool, error) {
	nodes := float64(c.Snapshot.Len())
	var spread []float64
	for i, name := range c.Pod.images {
		if n, ok := c.Snapshot.images.get(name); ok {
			if spread == nil {
				spread = make([]float64, len(c.Pod.images))
			}
			spread[i] = float64(n) / nodes
		}
	}
	return spread, spread == nil, nil
}

// Score implements ScorePlugin.
func (ImageLocality) Score(c *Cycle, state any, n *NodeInfo) (int64, error) {
	var sum int64
	for i, name := range c.Pod.images {
		if size, ok := n.images[name]; ok {
			sum += int64(float64(size) * state.([]float64)[i])
		}
	}
	most := mostImageBytes * int64(len(c.Pod.images))
	sum = min(max(sum, leastImageBytes), most)
	return MaxNodeScore * (sum - leastImageBytes) / (most - leastImageBytes), nil
}

// SupportedFeatures refuses pods that need a decision which no built-in plugin makes. Without it they
// would land on a node where they can't run, or take what is not theirs.
type SupportedFeatures struct{}

// Name implements Plugin.
func (SupportedFeatures) Name() string { return NameSupportedFeatures }

// PreFilter implements PreFilterPlugin.
func (SupportedFeatures) PreFilter(c *Cycle) (PreFilterResult, *Status) {
	fields := unsupportedFields(&c.Pod.Pod.Spec)
	if len(fields) == 0 {
		return PreFilterResult{}, nil
	}
	return PreFilterResult{}, NewStatus(UnschedulableAndUnresolvable,
		fmt.Sprintf("this scheduler does not support %s", strings.Join(fields, ", ")))
}

// unsupportedFields returns the paths of the fields that ask for more than the built-in plugins do.
func unsupportedFields(spec *corev1.PodSpec) (out []string) {
	if len(spec.ResourceClaims) > 0 {
		out = append(out, "spec.resourceClaims")
	}
	return out
}

// EventsToRegister implements EnqueueExtensions.
func (SupportedFeatures) EventsToRegister() []EventKind { return []EventKind{} }

// Helps implements EventHinter: only a change of the pod itself can help.
func (SupportedFeatures) Helps(*PodInfo, *Event) bool { return false }
