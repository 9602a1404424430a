package scheduler

import (
	"cmp"
	"fmt"
	"reflect"
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
	size   int64
	// nodes is the volume's node affinity, parsed when it is first needed.
	nodes *nodeRule
	read  bool
}

// hostOnly tells that a volume asks of a node nothing but the name of its host.
func hostOnly(v *corev1.PersistentVolume) bool {
	terms := v.Spec.NodeAffinity.Required.NodeSelectorTerms
	return len(terms) == 1 && len(terms[0].MatchExpressions) == 1 && len(terms[0].MatchFields) == 0
}

func (c *volumeCandidate) admits(n *corev1.Node) bool {
	if !c.read {
		c.nodes, c.read = nodeRuleOf(c.volume), true
	}
	return c.nodes.admits(n)
}

// candidates are the volumes that fit a claim but for the node, the best first: the smallest and, among equals, the
// first by name.
type candidates struct {
	claim    *corev1.PersistentVolumeClaim
	selector labels.Selector
	// far are those that more than one host may reach, or that were reserved for the claim; then there are no others.
	far []volumeCandidate
	// volumes is where those are found that only one host can reach, as local ones are, and near has those of the
	// hosts that were asked about; volumes is nil when there are none.
	volumes *Snapshot
	near    map[string][]volumeCandidate
}

// claimCandidates returns the candidates for a claim. The error is that of a selector that can't be parsed.
func claimCandidates(c *corev1.PersistentVolumeClaim, s *Snapshot) (out candidates, _ error) {
	out.claim, out.selector = c, labels.Everything()
	if c.Spec.Selector != nil {
		var err error
		if out.selector, err = metav1.LabelSelectorAsSelector(c.Spec.Selector); err != nil {
			return out, fmt.Errorf("error creating internal label selector for claim: %v/%v: %w", c.Namespace, c.Name, err)
		}
	}
	var reserved *corev1.PersistentVolume
	for v := range Objects[*corev1.PersistentVolume](s, groupOfClaimed(c.Namespace, c.Name)) {
		if volumeClass(v) == claimClass(c) && couldHold(v, c) && (reserved == nil || v.Name < reserved.Name) {
			reserved = v
		}
	}
	if reserved != nil {
		out.far = []volumeCandidate{{volume: reserved}}
		return out, nil
	}
	out.far = out.in(s, "")
	if s.hasGroup(reflect.TypeFor[*corev1.PersistentVolume](), groupOfVolumes(claimClass(c), anyHost)) {
		out.volumes, out.near = s, map[string][]volumeCandidate{}
	}
	return out, nil
}

// none tells that there is no volume at all.
func (cs *candidates) none() bool { return len(cs.far) == 0 && cs.volumes == nil }

// in returns the volumes that fit the claim, those of a host or those that no host has to itself. What a volume of a
// host asks of the node need not be parsed if it is no more than that.
func (cs *candidates) in(s *Snapshot, host string) (out []volumeCandidate) {
	for v := range Objects[*corev1.PersistentVolume](s, groupOfVolumes(claimClass(cs.claim), host)) {
		if couldHold(v, cs.claim) && v.Status.Phase == corev1.VolumeAvailable && cs.selector.Matches(labels.Set(v.Labels)) &&
			hasAccessModes(v, cs.claim.Spec.AccessModes) {
			out = append(out, volumeCandidate{volume: v, size: bytesIn(v.Spec.Capacity), read: host != "" && hostOnly(v)})
		}
	}
	slices.SortFunc(out, bySize)
	return out
}

func bySize(a, b volumeCandidate) int {
	return cmp.Or(cmp.Compare(a.size, b.size), cmp.Compare(a.volume.Name, b.volume.Name))
}

// at returns the volumes that only a certain host can reach.
func (cs *candidates) at(host string) []volumeCandidate {
	if cs.volumes == nil || host == "" {
		return nil
	}
	found, ok := cs.near[host]
	if !ok {
		if found = cs.in(cs.volumes, host); len(found) > 0 {
			cs.near[host] = found
		}
	}
	return found
}

// anyHost stands for all hosts in the name of a group.
const anyHost = "*"

// groupOfVolumes names the group of the volumes of a class that only one host can reach, or that no certain host has
// to itself. Names of classes have no zero bytes.
func groupOfVolumes(class, host string) string { return class + "\x00" + host }

// groupOfClaimed names the group of the volumes that are a claim's, or reserved for it.
func groupOfClaimed(namespace, name string) string { return "\x00" + namespace + "/" + name }

