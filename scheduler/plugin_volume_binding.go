package scheduler

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/component-helpers/storage/ephemeral"
)

// VolumeBinding admits the nodes that can reach the volumes of a pod's claims. For claims that wait for their
// first consumer it chooses a volume by the node, or tells the provisioner which node to make one for, and
// waits until the claims are bound. It prefers nodes whose storage would be used the least.
// https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode
type VolumeBinding struct {
	// BindTimeout bounds the wait for the PersistentVolume controller and the provisioner; 0 means
	// kube-scheduler's ten minutes.
	BindTimeout time.Duration
}

// Name implements Plugin.
func (VolumeBinding) Name() string { return NameVolumeBinding }

// bindingState is what the claims of a pod need of a node.
type bindingState struct {
	// snapshot is where that was read.
	snapshot *Snapshot
	// bound are the volumes of claims that have one; nil stands for one that does not exist.
	bound []*corev1.PersistentVolume
	// rules are their node affinities.
	rules []*nodeRule
	// delayed are the claims that wait for a node, in the order of the pod's volumes.
	delayed []*delayedClaim
	// toldBefore are those of them that a provisioner was given a node for, searched the others, the
	// smallest first. Hopeless tells that there is no volume for any of the latter.
	toldBefore, searched []*delayedClaim
	hopeless             bool
}

// delayedClaim is a claim that gets its volume by the choice of the node.
type delayedClaim struct {
	claim *corev1.PersistentVolumeClaim
	class *storagev1.StorageClass
	// selected is the node that a provisioner was told before.
	selected   string
	candidates candidates
	err        error
	allowed    topologyTerms
	// tracked tells that the driver reports how much storage each node can reach; records are what it
	// said about the class.
	tracked bool
	records []*storagev1.CSIStorageCapacity
}

func (d *delayedClaim) size() int64 { return bytesIn(d.claim.Spec.Resources.Requests) }

// PreFilter implements PreFilterPlugin.
func (VolumeBinding) PreFilter(c *Cycle) (PreFilterResult, *Status) {
	if c.Pod.volumes == nil || len(c.Pod.volumes.claims) == 0 {
		return PreFilterResult{Skip: true}, nil
	}
	claims, status := usableClaims(c)
	if status != nil {
		return PreFilterResult{}, status
	}
	st := &bindingState{snapshot: c.Snapshot}
	immediate := false
	for _, claim := range claims {
		if fullyBound(claim) {
			st.addBound(c.Snapshot.volume(claim.Spec.VolumeName))
			continue
		}
		class := c.Snapshot.storageClass(claimClass(claim))
		if class != nil && class.VolumeBindingMode == nil {
			return PreFilterResult{}, NewStatus(Error, fmt.Sprintf("VolumeBindingMode not set for StorageClass %q", class.Name))
		}
		if class == nil || *class.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer || claim.Spec.VolumeName != "" {
			immediate = true
			continue
		}
		st.delayed = append(st.delayed, newDelayedClaim(c.Snapshot, claim, class))
	}
	if immediate {
		return PreFilterResult{}, refuseImmediate
	}
	st.sortSearched()
	c.binding = st
	return PreFilterResult{State: st}, nil
}

var refuseImmediate = NewStatus(UnschedulableAndUnresolvable, "pod has unbound immediate PersistentVolumeClaims")

// usableClaims returns the claims of a pod, or why the pod can't run with them anywhere.
func usableClaims(c *Cycle) (out []*corev1.PersistentVolumeClaim, _ *Status) {
	pod := c.Pod.Pod
	refuse := func(format string, args ...any) ([]*corev1.PersistentVolumeClaim, *Status) {
		return nil, NewStatus(UnschedulableAndUnresolvable, fmt.Sprintf(format, args...))
	}
	for _, ref := range c.Pod.volumes.claims {
		claim := c.Snapshot.claim(pod.Namespace, ref.name)
		switch {
		case claim == nil && ref.ephemeral:
			return refuse("waiting for ephemeral volume controller to create the persistentvolumeclaim %q", ref.name)
		case claim == nil:
			return nil, notFound("persistentvolumeclaim", ref.name)
		case claim.Status.Phase == corev1.ClaimLost:
			return refuse("persistentvolumeclaim %q bound to non-existent persistentvolume %q", claim.Name, claim.Spec.VolumeName)
		case claim.DeletionTimestamp != nil:
			return refuse("persistentvolumeclaim %q is being deleted", claim.Name)
		}
		if ref.ephemeral {
			if err := ephemeral.VolumeIsForPod(pod, claim); err != nil {
				return refuse("%v", err)
			}
		}
		out = append(out, claim)
	}
	return out, nil
}

