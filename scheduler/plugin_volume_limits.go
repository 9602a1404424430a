package scheduler

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/component-helpers/storage/ephemeral"

	"github.com/inboard/inboard/apiserver/client"
)

// NodeVolumeLimits admits nodes to which the volumes of the pod can still be attached, by the limits that CSI
// drivers declare in the node's CSINode, and where a driver runs that wants to be there first.
// https://kubernetes.io/docs/concepts/storage/storage-limits/
type NodeVolumeLimits struct{}

var refuseVolumeLimit = NewStatus(Unschedulable, "node(s) exceed max volume count")

// limitsState is what the pod would attach.
type limitsState struct {
	// onCSI is for nodes that have a CSINode, plain for those that have none: there in-tree volumes
	// are not the affair of a CSI driver.
	onCSI, plain newAttachments
}

type newAttachments struct {
	volumes map[attachment]bool
	// drivers are those of the volumes, sorted.
	drivers []string
	// refused is for all nodes when the volumes can't be told.
	refused *Status
}

// Name implements Plugin.
func (NodeVolumeLimits) Name() string { return NameNodeVolumeLimits }

// PreFilter implements PreFilterPlugin.
func (NodeVolumeLimits) PreFilter(c *Cycle) (PreFilterResult, *Status) {
	v := c.Pod.volumes
	if v == nil || len(v.claims)+len(v.inline) == 0 {
		return PreFilterResult{Skip: true}, nil
	}
	return PreFilterResult{State: &limitsState{newAttachmentsOf(c, true), newAttachmentsOf(c, false)}}, nil
}

func newAttachmentsOf(c *Cycle, csiNode bool) (out newAttachments) {
	out.volumes = map[attachment]bool{}
	out.refused = addAttachments(c.Snapshot, c.Pod, csiNode, true, out.volumes)
	for a := range out.volumes {
		if !slices.Contains(out.drivers, a.driver) {
			out.drivers = append(out.drivers, a.driver)
		}
	}
	slices.Sort(out.drivers)
	return out
}

// addAttachments adds the volumes of a pod that a CSI driver attaches. A claim that is missing counts only
// against a pod that is waiting.
func addAttachments(s *Snapshot, p *PodInfo, csiNode, waiting bool, to map[attachment]bool) *Status {
	for _, v := range p.volumes.inline {
		a, ok, err := attachmentOfInline(v, p.Pod.Namespace, csiNode)
		if err != nil {
			return NewStatus(Error, err.Error())
		}
		if ok {
			to[a] = true
		}
	}
	for _, claim := range p.volumes.claims {
		if claim.name == "" {
			return NewStatus(Error, "PersistentVolumeClaim had no name")
		}
		pvc := s.claim(p.Pod.Namespace, claim.name)
		if pvc == nil {
			if !waiting {
				continue
			}
			return NewStatus(UnschedulableAndUnresolvable,
				fmt.Sprintf("looking up PVC %s/%s: persistentvolumeclaim %q not found", p.Pod.Namespace, claim.name, claim.name))
		}
		if claim.ephemeral {
			if err := ephemeral.VolumeIsForPod(p.Pod, pvc); err != nil {
				return NewStatus(Error, err.Error())
			}
		}
		if a, ok := attachmentOfClaim(s, pvc, csiNode); ok {
			to[a] = true
		}
	}
	return nil
}

// attachmentOfClaim returns what a claim's volume is called or, when it has none yet, a name that only this
// claim has.
func attachmentOfClaim(s *Snapshot, c *corev1.PersistentVolumeClaim, csiNode bool) (attachment, bool) {
	if v := s.volume(c.Spec.VolumeName); v != nil {
		return attachmentOfVolume(v, csiNode)
	}
	class := s.storageClass(claimClass(c))
	if class == nil {
		return attachment{}, false
	}
	driver, ok := provisionerDriver(class.Provisioner, csiNode)
	return attachment{driver, "\x00" + c.Namespace + "/" + c.Name}, ok
}

// Filter implements FilterPlugin.
func (NodeVolumeLimits) Filter(c *Cycle, state any, n *NodeInfo) *Status {
	node := c.Snapshot.csiNode(n.Node.Name)
	wanted := &state.(*limitsState).plain
	if node != nil {
		wanted = &state.(*limitsState).onCSI
	}
	if wanted.refused != nil || len(wanted.volumes) == 0 {
		return wanted.refused
	}
	for _, d := range wanted.drivers {
		if status := driverMissing(c.Snapshot, d, node); status != nil {
			return status
		}
	}
	limits := volumeLimits(node)
	if len(limits) == 0 {
		return nil
	}
	attached, status := attachedTo(c.Snapshot, n, node)
	if status != nil {
		return status
	}
	return overLimit(limits, wanted.volumes, attached, attachmentsOf(c.Snapshot, n.Node.Name))
}

