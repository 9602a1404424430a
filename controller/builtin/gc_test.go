package builtin_test

import (
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
)

func configMap(name string, owners ...metav1.OwnerReference) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, OwnerReferences: owners}}
}

func ownedBy(o *corev1.ConfigMap, block bool) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: o.Name, UID: o.UID, BlockOwnerDeletion: &block}
}

// add creates a config map and returns it as stored.
func (w *world) add(name string, owners ...metav1.OwnerReference) *corev1.ConfigMap {
	w.Helper()
	cm, err := client.For[*corev1.ConfigMap](w.c).Create(w.ctx, configMap(name, owners...))
	if err != nil {
		w.Fatal(err)
	}
	return cm
}

func (w *world) gone(name string) {
	w.Helper()
	eventually[*corev1.ConfigMap](w, name+" gone", func() bool {
		_, err := client.For[*corev1.ConfigMap](w.c).Get(w.ctx, "default", name)
		return apierrors.IsNotFound(err)
	})
}

// settle gives the collector a task and waits until it is done: what it was given before is, then,
// under way at least.
func (w *world) settle(n int) {
	w.Helper()
	name := fmt.Sprint("marker-", n)
	w.add(name, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "nobody", UID: types.UID(name)})
	w.gone(name)
}

func (w *world) owners(name string) []string {
	w.Helper()
	cm, err := client.For[*corev1.ConfigMap](w.c).Get(w.ctx, "default", name)
	if err != nil {
		w.Fatal(err)
	}
	var out []string
	for _, ref := range cm.OwnerReferences {
		out = append(out, ref.Name)
	}
	return out
}

func TestDependentsGoInTheBackground(t *testing.T) {
	w := newWorld(t, nil)
	a := w.add("a")
	b := w.add("b", ownedBy(a, true))
	w.add("c", ownedBy(b, false))
	w.delete(a, metav1.DeletePropagationBackground)
	w.gone("b")
	w.gone("c")
}

func TestOneOwnerOfTwoKeeps(t *testing.T) {
	w := newWorld(t, nil)
	a, b := w.add("a"), w.add("b")
	w.add("c", ownedBy(a, true), ownedBy(b, true))
	w.delete(a, metav1.DeletePropagationBackground)
	eventually[*corev1.ConfigMap](w, "the reference to a gone", func() bool { return slices.Equal(w.owners("c"), []string{"b"}) })
	w.delete(b, metav1.DeletePropagationBackground)
	w.gone("c")
}

func TestAnotherOfTheNameIsNoOwner(t *testing.T) {
	w := newWorld(t, nil)
	a := w.add("a")
	ref := ownedBy(a, true)
	ref.UID = "of-an-earlier-a"
	w.add("b", ref)
	w.gone("b")
	if w.owners("a") != nil {
		t.Error("a has owners")
	}
}

func TestOrphansStay(t *testing.T) {
	w := newWorld(t, nil)
	a := w.add("a")
	w.add("b", ownedBy(a, true))
	w.delete(a, metav1.DeletePropagationOrphan)
	w.gone("a")
	w.settle(1)
	if got := w.owners("b"); len(got) != 0 {
		t.Errorf("b has owners %v", got)
	}
}

func TestForegroundDeletesTheOwnerLast(t *testing.T) {
	w := newWorld(t, nil)
	a := w.add("a")
	held := configMap("b", ownedBy(a, true))
	held.Finalizers = []string{"example.com/hold"}
	w.create(held)
	w.add("c", ownedBy(a, false))
	w.delete(a, metav1.DeletePropagationForeground)
	typed := client.For[*corev1.ConfigMap](w.c)
	eventually[*corev1.ConfigMap](w, "b being deleted", func() bool {
		b, err := typed.Get(w.ctx, "default", "b")
		return err == nil && b.DeletionTimestamp != nil
	})
	w.settle(1)
	if _, err := typed.Get(w.ctx, "default", "a"); err != nil {
		t.Fatalf("the owner went before its dependent: %v", err)
	}
	if _, err := typed.Patch(w.ctx, "default", "b", types.MergePatchType, []byte(`{"metadata":{"finalizers":[]}}`), ""); err != nil {
		t.Fatal(err)
	}
	w.gone("b")
	w.gone("a")
	w.gone("c")
}

func TestCirclesGo(t *testing.T) {
	w := newWorld(t, nil)
	typed := client.For[*corev1.ConfigMap](w.c)
	a := w.add("a")
	b := w.add("b", ownedBy(a, true))
	c := w.add("c", ownedBy(b, true))
	a.OwnerReferences = []metav1.OwnerReference{ownedBy(c, true)}
	if _, err := typed.Update(w.ctx, a); err != nil {
		t.Fatal(err)
	}
	w.delete(a, metav1.DeletePropagationForeground)
	for _, name := range []string{"a", "b", "c"} {
		w.gone(name)
	}
}