// sortSearched sorts the claims that a volume is looked for, so that large volumes are left to large claims.
func (st *bindingState) sortSearched() {
	for _, d := range st.delayed {
		if d.told() {
			st.toldBefore = append(st.toldBefore, d)
		} else {
			st.searched = append(st.searched, d)
		}
	}
	st.hopeless = !slices.ContainsFunc(st.searched, func(d *delayedClaim) bool { return d.err != nil || !d.candidates.none() })
	slices.SortStableFunc(st.searched, func(a, b *delayedClaim) int { return cmp.Compare(a.size(), b.size()) })
}

func (st *bindingState) addBound(v *corev1.PersistentVolume) {
	var rule *nodeRule
	if v != nil {
		rule = nodeRuleOf(v)
	}
	st.bound, st.rules = append(st.bound, v), append(st.rules, rule)
}

func newDelayedClaim(s *Snapshot, claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) *delayedClaim {
	d := &delayedClaim{claim: claim, class: class, selected: claim.Annotations[annSelectedNode], allowed: topologyTermsOf(class.AllowedTopologies)}
	if _, told := claim.Annotations[annSelectedNode]; !told {
		d.candidates, d.err = claimCandidates(claim, s)
	}
	_, sized := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if driver := s.csiDriver(class.Provisioner); sized && driver != nil && valueOf(driver.Spec.StorageCapacity) {
		d.tracked, d.records = true, s.storageCapacities(class.Name)
	}
	return d
}

// podDecision is how the claims of a pod get their volumes on one node.
type podDecision struct {
	bindings   []staticBinding
	provisions []provision
}

// staticBinding gives a claim a volume that exists.
type staticBinding struct {
	claim  *corev1.PersistentVolumeClaim
	volume *corev1.PersistentVolume
}

// provision lets a provisioner make a volume that the node can reach.
type provision struct {
	claim *corev1.PersistentVolumeClaim
	// capacity is the record that says there is room; nil when nobody keeps records.
	capacity *storagev1.CSIStorageCapacity
}

// Why a node is refused; several may hold.
const (
	wrongNode = 1 << iota
	noVolume
	noSpace
	volumeGone
)

var bindingReasons = []string{
	"node(s) didn't match PersistentVolume's node affinity",
	"node(s) didn't find available persistent volumes to bind",
	"node(s) did not have enough free storage",
	"node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
}

// refuseBinding has the status for each set of reasons.
var refuseBinding = func() (out [16]*Status) {
	for set := 1; set < len(out); set++ {
		var reasons []string
		for i, r := range bindingReasons {
			if set&(1<<i) != 0 {
				reasons = append(reasons, r)
			}
		}
		out[set] = NewStatus(UnschedulableAndUnresolvable, reasons...)
	}
	return out
}()

// Filter implements FilterPlugin.
func (VolumeBinding) Filter(c *Cycle, state any, n *NodeInfo) *Status {
	_, status := state.(*bindingState).decide(c.Snapshot, n.Node)
	return status
}

// decide chooses volumes for the claims on a node, or says why the node won't do. It is a function of its
// arguments, so that filter, score and reservation come to the same result.
func (st *bindingState) decide(s *Snapshot, n *corev1.Node) (d podDecision, _ *Status) {
	refused, err := st.checkBound(s, n)
	if err != nil {
		return d, NewStatus(Error, err.Error())
	}
	for _, claim := range st.toldBefore {
		if claim.selected != n.Name {
			return d, refuseBinding[refused|noVolume]
		}
	}
	var rest []*delayedClaim
	if d.bindings, rest, err = st.findVolumes(n); err != nil {
		return d, NewStatus(Error, err.Error())
	}
	var why int
	d.provisions, why = st.provisions(rest, n)
	if refused |= why; refused != 0 {
		return podDecision{}, refuseBinding[refused]
	}
	return d, nil
}

// told tells whether a provisioner was given a node before.
func (d *delayedClaim) told() bool {
	_, ok := d.claim.Annotations[annSelectedNode]
	return ok
}

