package scheduler_test

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/scheduler"
)

// compareWritten: what our plugins have reserved is what upstream's have written, to the last field. Then the
// PersistentVolume controller and a provisioner are played.
func (c *contest) compareWritten(after *scheduler.Snapshot, written []client.Object, node string) error {
	theirs := map[string]client.Object{}
	for _, obj := range written {
		theirs[describeKey(obj)] = obj
	}
	var changed []client.Object
	for _, before := range c.objects.all {
		var now client.Object
		switch before.(type) {
		case *corev1.PersistentVolume:
			now, _ = scheduler.Object[*corev1.PersistentVolume](after, "", before.GetName())
		case *corev1.PersistentVolumeClaim:
			now, _ = scheduler.Object[*corev1.PersistentVolumeClaim](after, before.GetNamespace(), before.GetName())
		default:
			continue
		}
		their, ok := theirs[describeKey(before)]
		if !ok {
			their = before // left alone
		}
		if !equality.Semantic.DeepEqual(now, their) {
			return fmt.Errorf("on %s we write %+v\nupstream %+v", node, now, their)
		}
		if !equality.Semantic.DeepEqual(before, now) {
			changed = append(changed, now)
		}
	}
	for _, obj := range changed {
		c.answer(obj, node)
	}
	return nil
}

func describeKey(obj client.Object) string {
	return fmt.Sprintf("%T %s/%s", obj, obj.GetNamespace(), obj.GetName())
}

// answer does what the cluster does about an object that the scheduler has written: mostly it binds, and
// sometimes it is slow.
func (c *contest) answer(obj client.Object, node string) {
	c.objects.set(obj)
	switch x := obj.(type) {
	case *corev1.PersistentVolume:
		c.covered["volumes"]++
		if c.g.chance(80) {
			c.bind(find[*corev1.PersistentVolumeClaim](c.objects, x.Spec.ClaimRef.Namespace, x.Spec.ClaimRef.Name), x)
		}
	case *corev1.PersistentVolumeClaim:
		c.covered["claims"]++
		if c.g.chance(80) {
			c.provision(x, node)
		}
	}
}

func (c *contest) bind(claim *corev1.PersistentVolumeClaim, v *corev1.PersistentVolume) {
	claim, v = claim.DeepCopy(), v.DeepCopy()
	claim.Spec.VolumeName, claim.Status.Phase = v.Name, corev1.ClaimBound
	claim.Annotations = maps.Clone(claim.Annotations)
	metav1.SetMetaDataAnnotation(&claim.ObjectMeta, "pv.kubernetes.io/bind-completed", "yes")
	v.Status.Phase = corev1.VolumeBound
	c.objects.set(claim)
	c.objects.set(v)
}

func (c *contest) provision(claim *corev1.PersistentVolumeClaim, node string) {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pvc-" + claim.Name, ResourceVersion: "1"}}
	v.Spec.StorageClassName, v.Spec.Capacity = *claim.Spec.StorageClassName, claim.Spec.Resources.Requests
	v.Spec.AccessModes = claim.Spec.AccessModes
	v.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: fastDriver, VolumeHandle: v.Name}
	v.Spec.ClaimRef = &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID}
	i := slices.IndexFunc(c.nodes, func(n *corev1.Node) bool { return n.Name == node })
	key := corev1.LabelTopologyZone
	zone, ok := c.nodes[i].Labels[key]
	if !ok {
		key, zone = corev1.LabelHostname, node
	}
	v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{zone}}}}}}}
	c.objects.all = append(c.objects.all, v)
	c.bind(claim, v)
}
