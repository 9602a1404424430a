package apps

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// ReplicaSet returns the row of ReplicaSet.
func ReplicaSet() apiserver.Kind {
	k := newKind("ReplicaSet", "replicasets", "replicaset", "rs")
	k.Object, k.List = &appsv1.ReplicaSet{}, &appsv1.ReplicaSetList{}
	k.Default = row.Of(defaultReplicaSet)
	k.Prepare = row.Pair(prepareReplicaSet)
	k.Validate = row.Check(validateReplicaSet)
	k.ValidateStatus = row.Check(validateReplicaSetStatus)
	k.Warnings = row.Warn(func(o, old *appsv1.ReplicaSet) []string {
		return warnings(o.Name, &o.Spec.Template, old == nil, old == nil || o.Generation != old.Generation)
	})
	k.Scale = &apiserver.Scale{
		Get: func(obj client.Object) (int32, int32, string) {
			o := obj.(*appsv1.ReplicaSet)
			return ptr.Deref(o.Spec.Replicas, 1), o.Status.Replicas, selectorText(o.Spec.Selector)
		},
		Set: func(obj client.Object, replicas int32) { obj.(*appsv1.ReplicaSet).Spec.Replicas = &replicas },
	}
	k.Columns = row.Columns("Name", "Desired:integer", "Current:integer", "Ready:integer", "Age",
		"Containers::wide", "Images::wide", "Selector::wide")
	k.Row = row.Cells(replicaSetRow)
	return k
}

func defaultReplicaSet(o *appsv1.ReplicaSet) {
	fill.Nil(&o.Spec.Replicas, 1)
	podspec.Default(&o.Spec.Template.Spec)
}

func prepareReplicaSet(o, old *appsv1.ReplicaSet) {
	podspec.DropDisabled(&o.Spec.Template.Spec)
	if old == nil {
		o.Status = appsv1.ReplicaSetStatus{}
	}
}

func replicaSetRow(o *appsv1.ReplicaSet, now time.Time) []any {
	names, images := row.Containers(o.Spec.Template.Spec.Containers)
	return []any{o.Name, int64(ptr.Deref(o.Spec.Replicas, 1)), int64(o.Status.Replicas), int64(o.Status.ReadyReplicas),
		row.Age(o.CreationTimestamp, now), names, images, metav1.FormatLabelSelector(o.Spec.Selector)}
}