func (st *bindingState) checkBound(s *Snapshot, n *corev1.Node) (refused int, _ error) {
	for i, v := range st.bound {
		if v == nil {
			return volumeGone, nil
		}
		rule := st.rules[i]
		t, err := translated(v, s.csiNode(n.Name))
		if err != nil {
			return 0, err
		}
		if t != v {
			rule = nodeRuleOf(t)
		}
		if !rule.admits(n) {
			return wrongNode, nil
		}
	}
	return 0, nil
}

// findVolumes gives each claim the best volume that the node can reach, and returns the claims for which there
// is none.
func (st *bindingState) findVolumes(n *corev1.Node) (out []staticBinding, rest []*delayedClaim, _ error) {
	if st.hopeless {
		return nil, st.searched, nil
	}
	taken := func(v *corev1.PersistentVolume) bool {
		return slices.ContainsFunc(out, func(b staticBinding) bool { return b.volume == v })
	}
	for _, d := range st.searched {
		if d.err != nil {
			return nil, nil, d.err
		}
		if v := d.candidates.choose(n, taken); v != nil {
			out = append(out, staticBinding{d.claim, v})
		} else {
			rest = append(rest, d)
		}
	}
	return out, rest, nil
}

// provisions checks that volumes can be made: for the claims that a provisioner was told about before, and
// for the rest.
func (st *bindingState) provisions(rest []*delayedClaim, n *corev1.Node) (out []provision, refused int) {
	if len(st.toldBefore)+len(rest) == 0 {
		return nil, 0
	}
	for _, list := range [...][]*delayedClaim{st.toldBefore, rest} {
		for _, d := range list {
			p, why := d.provision(n)
			if why != 0 {
				return nil, why
			}
			out = append(out, p)
		}
	}
	return out, 0
}

func (d *delayedClaim) provision(n *corev1.Node) (p provision, refused int) {
	if d.class.Provisioner == "" || d.class.Provisioner == noProvisioner || !d.allowed.admit(n) {
		return p, noVolume
	}
	p.claim = d.claim
	if d.tracked {
		if p.capacity = capacityFor(n, d.size(), d.records); p.capacity == nil {
			return p, noSpace
		}
	}
	return p, 0
}

// PreScore implements PreScorePlugin. Where no claim waits for a node, all would get the same score.
func (p VolumeBinding) PreScore(c *Cycle, _ []*NodeInfo) (any, bool, error) {
	if c.Pod.volumes == nil || len(c.Pod.volumes.claims) == 0 {
		return nil, true, nil
	}
	if c.binding == nil || c.binding.snapshot != c.Snapshot {
		if _, status := p.PreFilter(c); status != nil {
			return nil, true, status.cause()
		}
	}
	return c.binding, len(c.binding.delayed) == 0, nil
}

// Score implements ScorePlugin.
func (VolumeBinding) Score(c *Cycle, state any, n *NodeInfo) (int64, error) {
	d, status := state.(*bindingState).decide(c.Snapshot, n.Node)
	if status != nil {
		return 0, status.cause()
	}
	return d.score(), nil
}

// utilization is the storage of one class.
type utilization struct{ requested, capacity int64 }

func (u utilization) score() int64 {
	if u.capacity == 0 || u.requested > u.capacity {
		return 0
	}
	return MaxNodeScore - u.requested*MaxNodeScore/u.capacity
}

// score is the mean over the classes: 100 where next to nothing would be used, 0 where all would be. Volumes
// that exist count before those that would be made.
func (d *podDecision) score() int64 {
	if !slices.ContainsFunc(d.provisions, func(p provision) bool { return p.capacity != nil }) && len(d.bindings) == 0 {
		return 0
	}
	classes := map[string]utilization{}
	for _, b := range d.bindings {
		u := classes[b.volume.Spec.StorageClassName]
		classes[b.volume.Spec.StorageClassName] = utilization{u.requested + bytesIn(b.claim.Spec.Resources.Requests), u.capacity + bytesIn(b.volume.Spec.Capacity)}
	}
	for _, p := range d.provisions {
		if len(d.bindings) > 0 || p.capacity == nil {
			continue
		}
		have := int64(0)
		if p.capacity.Capacity != nil {
			have = p.capacity.Capacity.Value()
		}
		class := claimClass(p.claim)
		classes[class] = utilization{classes[class].requested + bytesIn(p.claim.Spec.Resources.Requests), have}
	}
	var sum int64
	for _, u := range classes {
		sum += u.score()
	}
	return int64(math.Round(float64(sum) / float64(len(classes))))
}
