package scheduler

import (
	"maps"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/inboard/inboard/apiserver/client"
)

// label is kube-scheduler's name of an event, as its metrics have it. Where it tells of one change as several events
// this is the first one that is named there.
func (e *Event) label() string {
	switch e.Kind {
	case NodeAdded:
		return "NodeAdd"
	case NodeRemoved:
		return "NodeDelete"
	case NodeUpdated:
		return "Node" + nodeChange(e.OldNode, e.Node)
	case PodAssigned:
		return "AssignedPodAdd"
	case PodRemoved:
		return "AssignedPodDelete"
	case PodUpdated:
		if !maps.Equal(e.OldPod.Pod.Labels, e.Pod.Pod.Labels) {
			return "AssignedPodUpdatePodLabel"
		}
		return "AssignedPodUpdate"
	case NamespaceUpdated:
		return "NamespaceUpdate"
	case ObjectAdded:
		return resourceOf(e.Object) + "Add"
	case ObjectUpdated:
		return resourceOf(e.Object) + "Update"
	}
	return resourceOf(e.OldObject) + "Delete"
}

func nodeChange(old, now *corev1.Node) string {
	conditions := func(n *corev1.Node) map[corev1.NodeConditionType]corev1.ConditionStatus {
		out := map[corev1.NodeConditionType]corev1.ConditionStatus{}
		for i := range n.Status.Conditions {
			out[n.Status.Conditions[i].Type] = n.Status.Conditions[i].Status
		}
		return out
	}
	switch {
	case old.Spec.Unschedulable && !now.Spec.Unschedulable:
		return "UpdateNodeTaint"
	case !equality.Semantic.DeepEqual(old.Status.Allocatable, now.Status.Allocatable):
		return "UpdateNodeAllocatable"
	case !maps.Equal(old.Labels, now.Labels):
		return "UpdateNodeLabel"
	case !equality.Semantic.DeepEqual(old.Spec.Taints, now.Spec.Taints):
		return "UpdateNodeTaint"
	case !maps.Equal(conditions(old), conditions(now)):
		return "UpdateNodeCondition"
	case !maps.Equal(old.Annotations, now.Annotations):
		return "UpdateNodeAnnotation"
	case !reflect.DeepEqual(old.Status.DeclaredFeatures, now.Status.DeclaredFeatures):
		return "UpdateNodeDeclaredFeature"
	}
	return "Update"
}

// resourceOf is the kind of an object, with its group where kube-scheduler names that.
func resourceOf(obj client.Object) string {
	name := reflect.TypeOf(obj).Elem().Name()
	switch obj.(type) {
	case *storagev1.StorageClass, *storagev1.CSINode, *storagev1.CSIDriver, *storagev1.CSIStorageCapacity, *storagev1.VolumeAttachment:
		return "storage.k8s.io/" + name
	case *schedulingv1beta1.PodGroup:
		return "scheduling.k8s.io/" + name
	}
	return name
}
