package apps

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Deployment returns the row of Deployment.
func Deployment() apiserver.Kind {
	k := newKind("Deployment", "deployments", "deployment", "deploy")
	k.Object, k.List = &appsv1.Deployment{}, &appsv1.DeploymentList{}
	k.StatusResets = []string{"metadata.labels"}
	k.Default = row.Of(defaultDeployment)
	k.Prepare = row.Pair(prepareDeployment)
	k.Validate = row.Check(validateDeployment)
	k.ValidateStatus = row.Check(validateDeploymentStatus)
	k.Warnings = row.Warn(func(o, old *appsv1.Deployment) []string {
		return warnings(o.Name, &o.Spec.Template, old == nil, old == nil || o.Generation != old.Generation)
	})
	k.Scale = &apiserver.Scale{
		Get: func(obj client.Object) (int32, int32, string) {
			o := obj.(*appsv1.Deployment)
			return ptr.Deref(o.Spec.Replicas, 1), o.Status.Replicas, selectorText(o.Spec.Selector)
		},
		Set: func(obj client.Object, replicas int32) { obj.(*appsv1.Deployment).Spec.Replicas = &replicas },
	}
	k.Columns = row.Columns("Name", "Ready", "Up-to-date", "Available", "Age", "Containers::wide", "Images::wide", "Selector::wide")
	k.Row = row.Cells(deploymentRow)
	return k
}

func defaultDeployment(o *appsv1.Deployment) {
	s := &o.Spec
	fill.Nil(&s.Replicas, 1)
	fill.Nil(&s.RevisionHistoryLimit, 10)
	fill.Nil(&s.ProgressDeadlineSeconds, 600)
	if s.Strategy.Type == "" {
		s.Strategy.Type = appsv1.RollingUpdateDeploymentStrategyType
	}
	if s.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
		fill.Nil(&s.Strategy.RollingUpdate, appsv1.RollingUpdateDeployment{})
		fill.Nil(&s.Strategy.RollingUpdate.MaxUnavailable, intstr.FromString("25%"))
		fill.Nil(&s.Strategy.RollingUpdate.MaxSurge, intstr.FromString("25%"))
	}
	podspec.Default(&s.Template.Spec)
}

func prepareDeployment(o, old *appsv1.Deployment) {
	podspec.DropDisabled(&o.Spec.Template.Spec)
	if r := o.Spec.Strategy.RollingUpdate; r != nil { // whatever the strategy
		fill.Nil(&r.MaxUnavailable, intstr.IntOrString{})
		fill.Nil(&r.MaxSurge, intstr.IntOrString{})
	}
	switch {
	case old == nil:
		o.Status = appsv1.DeploymentStatus{}
	case !apiequality.Semantic.DeepEqual(o.Annotations, old.Annotations):
		o.Generation = old.Generation + 1 // controllers copy them to ReplicaSets
	}
}

func deploymentRow(o *appsv1.Deployment, now time.Time) []any {
	names, images := row.Containers(o.Spec.Template.Spec.Containers)
	selector := "<invalid>"
	if sel, err := metav1.LabelSelectorAsSelector(o.Spec.Selector); err == nil {
		selector = sel.String()
	}
	return []any{o.Name, fmt.Sprintf("%d/%d", o.Status.ReadyReplicas, ptr.Deref(o.Spec.Replicas, 1)),
		int64(o.Status.UpdatedReplicas), int64(o.Status.AvailableReplicas), row.Age(o.CreationTimestamp, now),
		names, images, selector}
}