func TestValidOwnerOutweighsOneThatWaits(t *testing.T) {
	w := newWorld(t, nil)
	typed := client.For[*corev1.ConfigMap](w.c)
	going, staying := w.add("going"), w.add("staying")
	w.add("both", ownedBy(going, true), ownedBy(staying, true))
	w.delete(going, metav1.DeletePropagationForeground)
	w.gone("going")
	if got := w.owners("both"); !slices.Equal(got, []string{"staying"}) {
		t.Errorf("both has owners %v", got)
	}
	if o, err := typed.Get(w.ctx, "default", "both"); err != nil || o.DeletionTimestamp != nil {
		t.Errorf("both is being deleted: %v", err)
	}
}

func TestUnknownOwnersKeep(t *testing.T) {
	w := newWorld(t, nil)
	w.add("a", metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Thing", Name: "x", UID: "x"})
	w.settle(1)
	if got := w.owners("a"); len(got) != 1 {
		t.Errorf("a has owners %v", got)
	}
}

func TestPodsAreAdoptedAndReleased(t *testing.T) {
	w := newWorld(t, nil)
	w.create(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "stray", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "v1"}}},
	})
	seesAllPods(w)
	two := int32(2)
	d := deploymentOf("web", 2, "v1")
	rs := &appsv1.ReplicaSet{ObjectMeta: d.ObjectMeta, Spec: appsv1.ReplicaSetSpec{Replicas: &two, Selector: d.Spec.Selector, Template: d.Spec.Template}}
	w.create(rs)
	pods := func() []*corev1.Pod { return list[*corev1.Pod](w, "default") }
	ready := func(n int32) {
		t.Helper()
		eventually[*appsv1.ReplicaSet](w, "all available", func() bool {
			return list[*appsv1.ReplicaSet](w, "default")[0].Status.AvailableReplicas == n
		})
	}
	ready(2)
	if n := len(pods()); n != 2 || !slices.ContainsFunc(pods(), func(p *corev1.Pod) bool { return p.Name == "stray" && metav1.GetControllerOf(p) != nil }) {
		t.Fatalf("the stray pod was not adopted:\n%s", w.dump())
	}
	_, err := client.For[*corev1.Pod](w.c).Patch(w.ctx, "default", "stray", types.MergePatchType, []byte(`{"metadata":{"labels":{"app":"other"}}}`), "")
	if err != nil {
		t.Fatal(err)
	}
	eventually[*corev1.Pod](w, "stray released and replaced", func() bool {
		return len(pods()) == 3 && slices.ContainsFunc(pods(), func(p *corev1.Pod) bool { return p.Name == "stray" && metav1.GetControllerOf(p) == nil })
	})
	ready(2)
}

// seesAllPods waits until the controllers have seen all pods that exist. Views of different kinds are not in
// step: a ReplicaSet may be seen before a pod that is older than it. A set in another namespace that counts
// a pod of its own has seen all older pods, too.
func seesAllPods(w *world) {
	one := int32(1)
	d := deploymentOf("probe", 1, "v1")
	d.Namespace = "kube-system"
	w.create(&appsv1.ReplicaSet{ObjectMeta: d.ObjectMeta,
		Spec: appsv1.ReplicaSetSpec{Replicas: &one, Selector: d.Spec.Selector, Template: d.Spec.Template}})
	eventually[*appsv1.ReplicaSet](w, "the probe counts its pod", func() bool {
		return list[*appsv1.ReplicaSet](w, "kube-system")[0].Status.Replicas == 1
	})
}

func TestEventsAreInKubesWords(t *testing.T) {
	w := newWorld(t, nil)
	w.create(deploymentOf("web", 1, "v1"))
	d := w.complete("web", 1)
	rs := list[*appsv1.ReplicaSet](w, "default")[0]
	pod := list[*corev1.Pod](w, "default")[0]
	w.patch("web", `{"spec":{"replicas":0}}`)
	w.complete("web", 0)
	for _, want := range []struct{ component, kind, name, reason, message string }{
		{"deployment-controller", "Deployment", d.Name, "ScalingReplicaSet", "Scaled up replica set " + rs.Name + " from 0 to 1"},
		{"replicaset-controller", "ReplicaSet", rs.Name, "SuccessfulCreate", "Created pod: " + pod.Name},
		{"deployment-controller", "Deployment", d.Name, "ScalingReplicaSet", "Scaled down replica set " + rs.Name + " from 1 to 0"},
		{"replicaset-controller", "ReplicaSet", rs.Name, "SuccessfulDelete", "Deleted pod: " + pod.Name},
	} {
		eventually[*corev1.Event](w, want.message, func() bool {
			return slices.ContainsFunc(list[*corev1.Event](w, "default"), func(e *corev1.Event) bool {
				return e.Source.Component == want.component && e.InvolvedObject.Kind == want.kind && e.InvolvedObject.Name == want.name &&
					e.Type == corev1.EventTypeNormal && e.Reason == want.reason && e.Message == want.message
			})
		})
	}
}
