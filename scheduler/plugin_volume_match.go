package scheduler

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// What the scheduler, the PersistentVolume controller and provisioners tell each other.
const (
	annBindCompleted     = "pv.kubernetes.io/bind-completed"
	annBoundByController = "pv.kubernetes.io/bound-by-controller"
	annSelectedNode      = "volume.kubernetes.io/selected-node"
	// noProvisioner is the provisioner of classes whose volumes someone makes by hand.
	noProvisioner = "kubernetes.io/no-provisioner"
)

// claimClass returns the name of a claim's StorageClass, or "". The annotation is older than the field, and
// stronger.
func claimClass(c *corev1.PersistentVolumeClaim) string {
	if class, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return class
	}
	return valueOf(c.Spec.StorageClassName)
}

func volumeClass(v *corev1.PersistentVolume) string {
	if class, ok := v.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return class
	}
	return v.Spec.StorageClassName
}

func valueOf[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

// fullyBound tells whether the PersistentVolume controller has finished binding a claim.
func fullyBound(c *corev1.PersistentVolumeClaim) bool {
	_, done := c.Annotations[annBindCompleted]
	return c.Spec.VolumeName != "" && done
}

// reservedFor tells whether a volume's claimRef names the claim. One without a UID was written by a person
// and means whichever claim has the name.
func reservedFor(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) bool {
	ref := v.Spec.ClaimRef
	return ref != nil && ref.Name == c.Name && ref.Namespace == c.Namespace && (ref.UID == "" || ref.UID == c.UID)
}

// volumeCandidate is a volume that a claim could be bound to, if the node is right.
type volumeCandidate struct {
	volume *corev1.PersistentVolume
	// nodes is the volume's node affinity; nil when all nodes can reach it.
	nodes *nodeRule
}

// claimCandidates returns the volumes that fit a claim but for the node, the best first: the smallest and,
// among equals, the first in the order given. A volume that was reserved for the claim is the only candidate.
// The error is that of a selector that can't be parsed.
func claimCandidates(c *corev1.PersistentVolumeClaim, volumes []*corev1.PersistentVolume) ([]volumeCandidate, error) {
	selector := labels.Everything()
	if c.Spec.Selector != nil {
		var err error
		if selector, err = metav1.LabelSelectorAsSelector(c.Spec.Selector); err != nil {
			return nil, fmt.Errorf("error creating internal label selector for claim: %v/%v: %w", c.Namespace, c.Name, err)
		}
	}
	var out []volumeCandidate
	for _, v := range volumes {
		if !couldHold(v, c) {
			continue
		}
		if reservedFor(v, c) {
			return []volumeCandidate{{v, nodeRuleOf(v)}}, nil
		}
		if v.Status.Phase == corev1.VolumeAvailable && selector.Matches(labels.Set(v.Labels)) &&
			volumeClass(v) == claimClass(c) && hasAccessModes(v, c.Spec.AccessModes) {
			out = append(out, volumeCandidate{v, nodeRuleOf(v)})
		}
	}
	slices.SortStableFunc(out, func(a, b volumeCandidate) int {
		x, y := a.volume.Spec.Capacity[corev1.ResourceStorage], b.volume.Spec.Capacity[corev1.ResourceStorage]
		return x.Cmp(y)
	})
	return out, nil
}

// couldHold tells what holds for reserved volumes, too: size, mode and attributes are right, and it stays.
func couldHold(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) bool {
	if v.DeletionTimestamp != nil || v.Spec.ClaimRef != nil && !reservedFor(v, c) {
		return false
	}
	have, want := v.Spec.Capacity[corev1.ResourceStorage], c.Spec.Resources.Requests[corev1.ResourceStorage]
	return have.Cmp(want) >= 0 && volumeMode(v.Spec.VolumeMode) == volumeMode(c.Spec.VolumeMode) &&
		valueOf(v.Spec.VolumeAttributesClassName) == valueOf(c.Spec.VolumeAttributesClassName)
}

func volumeMode(m *corev1.PersistentVolumeMode) corev1.PersistentVolumeMode {
	if m == nil {
		return corev1.PersistentVolumeFilesystem
	}
	return *m
}

func hasAccessModes(v *corev1.PersistentVolume, modes []corev1.PersistentVolumeAccessMode) bool {
	for _, m := range modes {
		if !slices.Contains(v.Spec.AccessModes, m) {
			return false
		}
	}
	return true
}

// nodeRule is the node affinity of a volume, parsed.
type nodeRule struct {
	selector *nodeaffinity.LazyErrorNodeSelector
	// fields tells that it also looks at the node's name. Volumes are matched with labels alone: the rule
	// is shown a node without a name, for which it passes that part over, as it is by kube-scheduler.
	fields bool
}

// nodeRuleOf returns nil when a volume can be reached from all nodes.
func nodeRuleOf(v *corev1.PersistentVolume) *nodeRule {
	if v.Spec.NodeAffinity == nil || v.Spec.NodeAffinity.Required == nil {
		return nil
	}
	r := &nodeRule{selector: nodeaffinity.NewLazyErrorNodeSelector(v.Spec.NodeAffinity.Required)}
	for i := range v.Spec.NodeAffinity.Required.NodeSelectorTerms {
		r.fields = r.fields || len(v.Spec.NodeAffinity.Required.NodeSelectorTerms[i].MatchFields) > 0
	}
	return r
}

// admits treats a rule that can't be parsed as one that does not match.
func (r *nodeRule) admits(n *corev1.Node) bool {
	if r == nil {
		return true
	}
	if r.fields {
		n = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: n.Labels}}
	}
	ok, err := r.selector.Match(n)
	return ok && err == nil
}

