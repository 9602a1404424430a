package scheduler

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/storage/ephemeral"
)

// podVolumes is what the volume plugins read of a pod's volumes; most pods have nothing of it.
type podVolumes struct {
	// claims are the PersistentVolumeClaims of the pod, in the order of its volumes.
	claims []podClaim
	// disks are volumes of the kinds that two pods of a node may not share.
	disks []*corev1.Volume
	// inline are volumes of in-tree kinds that a CSI driver serves today.
	inline []*corev1.Volume
}

// podClaim names a claim in the pod's namespace.
type podClaim struct {
	name string
	// ephemeral claims are made for the pod and belong to it.
	ephemeral bool
}

// volumesOf returns nil for a pod that needs none of the volume plugins.
func volumesOf(pod *corev1.Pod) *podVolumes {
	var out podVolumes
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		switch {
		case v.PersistentVolumeClaim != nil:
			out.claims = append(out.claims, podClaim{name: v.PersistentVolumeClaim.ClaimName})
			continue
		case v.Ephemeral != nil:
			out.claims = append(out.claims, podClaim{ephemeral.VolumeClaimName(pod, v), true})
			continue
		}
		if v.GCEPersistentDisk != nil || v.AWSElasticBlockStore != nil || v.RBD != nil || v.ISCSI != nil {
			out.disks = append(out.disks, v)
		}
		if inlineMigratable(v) {
			out.inline = append(out.inline, v)
		}
	}
	if len(out.claims)+len(out.disks)+len(out.inline) == 0 {
		return nil
	}
	return &out
}

// uses tells whether a pod uses the named claim of its namespace; ephemeral ones aside.
func (v *podVolumes) uses(claim string) bool {
	return v != nil && slices.Contains(v.claims, podClaim{name: claim})
}

// names tells whether the claim is one of the pod's, be it ephemeral or not.
func (v *podVolumes) names(claim *corev1.PersistentVolumeClaim, pod *corev1.Pod) bool {
	return v != nil && claim.Namespace == pod.Namespace &&
		slices.ContainsFunc(v.claims, func(c podClaim) bool { return c.name == claim.Name })
}