// volumeGroups returns the groups under which a volume is found: those that are nobody's by class and host, all
// of them that have a host together, too.
func volumeGroups(v *corev1.PersistentVolume) [2]string {
	if ref := v.Spec.ClaimRef; ref != nil {
		return [2]string{groupOfClaimed(ref.Namespace, ref.Name)}
	}
	hosts, only := hostsOf(v)
	if !only || len(hosts) != 1 || hosts[0] == "" || hosts[0] == anyHost {
		return [2]string{groupOfVolumes(volumeClass(v), "")}
	}
	return [2]string{groupOfVolumes(volumeClass(v), hosts[0]), groupOfVolumes(volumeClass(v), anyHost)}
}

// hostsOf returns the values of the label kubernetes.io/hostname that a node must have one of to reach the
// volume; false means that it need not have any.
func hostsOf(v *corev1.PersistentVolume) (hosts []string, only bool) {
	if v.Spec.NodeAffinity == nil || v.Spec.NodeAffinity.Required == nil {
		return nil, false
	}
	for _, t := range v.Spec.NodeAffinity.Required.NodeSelectorTerms {
		i := slices.IndexFunc(t.MatchExpressions, func(r corev1.NodeSelectorRequirement) bool {
			return r.Key == corev1.LabelHostname && r.Operator == corev1.NodeSelectorOpIn
		})
		if i < 0 {
			return nil, false
		}
		hosts = append(hosts, t.MatchExpressions[i].Values...)
	}
	return hosts, true
}

// choose returns the best volume that a node can reach and that taken does not hold.
func (cs *candidates) choose(n *corev1.Node, taken func(*corev1.PersistentVolume) bool) *corev1.PersistentVolume {
	near, far := cs.at(n.Labels[corev1.LabelHostname]), cs.far
	for len(near)+len(far) > 0 {
		from := &far
		if len(far) == 0 || len(near) > 0 && bySize(near[0], far[0]) < 0 {
			from = &near
		}
		c := &(*from)[0]
		*from = (*from)[1:]
		if !taken(c.volume) && c.admits(n) {
			return c.volume
		}
	}
	return nil
}

// couldHold tells what holds for reserved volumes, too: size, mode and attributes are right, and it stays.
func couldHold(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) bool {
	if v.DeletionTimestamp != nil || v.Spec.ClaimRef != nil && !reservedFor(v, c) {
		return false
	}
	return bytesIn(v.Spec.Capacity) >= bytesIn(c.Spec.Resources.Requests) && volumeMode(v.Spec.VolumeMode) == volumeMode(c.Spec.VolumeMode) &&
		valueOf(v.Spec.VolumeAttributesClassName) == valueOf(c.Spec.VolumeAttributesClassName)
}

// bytesIn returns the amount of storage.
func bytesIn(list corev1.ResourceList) int64 {
	q := list[corev1.ResourceStorage]
	return q.Value()
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

// nodeRule is the node affinity of a volume, parsed: a node must match one of the selectors. Volumes are matched
// with labels alone: what a term says about the node's name is passed over, as it is by kube-scheduler.
type nodeRule struct{ terms []labels.Selector }

// nodeRuleOf returns nil when a volume can be reached from all nodes. Terms that can't be parsed match no node,
// nor do those that say nothing.
func nodeRuleOf(v *corev1.PersistentVolume) *nodeRule {
	if v.Spec.NodeAffinity == nil || v.Spec.NodeAffinity.Required == nil {
		return nil
	}
	r := &nodeRule{}
	for i := range v.Spec.NodeAffinity.Required.NodeSelectorTerms {
		if s, ok := nodeTerm(&v.Spec.NodeAffinity.Required.NodeSelectorTerms[i]); ok {
			r.terms = append(r.terms, s)
		}
	}
	return r
}

var nodeOperators = map[corev1.NodeSelectorOperator]selection.Operator{
	corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn,
	corev1.NodeSelectorOpExists: selection.Exists, corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
	corev1.NodeSelectorOpGt: selection.GreaterThan, corev1.NodeSelectorOpLt: selection.LessThan,
}

func nodeTerm(t *corev1.NodeSelectorTerm) (labels.Selector, bool) {
	s := labels.NewSelector()
	for _, e := range t.MatchExpressions {
		r, err := labels.NewRequirement(e.Key, nodeOperators[e.Operator], e.Values)
		if err != nil {
			return nil, false
		}
		s = s.Add(*r)
	}
	for _, f := range t.MatchFields {
		if _, err := nodeaffinity.NewNodeSelector(&corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
			{MatchFields: []corev1.NodeSelectorRequirement{f}}}}); err != nil {
			return nil, false
		}
	}
	return s, len(t.MatchExpressions)+len(t.MatchFields) > 0
}

func (r *nodeRule) admits(n *corev1.Node) bool {
	return r == nil || slices.ContainsFunc(r.terms, func(s labels.Selector) bool { return s.Matches(labels.Set(n.Labels)) })
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
