package scheduler

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// VolumeZone admits the nodes that are in the zone and region that the labels of the pod's volumes name. It is
// for volumes that have no node affinity.
// https://kubernetes.io/docs/reference/labels-annotations-taints/#topologykubernetesiozone
type VolumeZone struct{}

var refuseZone = NewStatus(UnschedulableAndUnresolvable, "node(s) had no available volume zone")

// topologyLabels are the labels of volumes and nodes, with the beta names that they had once.
var topologyLabels = []string{
	corev1.LabelFailureDomainBetaZone, corev1.LabelFailureDomainBetaRegion, corev1.LabelTopologyZone, corev1.LabelTopologyRegion,
}

var newerLabel = map[string]string{
	corev1.LabelFailureDomainBetaZone:   corev1.LabelTopologyZone,
	corev1.LabelFailureDomainBetaRegion: corev1.LabelTopologyRegion,
}

// volumeTopology says that a node must have one of the values for the label.
type volumeTopology struct {
	key    string
	values []string
}

func topologiesOf(v *corev1.PersistentVolume) (out []volumeTopology) {
	for _, key := range topologyLabels {
		if values := zonesOf(v.Labels[key]); values != nil {
			out = append(out, volumeTopology{key, values})
		}
	}
	return out
}

func (t *volumeTopology) admits(n *corev1.Node) bool {
	v, ok := n.Labels[t.key]
	if !ok {
		v, ok = n.Labels[newerLabel[t.key]]
	}
	return ok && slices.Contains(t.values, v)
}

// Name implements Plugin.
func (VolumeZone) Name() string { return NameVolumeZone }

// PreFilter implements PreFilterPlugin.
func (VolumeZone) PreFilter(c *Cycle) (PreFilterResult, *Status) {
	if c.Pod.volumes == nil {
		return PreFilterResult{Skip: true}, nil
	}
	var out []volumeTopology
	for _, claim := range c.Pod.volumes.claims {
		if claim.ephemeral {
			continue
		}
		volume, status := volumeOfClaim(c, claim.name)
		if status != nil {
			return PreFilterResult{}, status
		}
		if volume != nil {
			out = append(out, topologiesOf(volume)...)
		}
	}
	return PreFilterResult{State: out, Skip: len(out) == 0}, nil
}

// volumeOfClaim returns nil for a claim that gets its volume once the pod has a node.
func volumeOfClaim(c *Cycle, name string) (*corev1.PersistentVolume, *Status) {
	refuse := func(reason string) (*corev1.PersistentVolume, *Status) {
		return nil, NewStatus(UnschedulableAndUnresolvable, reason)
	}
	if name == "" {
		return refuse("PersistentVolumeClaim had no name")
	}
	claim := c.Snapshot.claim(c.Pod.Pod.Namespace, name)
	if claim == nil {
		return nil, notFound("persistentvolumeclaim", name)
	}
	if claim.Spec.VolumeName != "" {
		if v := c.Snapshot.volume(claim.Spec.VolumeName); v != nil {
			return v, nil
		}
		return nil, notFound("persistentvolume", claim.Spec.VolumeName)
	}
	className := claimClass(claim)
	if className == "" {
		return refuse("PersistentVolumeClaim had no pv name and storageClass name")
	}
	class := c.Snapshot.storageClass(className)
	switch {
	case class == nil:
		return nil, notFound("storageclass.storage.k8s.io", className)
	case class.VolumeBindingMode == nil:
		return refuse(fmt.Sprintf("VolumeBindingMode not set for StorageClass %q", className))
	case *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer:
		return nil, nil
	}
	return refuse("PersistentVolume had no name")
}

// notFound is the refusal of a pod that needs an object that isn't there.
func notFound(resource, name string) *Status {
	return NewStatus(UnschedulableAndUnresolvable, fmt.Sprintf("%s %q not found", resource, name))
}

// Filter implements FilterPlugin. A node without any of the labels may be in a cluster of one zone.
func (VolumeZone) Filter(_ *Cycle, state any, n *NodeInfo) *Status {
	labelled := func(key string) bool { _, ok := n.Node.Labels[key]; return ok }
	if !slices.ContainsFunc(topologyLabels, labelled) {
		return nil
	}
	topologies := state.([]volumeTopology)
	for i := range topologies {
		if !topologies[i].admits(n.Node) {
			return refuseZone
		}
	}
	return nil
}

// Helps implements EventHinter.
func (VolumeZone) Helps(pod *PodInfo, e *Event) bool {
	switch e.Kind {
	case NodeAdded:
		return true
	case NodeUpdated:
		return !sameLabels(e.OldNode.Labels, e.Node.Labels)
	}
	if old, now, ok := changedObject[*corev1.PersistentVolume](e); ok {
		return old == nil || !maps.EqualFunc(old.Labels, now.Labels, func(a, b string) bool { return a == b })
	}
	if class, added := addedObject[*storagev1.StorageClass](e); added {
		return valueOf(class.VolumeBindingMode) == storagev1.VolumeBindingWaitForFirstConsumer
	}
	_, claim, ok := changedObject[*corev1.PersistentVolumeClaim](e)
	return ok && pod.volumes.names(claim, pod.Pod)
}
