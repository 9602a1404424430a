package apiserver_test

import (
	"context"
	"errors"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

var admin = apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}}

func newServer(t testing.TB, change ...func(*apiserver.Config)) *apiserver.Server {
	t.Helper()
	s, _ := openServer(t, change...)
	return s
}

// openServer returns a server with all built-in kinds over a store in memory.
func openServer(t testing.TB, change ...func(*apiserver.Config)) (*apiserver.Server, *store.Store) {
	t.Helper()
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	cfg := apiserver.Config{Store: st, Kinds: kinds.All()}
	for _, f := range change {
		f(&cfg)
	}
	s, err := apiserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, st
}

func testPod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "img"}}},
	}
}

func testDeployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Labels = labels
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "c", Image: "img"}}
	return d
}

// reasonCode returns the HTTP status code of an error of the API, 0 for others.
func reasonCode(err error) int32 {
	var s apierrors.APIStatus
	if errors.As(err, &s) {
		return s.Status().Code
	}
	return 0
}

func TestPodLifeInProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pods := client.For[*corev1.Pod](newServer(t).Client(admin))
	w, err := pods.Watch(ctx, "", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	created, err := pods.Create(ctx, testPod("web"))
	if err != nil {
		t.Fatal(err)
	}
	if created.UID == "" || created.Status.Phase != corev1.PodPending || created.Generation != 1 || created.Kind != "Pod" {
		t.Errorf("created %+v", created)
	}
	if _, err := pods.Create(ctx, testPod("web")); !apierrors.IsAlreadyExists(err) {
		t.Errorf("second create: %v", err)
	}
	created.Status.Phase = corev1.PodRunning
	updated, err := pods.UpdateStatus(ctx, created)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pods.UpdateStatus(ctx, created); err != nil && !apierrors.IsConflict(err) {
		t.Error(err)
	}
	created.Status.Phase = corev1.PodFailed
	if _, err := pods.UpdateStatus(ctx, created); !apierrors.IsConflict(err) {
		t.Errorf("stale update: %v", err)
	}
	if updated.Status.Phase != corev1.PodRunning {
		t.Errorf("phase %s", updated.Status.Phase)
	}
	patched, err := pods.Patch(ctx, "default", "web", types.StrategicMergePatchType, []byte(`{"metadata":{"labels":{"x":"y"}}}`), "")
	if err != nil || patched.Labels["x"] != "y" || patched.Labels["app"] != "web" {
		t.Errorf("patch: %v %v", patched.Labels, err)
	}
	l, err := pods.List(ctx, "default", metav1.ListOptions{LabelSelector: "x=y", FieldSelector: "status.phase=Running"})
	if err != nil || len(l.Items) != 1 {
		t.Errorf("list: %v %v", l, err)
	}
	if err := pods.Delete(ctx, "default", "web", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := pods.Get(ctx, "default", "web"); !apierrors.IsNotFound(err) {
		t.Errorf("get: %v", err)
	}
	for _, want := range []string{"ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED"} {
		if ev := <-w.ResultChan(); string(ev.Type) != want {
			t.Errorf("event %s, want %s: %+v", ev.Type, want, ev.Object)
		}
	}
	cancel()
	for range w.ResultChan() {
	}
}
