package core_test

import (
	"context"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/core"
)

func bind(pod *corev1.Pod, b *corev1.Binding) error {
	_, err := core.Pod().Subresources["binding"].Create(context.Background(), apiserver.SubresourceRequest{
		Ref:  client.Ref{Namespace: "default", Name: "web", Subresource: "binding"},
		Body: b,
		Mutate: func(_ context.Context, change func(client.Object) error) (client.Object, error) {
			return pod, change(pod)
		},
	})
	return err
}

func binding(node string) *corev1.Binding {
	return &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{"a": "b"}},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}
}

func TestBind(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Status: corev1.PodStatus{NominatedNodeName: "n9"}}
	if err := bind(pod, binding("n1")); err != nil {
		t.Fatal(err)
	}
	c := pod.Status.Conditions
	if pod.Spec.NodeName != "n1" || pod.Annotations["a"] != "b" || pod.Status.NominatedNodeName != "" ||
		len(c) != 1 || c[0].Type != corev1.PodScheduled || c[0].Status != corev1.ConditionTrue {
		t.Errorf("bound: %+v", pod)
	}
	err := bind(pod, binding("n2"))
	const want = `Operation cannot be fulfilled on pods/binding "web": pod web is already assigned to node "n1"`
	if !apierrors.IsConflict(err) || err.Error() != want {
		t.Errorf("bound twice: %v", err)
	}
}

// TestBindingLeavesTheStoredPodAlone: what a binding changes is a copy, though not a deep one.
func TestBindingLeavesTheStoredPodAlone(t *testing.T) {
	stored := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Labels: map[string]string{"a": "1"}, Annotations: map[string]string{"a": "1"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}},
		Status: corev1.PodStatus{NominatedNodeName: "n9", Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no room"}}},
	}
	before := stored.DeepCopy()
	pod := core.Pod().Subresources["binding"].Copy(stored).(*corev1.Pod)
	b := binding("n1")
	b.Labels = map[string]string{"a": "2"}
	b.Annotations["a"] = "2"
	if err := bind(pod, b); err != nil {
		t.Fatal(err)
	}
	if pod.Spec.NodeName != "n1" || pod.Labels["a"] != "2" || pod.Annotations["a"] != "2" || pod.Status.Conditions[0].Status != corev1.ConditionTrue {
		t.Errorf("bound: %+v", pod)
	}
	if !reflect.DeepEqual(stored, before) {
		t.Errorf("the stored pod became %+v", stored)
	}
}

func TestBindRefusals(t *testing.T) {
	now := metav1.Now()
	for name, c := range map[string]struct {
		pod corev1.Pod
		b   *corev1.Binding
		is  func(error) bool
	}{
		"gated":      {corev1.Pod{Spec: corev1.PodSpec{SchedulingGates: []corev1.PodSchedulingGate{{Name: "wait"}}}}, binding("n1"), apierrors.IsConflict},
		"leaving":    {corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}}, binding("n1"), apierrors.IsConflict},
		"other uid":  {corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "1"}}, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "2"}, Target: corev1.ObjectReference{Name: "n1"}}, apierrors.IsConflict},
		"no node":    {corev1.Pod{}, binding(""), apierrors.IsInvalid},
		"other name": {corev1.Pod{}, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "db"}}, apierrors.IsBadRequest},
	} {
		if err := bind(&c.pod, c.b); !c.is(err) || c.pod.Spec.NodeName != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
