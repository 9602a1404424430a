package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// addNodes adds copies of the node that a file describes, or of one that is there.
func (c *cluster) addNodes(from string, n int, w io.Writer) error {
	like, isName := c.nodes[from]
	if !isName {
		objects, err := readFile(from, nil, true)
		if err != nil {
			return fmt.Errorf("-add-node %s is neither a node nor a file with one: %w", from, err)
		}
		for _, obj := range objects {
			like, _ = obj.(*corev1.Node)
		}
		if like == nil || len(objects) != 1 {
			return fmt.Errorf("-add-node %s: the file must have one node, and nothing else", from)
		}
	}
	if n == 1 && !isName {
		if c.nodes[like.Name] != nil {
			return fmt.Errorf("-add-node %s: there is a node %q already", from, like.Name)
		}
		c.add(fresh(like, like.Name))
		fmt.Fprintf(w, "added node %s\n", like.Name)
		return nil
	}
	var names []string
	for i := 1; len(names) < n; i++ {
		if name := fmt.Sprintf("%s-%d", like.Name, i); c.nodes[name] == nil {
			c.add(fresh(like, name))
			names = append(names, name)
		}
	}
	fmt.Fprintf(w, "added %s like %s: %s\n", some(n, "node"), like.Name, strings.Join(names, ", "))
	return nil
}

// fresh is a node like another one: ready, not cordoned, without images.
func fresh(like *corev1.Node, name string) *corev1.Node {
	n := like.DeepCopy()
	n.Name, n.UID = name, ""
	n.Labels = maps.Clone(n.Labels)
	if n.Labels == nil {
		n.Labels = map[string]string{}
	}
	n.Labels[corev1.LabelHostname] = name
	n.Spec.Unschedulable = false
	n.Spec.Taints = slices.DeleteFunc(n.Spec.Taints, func(t corev1.Taint) bool { return strings.HasPrefix(t.Key, "node.kubernetes.io/") })
	n.Status.Images = nil
	if n.Status.Allocatable == nil {
		n.Status.Allocatable = n.Status.Capacity
	}
	return n
}

// drain cordons a node and takes off it what kubectl drain would evict. It returns the pods that their
// controllers make again.
func (c *cluster) drain(name string, w io.Writer) (again []*corev1.Pod, _ error) {
	node := c.nodes[name]
	if node == nil {
		return nil, fmt.Errorf("-drain %s: there is no such node", name)
	}
	node = node.DeepCopy()
	node.Spec.Unschedulable = true
	c.add(node)
	var lost, evicted []*corev1.Pod
	stay := 0
	for _, p := range c.running {
		if p.Spec.NodeName != name {
			continue
		}
		owner := metav1.GetControllerOfNoCopy(p)
		if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; mirror || owner != nil && (owner.Kind == "DaemonSet" || owner.Kind == "Node") {
			stay++
			continue
		}
		c.builder.RemovePod(keyOf(p), name)
		evicted = append(evicted, p)
		switch {
		case p.DeletionTimestamp != nil: // it leaves in any case
		case owner == nil:
			lost = append(lost, p)
		default:
			again = append(again, remade(p))
		}
	}
	c.running = slices.DeleteFunc(c.running, func(p *corev1.Pod) bool { return slices.Contains(evicted, p) })
	fmt.Fprintf(w, "drained node %s: of its pods %d leave it and %d stay\n", name, len(evicted), stay)
	for _, p := range lost {
		fmt.Fprintf(w, "  %s/%s is lost: it has no controller that would make it again\n", p.Namespace, p.Name)
	}
	c.reportBudgets(evicted, w)
	return again, nil
}

// reportBudgets tells which PodDisruptionBudgets would make the drain wait.
func (c *cluster) reportBudgets(evicted []*corev1.Pod, w io.Writer) {
	for _, b := range c.budgets {
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil {
			continue
		}
		var n int32
		for _, p := range evicted {
			if p.Namespace == b.Namespace && selector.Matches(labels.Set(p.Labels)) {
				n++
			}
		}
		if n > b.Status.DisruptionsAllowed {
			fmt.Fprintf(w, "  PodDisruptionBudget %s/%s allows %d of the %d evictions that it is about; the drain would wait for the rest\n",
				b.Namespace, b.Name, b.Status.DisruptionsAllowed, n)
		}
	}
}

func keyOf(p *corev1.Pod) string {
	if p.UID != "" {
		return string(p.UID)
	}
	return p.Namespace + "/" + p.Name
}

// remade is the pod that a controller makes in the place of another.
func remade(p *corev1.Pod) *corev1.Pod {
	again := p.DeepCopy()
	again.UID, again.Spec.NodeName, again.Status = "", "", corev1.PodStatus{}
	return again
}
