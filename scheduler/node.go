package scheduler

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// NodeInfo is a node together with the pods on it. It is immutable.
type NodeInfo struct {
	// version is another one whenever the node, or what its pods ask for, is.
	version uint64
	// place is where the node stands in the snapshot.
	place int
	// name is Node.Name.
	name string
	// Node is the node itself; read it only.
	Node *corev1.Node
	// Pods are the pods that count as running there, assumed ones included.
	Pods []*PodInfo
	// Allocatable is what pods may use in all, AllowedPods how many there may be.
	Allocatable Resource
	AllowedPods int64
	// Requested is the sum of the pods' requests; NonZeroRequested that of their NonZeroRequests.
	Requested, NonZeroRequested Resource

	// What filters and scores read on every node stands here, so that the large Node object is
	// rarely touched: whether it is cordoned or has taints of either kind, and how evenly its CPU
	// and memory are used, see balance.
	cordoned, hardTaints, softTaints bool
	balance                          int64
	// claimed tells that there are pods that wait for room here, see Snapshot.Nominated.
	claimed bool

	// ports are those of all pods; a node rarely has more than a few.
	ports []HostPort
	// withVolumes are the pods that the volume plugins look at.
	withVolumes []*PodInfo
	// images has the size in bytes of each image that the node reports to have.
	images map[string]int64
}

func newNodeInfo(node *corev1.Node) *NodeInfo {
	n := &NodeInfo{}
	n.setNode(node)
	return n
}

func (n *NodeInfo) setNode(node *corev1.Node) {
	n.Node, n.name = node, node.Name
	n.Allocatable = NewResource(node.Status.Allocatable)
	n.images = nil
	if len(node.Status.Images) > 0 {
		n.images = map[string]int64{}
	}
	for i := range node.Status.Images {
		for _, name := range node.Status.Images[i].Names {
			n.images[name] = node.Status.Images[i].SizeBytes
		}
	}
	n.cordoned, n.hardTaints, n.softTaints = node.Spec.Unschedulable, false, false
	for i := range node.Spec.Taints {
		soft := node.Spec.Taints[i].Effect == corev1.TaintEffectPreferNoSchedule
		n.softTaints, n.hardTaints = n.softTaints || soft, n.hardTaints || !soft
	}
	n.AllowedPods = 0
	if q, ok := node.Status.Allocatable[corev1.ResourcePods]; ok {
		n.AllowedPods = q.Value()
	}
	n.changed()
}

// changed follows any change that counts for decisions.
func (n *NodeInfo) changed() {
	n.version = versions.Add(1)
	n.balance = balance(n.Requested.MilliCPU, n.Requested.Memory, n)
}

func (n *NodeInfo) withNode(node *corev1.Node) *NodeInfo {
	c := *n
	c.setNode(node)
	return &c
}

// with returns the node with one more pod.
func (n *NodeInfo) with(p *PodInfo) *NodeInfo {
	c := *n
	c.Pods = appended(n.Pods, p)
	c.Requested = n.Requested.Add(p.Requests)
	c.NonZeroRequested = n.NonZeroRequested.Add(p.NonZeroRequests)
	if len(p.Ports) > 0 {
		c.ports = appended(n.ports, p.Ports...)
	}
	if p.volumes != nil {
		c.withVolumes = appended(n.withVolumes, p)
	}
	c.changed()
	return &c
}

// find returns where the pod with the key stands in Pods, or -1.
func (n *NodeInfo) find(key string) int {
	return slices.IndexFunc(n.Pods, func(p *PodInfo) bool { return p.Key == key })
}

// appended copies, because the array behind s may be part of an older snapshot.
func appended[T any](s []T, x ...T) []T {
	return append(append(make([]T, 0, len(s)+len(x)), s...), x...)
}

// without returns the node without its pod i.
func (n *NodeInfo) without(i int) *NodeInfo {
	return n.withOnly(slices.Concat(n.Pods[:i], n.Pods[i+1:]))
}

// keeping returns the node with those of its pods that keep returns true for.
func (n *NodeInfo) keeping(keep func(*PodInfo) bool) *NodeInfo {
	var pods []*PodInfo
	for _, p := range n.Pods {
		if keep(p) {
			pods = append(pods, p)
		}
	}
	return n.withOnly(pods)
}

// withOnly returns the node with the given pods, of its own, in place of all.
func (n *NodeInfo) withOnly(pods []*PodInfo) *NodeInfo {
	c := *n
	c.Pods = pods
	c.Requested, c.NonZeroRequested, c.ports, c.withVolumes = Resource{}, Resource{}, nil, nil
	// The sums are made anew: sums that stop at the largest number can't be taken apart.
	for _, p := range c.Pods {
		c.Requested = c.Requested.Add(p.Requests)
		c.NonZeroRequested = c.NonZeroRequested.Add(p.NonZeroRequests)
		c.ports = append(c.ports, p.Ports...)
		if p.volumes != nil {
			c.withVolumes = append(c.withVolumes, p)
		}
	}
	c.changed()
	return &c
}

// replacing returns the node with another state of its pod i. When it asks for the same as before, which
// is the rule, no sum changes.
func (n *NodeInfo) replacing(i int, p *PodInfo) *NodeInfo {
	old := n.Pods[i]
	if !sameRequests(&old.Requests, &p.Requests) || !sameRequests(&old.NonZeroRequests, &p.NonZeroRequests) || !slices.Equal(old.Ports, p.Ports) ||
		(old.volumes == nil) != (p.volumes == nil) {
		return n.without(i).with(p)
	}
	c := *n
	c.Pods = slices.Clone(n.Pods)
	c.Pods[i] = p
	if p.volumes != nil {
		c.withVolumes = slices.Clone(n.withVolumes)
		c.withVolumes[slices.Index(n.withVolumes, old)] = p
	}
	return &c
}

// normalImage adds the tag that is meant when an image names none.
func normalImage(name string) string {
	if strings.LastIndex(name, ":") <= strings.LastIndex(name, "/") {
		return name + ":latest"
	}
	return name
}

func imagesOf(pod *corev1.Pod) []string {
	out := make([]string, 0, len(pod.Spec.Containers)+len(pod.Spec.InitContainers))
	for i := range pod.Spec.InitContainers {
		out = append(out, normalImage(pod.Spec.InitContainers[i].Image))
	}
	for i := range pod.Spec.Containers {
		out = append(out, normalImage(pod.Spec.Containers[i].Image))
	}
	for i := range pod.Spec.Volumes {
		if v := pod.Spec.Volumes[i].Image; v != nil {
			out = append(out, normalImage(v.Reference))
		}
	}
	return out
}