// driverMissing refuses a node without a driver that asks for pods to be kept off such nodes.
func driverMissing(s *Snapshot, driver string, node *storagev1.CSINode) *Status {
	if d := s.csiDriver(driver); d == nil || !valueOf(d.Spec.PreventPodSchedulingIfMissing) || runsDriver(node, driver) {
		return nil
	}
	return NewStatus(Unschedulable, driver+" CSI driver is not installed on the node")
}

func runsDriver(node *storagev1.CSINode, driver string) bool {
	return node != nil && slices.ContainsFunc(node.Spec.Drivers, func(d storagev1.CSINodeDriver) bool { return d.Name == driver })
}

// volumeLimits returns how many volumes each driver can attach to a node; one that is not there has no limit.
func volumeLimits(node *storagev1.CSINode) map[string]int {
	out := map[string]int{}
	if node == nil {
		return out
	}
	for i := range node.Spec.Drivers {
		if a := node.Spec.Drivers[i].Allocatable; a != nil && a.Count != nil {
			out[node.Spec.Drivers[i].Name] = int(*a.Count)
		}
	}
	return out
}

// attachedTo returns the volumes of the pods on a node.
func attachedTo(s *Snapshot, n *NodeInfo, node *storagev1.CSINode) (map[attachment]bool, *Status) {
	out := map[attachment]bool{}
	for _, p := range n.withVolumes {
		if status := addAttachments(s, p, node != nil, false, out); status != nil {
			return nil, NewStatus(Error, status.Reasons...)
		}
	}
	return out, nil
}

// attachmentsOf returns the volumes that are said to be attached to a node, whoever uses them.
func attachmentsOf(s *Snapshot, node string) map[attachment]bool {
	out := map[attachment]bool{}
	for _, a := range s.volumeAttachments(node) {
		if a.Spec.Attacher == "" || a.Spec.Source.PersistentVolumeName == nil {
			continue
		}
		if v := s.volume(*a.Spec.Source.PersistentVolumeName); v != nil && v.Spec.CSI != nil {
			out[attachment{a.Spec.Attacher, v.Spec.CSI.VolumeHandle}] = true
		}
	}
	return out
}

// overLimit counts a volume of several pods once, and one that is still attached after its pod has gone.
func overLimit(limits map[string]int, wanted, used, attached map[attachment]bool) *Status {
	count, more := map[string]int{}, map[string]int{}
	for a := range used {
		count[a.driver]++
	}
	for a := range attached {
		if !used[a] {
			count[a.driver]++
		}
	}
	for a := range wanted {
		if !used[a] {
			more[a.driver]++
		}
	}
	for driver, n := range more {
		if limit, ok := limits[driver]; ok && count[driver]+n > limit {
			return refuseVolumeLimit
		}
	}
	return nil
}

// Helps implements EventHinter.
func (NodeVolumeLimits) Helps(pod *PodInfo, e *Event) bool {
	switch e.Kind {
	case NodeAdded:
		return true
	case PodRemoved:
		return e.Pod.volumes != nil && len(e.Pod.volumes.claims)+len(e.Pod.volumes.inline) > 0
	}
	old := e.OldObject
	switch now := e.Object.(type) {
	case *storagev1.CSINode:
		was, ok := old.(*storagev1.CSINode)
		return !ok || limitsGrew(was, now)
	case *storagev1.CSIDriver, *storagev1.StorageClass:
		return true
	case *corev1.PersistentVolume:
		return old == nil // it tells what a volume counts for that was only known by its claim
	case *corev1.PersistentVolumeClaim:
		was, ok := old.(*corev1.PersistentVolumeClaim)
		return pod.volumes.names(now, pod.Pod) || ok && was.Spec.VolumeName != now.Spec.VolumeName
	case nil:
		return removed(old)
	}
	return false
}

// removed tells whether a volume less may count, or a limit less, without the object.
func removed(obj client.Object) bool {
	switch obj.(type) {
	case *storagev1.CSINode, *storagev1.CSIDriver, *storagev1.VolumeAttachment, *storagev1.StorageClass,
		*corev1.PersistentVolume, *corev1.PersistentVolumeClaim:
		return true
	}
	return false
}

// limitsGrew tells whether a driver came, can attach more than before, or no longer has a limit.
func limitsGrew(old, now *storagev1.CSINode) bool {
	for i := range now.Spec.Drivers {
		if !runsDriver(old, now.Spec.Drivers[i].Name) {
			return true
		}
	}
	before, after := volumeLimits(old), volumeLimits(now)
	for driver, limit := range before {
		if n, ok := after[driver]; !ok || n > limit {
			return true
		}
	}
	return false
}
