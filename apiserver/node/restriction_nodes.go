package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/inboard/inboard/apiserver"
)

// nodes keeps a node from other nodes, and from what steers pods to itself.
func (w *write) nodes() error {
	if w.Ref.Name != w.node {
		return fmt.Errorf("node %q is not allowed to modify node %q", w.node, w.Ref.Name)
	}
	if w.Operation != apiserver.Create && w.Operation != apiserver.Update {
		return nil
	}
	after, ok := w.Object.(*corev1.Node)
	if !ok {
		return unexpected(w.Object)
	}
	if w.Operation == apiserver.Create {
		return w.createNode(after)
	}
	before, ok := w.Old.(*corev1.Node)
	if !ok {
		return unexpected(w.Old)
	}
	return w.updateNode(before, after)
}

func (w *write) createNode(n *corev1.Node) error {
	//lint:ignore SA1019 a node could still send it
	if n.Spec.ConfigSource != nil {
		return fmt.Errorf("node %q is not allowed to create pods with a non-nil configSource", w.node)
	}
	if labels := forbiddenLabels(n.Labels, nil); len(labels) > 0 {
		return fmt.Errorf("node %q is not allowed to set the following labels: %s", w.node, strings.Join(labels, ", "))
	}
	return nil
}

func (w *write) updateNode(before, after *corev1.Node) error {
	equal := apiequality.Semantic.DeepEqual
	switch {
	//lint:ignore SA1019 a node could still send it
	case after.Spec.ConfigSource != nil && !equal(after.Spec.ConfigSource, before.Spec.ConfigSource):
		return fmt.Errorf("node %q is not allowed to update configSource to a new non-nil configSource", w.node)
	case !equal(after.Spec.Taints, before.Spec.Taints):
		return fmt.Errorf("node %q is not allowed to modify taints", w.node)
	case !equal(after.OwnerReferences, before.OwnerReferences):
		return fmt.Errorf("node %q is not allowed to modify ownerReferences", w.node)
	}
	if labels := forbiddenLabels(after.Labels, before.Labels); len(labels) > 0 {
		return errors.New("is not allowed to modify labels: " + strings.Join(labels, ", "))
	}
	return nil
}

// ownLabels are Kubernetes' labels that kubelets give their nodes.
var ownLabels = []string{
	corev1.LabelHostname, corev1.LabelTopologyZone, corev1.LabelTopologyRegion,
	corev1.LabelFailureDomainBetaZone, corev1.LabelFailureDomainBetaRegion,
	corev1.LabelInstanceType, corev1.LabelInstanceTypeStable,
	corev1.LabelOSStable, corev1.LabelArchStable, "beta.kubernetes.io/os", "beta.kubernetes.io/arch",
}

// forbiddenLabels returns those that differ between two sets of labels and that a node may not change, sorted.
func forbiddenLabels(a, b map[string]string) []string {
	var out []string
	for key, value := range a {
		if other, ok := b[key]; (!ok || other != value) && !mayLabel(key) {
			out = append(out, key)
		}
	}
	for key := range b {
		if _, ok := a[key]; !ok && !mayLabel(key) {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

func mayLabel(key string) bool {
	prefix, _, ok := strings.Cut(key, "/")
	if !ok {
		return true
	}
	within := func(domain string) bool { return prefix == domain || strings.HasSuffix(prefix, "."+domain) }
	switch {
	case within(corev1.LabelNamespaceNodeRestriction):
		return false
	case !within("kubernetes.io") && !within("k8s.io"):
		return true
	}
	return slices.Contains(ownLabels, key) || within(corev1.LabelNamespaceSuffixKubelet) || within(corev1.LabelNamespaceSuffixNode)
}
