package scheduler

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// VolumeRestrictions keeps pods apart that may not share a volume: on one node those that use the same disk of
// an in-tree kind, and in the whole cluster those that use the same claim of access mode ReadWriteOncePod.
// https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes
type VolumeRestrictions struct{}

var (
	refuseDisk = NewStatus(Unschedulable, "node(s) had no available disk")
	refuseRWOP = NewStatus(Unschedulable, "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod")
)

// Name implements Plugin.
func (VolumeRestrictions) Name() string { return NameVolumeRestrictions }

// PreFilter implements PreFilterPlugin. Its state tells whether a claim of the pod is taken.
func (VolumeRestrictions) PreFilter(c *Cycle) (PreFilterResult, *Status) {
	v := c.Pod.volumes
	if v == nil {
		return PreFilterResult{Skip: true}, nil
	}
	taken := false
	for _, claim := range v.claims {
		if claim.ephemeral {
			continue // made for this pod alone
		}
		pvc := c.Snapshot.claim(c.Pod.Pod.Namespace, claim.name)
		if pvc == nil {
			return PreFilterResult{}, notFound("persistentvolumeclaim", claim.name)
		}
		if slices.Contains(pvc.Spec.AccessModes, corev1.ReadWriteOncePod) && claimInUse(c.Snapshot, pvc) {
			taken = true
		}
	}
	return PreFilterResult{State: taken, Skip: !taken && len(v.disks) == 0}, nil
}

// claimInUse tells whether a pod on any node uses the claim.
func claimInUse(s *Snapshot, c *corev1.PersistentVolumeClaim) bool {
	for n := range s.Nodes() {
		for _, p := range n.withVolumes {
			if p.Pod.Namespace == c.Namespace && p.volumes.uses(c.Name) {
				return true
			}
		}
	}
	return false
}

// Filter implements FilterPlugin.
func (VolumeRestrictions) Filter(c *Cycle, state any, n *NodeInfo) *Status {
	for _, p := range n.withVolumes {
		if disksClash(c.Pod.volumes, p.volumes) {
			return refuseDisk
		}
	}
	if state.(bool) {
		return refuseRWOP
	}
	return nil
}

func disksClash(a, b *podVolumes) bool {
	if a == nil || b == nil {
		return false
	}
	for _, x := range a.disks {
		if slices.ContainsFunc(b.disks, func(y *corev1.Volume) bool { return sameDisk(x, y) }) {
			return true
		}
	}
	return false
}

// sameDisk tells whether two volumes are one disk and at least one of them is written to; an EBS volume can't
// be shared for reading either.
func sameDisk(a, b *corev1.Volume) bool {
	if x, y := a.GCEPersistentDisk, b.GCEPersistentDisk; x != nil && y != nil {
		return x.PDName == y.PDName && !(x.ReadOnly && y.ReadOnly)
	}
	if x, y := a.AWSElasticBlockStore, b.AWSElasticBlockStore; x != nil && y != nil {
		return x.VolumeID == y.VolumeID
	}
	if x, y := a.ISCSI, b.ISCSI; x != nil && y != nil {
		return x.IQN == y.IQN && !(x.ReadOnly && y.ReadOnly)
	}
	if x, y := a.RBD, b.RBD; x != nil && y != nil {
		monitor := slices.ContainsFunc(x.CephMonitors, func(m string) bool { return slices.Contains(y.CephMonitors, m) })
		return monitor && x.RBDPool == y.RBDPool && x.RBDImage == y.RBDImage && !(x.ReadOnly && y.ReadOnly)
	}
	return false
}

// Helps implements EventHinter.
func (VolumeRestrictions) Helps(pod *PodInfo, e *Event) bool {
	switch e.Kind {
	case NodeAdded:
		return true
	case NodeRemoved: // and with it its pods
		return pod.volumes != nil && len(pod.volumes.claims) > 0
	case PodRemoved:
		return disksClash(pod.volumes, e.Pod.volumes) || e.Pod.Pod.Namespace == pod.Pod.Namespace && shareClaim(pod.volumes, e.Pod.volumes)
	}
	claim, added := addedObject[*corev1.PersistentVolumeClaim](e)
	return added && pod.volumes.names(claim, pod.Pod)
}

// shareClaim tells whether two pods of a namespace use one claim.
func shareClaim(a, b *podVolumes) bool {
	return a != nil && b != nil && slices.ContainsFunc(a.claims, func(c podClaim) bool { return !c.ephemeral && b.uses(c.name) })
}
