package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestControllersOverHTTPS has the program make the pods of a Deployment, and empty a namespace.
func TestControllersOverHTTPS(t *testing.T) {
	api := apitest.Open(t)
	kubeconfig, c := api.Serve(t, "admin", apiserver.GroupMasters), api.Admin()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	go func() { done <- run(running, kubeconfig, false) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	if _, err := client.For[*corev1.Namespace](c).Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}); err != nil {
		t.Fatal(err)
	}
	two := int32(2)
	labels := map[string]string{"app": "web"}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: appsv1.DeploymentSpec{
		Replicas: &two,
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "c", Image: "web:1"}},
		}},
	}}
	if _, err := client.For[*appsv1.Deployment](c).Create(ctx, d); err != nil {
		t.Fatal(err)
	}
	pods := client.For[*corev1.Pod](c)
	events, err := pods.Watch(ctx, "shop", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	for range 2 {
		if e, ok := <-events.ResultChan(); !ok || !strings.HasPrefix(e.Object.(*corev1.Pod).Name, "web-") {
			t.Fatalf("watch: %v", e)
		}
	}
	if err := client.For[*corev1.Namespace](c).Delete(ctx, "", "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := client.For[*corev1.Namespace](c).Get(ctx, "", "shop")
		if apierrors.IsNotFound(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestBadKubeconfig(t *testing.T) {
	err := run(t.Context(), filepath.Join(t.TempDir(), "missing"), false)
	if err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("run: %v, want an error that names the file", err)
	}
}