// topologyTerms are a class's allowedTopologies, parsed; nil allows all nodes.
type topologyTerms []labels.Selector

func topologyTermsOf(terms []corev1.TopologySelectorTerm) topologyTerms {
	if len(terms) == 0 {
		return nil
	}
	out := topologyTerms{}
	for i := range terms {
		if s, ok := topologyTerm(&terms[i]); ok {
			out = append(out, s)
		}
	}
	return out
}

// topologyTerm returns false for a term that matches no node.
func topologyTerm(t *corev1.TopologySelectorTerm) (labels.Selector, bool) {
	s := labels.NewSelector()
	for _, e := range t.MatchLabelExpressions {
		r, err := labels.NewRequirement(e.Key, selection.In, e.Values)
		if err != nil {
			return nil, false
		}
		s = s.Add(*r)
	}
	return s, len(t.MatchLabelExpressions) > 0
}

func (t topologyTerms) admit(n *corev1.Node) bool {
	return t == nil || slices.ContainsFunc(t, func(s labels.Selector) bool { return s.Matches(labels.Set(n.Labels)) })
}

// capacityFor returns a record of storage that a node can reach and that holds one more volume of the given
// size; nil when there is none.
func capacityFor(n *corev1.Node, size int64, records []*storagev1.CSIStorageCapacity) *storagev1.CSIStorageCapacity {
	for _, r := range records {
		limit := capacityLimit(r)
		if limit == nil || limit.Value() < size || r.NodeTopology == nil {
			continue
		}
		if s, err := metav1.LabelSelectorAsSelector(r.NodeTopology); err == nil && s.Matches(labels.Set(n.Labels)) {
			return r
		}
	}
	return nil
}

// capacityLimit returns how large a volume may be: the largest that can be made, where the driver knows it.
func capacityLimit(r *storagev1.CSIStorageCapacity) *resource.Quantity {
	if r.MaximumVolumeSize != nil {
		return r.MaximumVolumeSize
	}
	return r.Capacity
}

// zonesOf reads the value of a volume's zone label: several zones stand between "__". It returns nil for a
// value that is not of this form.
func zonesOf(value string) []string {
	zones := strings.Split(value, "__")
	for i := range zones {
		if zones[i] = strings.TrimSpace(zones[i]); zones[i] == "" {
			return nil
		}
	}
	return zones
}
