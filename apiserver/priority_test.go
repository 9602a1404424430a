package apiserver_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

func TestPriorityClasses(t *testing.T) {
	s := newServer(t)
	runServer(t, s)
	c := s.Client(admin)
	classes, pods := client.For[*schedulingv1.PriorityClass](c), client.For[*corev1.Pod](c)
	groups := client.For[*schedulingv1beta1.PodGroup](c)

	system, err := classes.Get(t.Context(), "", "system-node-critical")
	if err != nil || system.Value != 2_000_001_000 {
		t.Fatalf("the system's class: %v, %v", system, err)
	}
	if err := classes.Delete(t.Context(), "", "system-node-critical", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("deleting the system's class: %v", err)
	}

	usual := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "usual"}, Value: 7, GlobalDefault: true}
	if usual, err = classes.Create(t.Context(), usual); err != nil {
		t.Fatal(err)
	}
	second := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "second"}, Value: 8, GlobalDefault: true}
	if _, err := classes.Create(t.Context(), second); !apierrors.IsForbidden(err) {
		t.Errorf("a second default: %v", err)
	}
	usual.Description = "a default may be changed"
	if _, err := classes.Update(t.Context(), usual); err != nil {
		t.Errorf("changing the default: %v", err)
	}

	for name, want := range map[string]int32{"": 7, "system-cluster-critical": 2_000_000_000} {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "p-", Namespace: "default"},
			Spec:       corev1.PodSpec{PriorityClassName: name, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		}
		pod, err := pods.Create(t.Context(), pod)
		if err != nil {
			t.Fatal(err)
		}
		if *pod.Spec.Priority != want || pod.Spec.PriorityClassName == "" {
			t.Errorf("class %q: priority %d of class %q", name, *pod.Spec.Priority, pod.Spec.PriorityClassName)
		}
	}

	group := &schedulingv1beta1.PodGroup{ObjectMeta: metav1.ObjectMeta{Name: "g", Namespace: "default"},
		Spec: schedulingv1beta1.PodGroupSpec{SchedulingPolicy: schedulingv1beta1.PodGroupSchedulingPolicy{
			Gang: &schedulingv1beta1.GangSchedulingPolicy{MinCount: 2}}}}
	if group, err = groups.Create(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	if *group.Spec.Priority != 7 || group.Spec.PriorityClassName != "usual" {
		t.Errorf("the group is %+v", group.Spec)
	}
	group.Name, group.ResourceVersion, group.Spec.Priority = "other", "", new(int32)
	if _, err := groups.Create(t.Context(), group); !apierrors.IsForbidden(err) {
		t.Errorf("a group with another priority than its class's: %v", err)
	}
}

// Of several who make the default class at the same moment one does, whichever server they ask.
func TestOneDefaultPriorityClass(t *testing.T) {
	first, st := openServer(t)
	second := newServer(t, func(c *apiserver.Config) { c.Store = st })
	servers := []client.Typed[*schedulingv1.PriorityClass]{
		client.For[*schedulingv1.PriorityClass](first.Client(admin)), client.For[*schedulingv1.PriorityClass](second.Client(admin))}
	for round := range 20 {
		var there []*schedulingv1.PriorityClass // which become the default only later
		for i := range 2 {
			class, err := servers[0].Create(t.Context(), plainClass(round, i))
			if err != nil {
				t.Fatal(err)
			}
			there = append(there, class)
		}
		made := atOnce(t, 6, apierrors.IsForbidden, func(i int) error {
			class, write := plainClass(round, i), servers[i%2].Create
			if i < len(there) {
				class, write = there[i], servers[i%2].Update
			}
			class.GlobalDefault = true
			_, err := write(t.Context(), class)
			return err
		})
		list, err := servers[0].List(t.Context(), "", metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var defaults []string
		for _, class := range list.Items {
			if class.GlobalDefault {
				defaults = append(defaults, class.Name)
			}
		}
		if made != 1 || len(defaults) != 1 {
			t.Fatalf("round %d: %d writers were told that theirs is the default; %v are", round, made, defaults)
		}
		// The next round can have one when this one is gone.
		if err := servers[1].Delete(t.Context(), "", defaults[0], metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func plainClass(round, i int) *schedulingv1.PriorityClass {
	return &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("class-%d-%d", round, i)}, Value: 7}
}
