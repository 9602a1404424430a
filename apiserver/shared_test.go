package apiserver_test

import (
	"reflect"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// GetShared hands out one object to all, which stays as it is when the stored one changes; Get's copy can be
// changed without anybody noticing.
func TestGetShared(t *testing.T) {
	c := newServer(t).Client(admin)
	pods := client.For[*corev1.Pod](c)
	if _, err := pods.Create(t.Context(), testPod("web")); err != nil {
		t.Fatal(err)
	}
	read := func(get func() (*corev1.Pod, error)) *corev1.Pod {
		t.Helper()
		p, err := get()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	shared := func() (*corev1.Pod, error) { return pods.GetShared(t.Context(), "default", "web") }
	own := func() (*corev1.Pod, error) { return pods.Get(t.Context(), "default", "web") }

	first, mine := read(shared), read(own)
	if first == mine || !reflect.DeepEqual(first, mine) {
		t.Errorf("GetShared returned\n%v\nGet\n%v", first, mine)
	}
	if again := read(shared); again != first {
		t.Error("GetShared made a second object of one state")
	}
	mine.Labels["app"], mine.Spec.Containers[0].Image = "other", "other"
	if got := read(shared); got.Labels["app"] != "web" || got.Spec.Containers[0].Image != "img" {
		t.Errorf("a change of Get's copy shows in the shared object: %v", got)
	}
	before := first.DeepCopy()
	mine = read(own)
	mine.Labels["app"] = "changed"
	if _, err := pods.Update(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(first, before) {
		t.Errorf("the shared object changed with an update:\n%v\nit was\n%v", first, before)
	}
	if got := read(shared); got == first || got.Labels["app"] != "changed" || got.ResourceVersion == first.ResourceVersion {
		t.Errorf("after the update GetShared returns %v", got)
	}
}

// GetShared refuses what Get refuses, and shows versions and subresources as Get does.
func TestGetSharedIsGet(t *testing.T) {
	s := newServer(t)
	c := s.Client(admin)
	hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}
	hpa.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}
	hpa.Spec.MaxReplicas = 3
	if _, err := client.For[*autoscalingv2.HorizontalPodAutoscaler](c).Create(t.Context(), hpa); err != nil {
		t.Fatal(err)
	}
	deployments := client.For[*appsv1.Deployment](c)
	if _, err := deployments.Create(t.Context(), testDeployment("web")); err != nil {
		t.Fatal(err)
	}
	scalers := client.For[*autoscalingv1.HorizontalPodAutoscaler](c)
	sub := func(name string) client.Ref {
		ref := deployments.Ref("default", "web")
		ref.Subresource = name
		return ref
	}
	nobody := s.Client(apiserver.Identity{User: "nobody"})
	for _, tc := range []struct {
		name string
		c    client.Interface
		ref  client.Ref
		opts metav1.GetOptions
		ok   bool
	}{
		{"another version", c, scalers.Ref("default", "web"), metav1.GetOptions{}, true},
		{"status", c, sub("status"), metav1.GetOptions{}, true},
		{"scale", c, sub("scale"), metav1.GetOptions{ResourceVersion: "0"}, true},
		{"no such subresource", c, sub("binding"), metav1.GetOptions{}, false},
		{"not there", c, deployments.Ref("default", "none"), metav1.GetOptions{}, false},
		{"no name", c, deployments.Ref("default", ""), metav1.GetOptions{}, false},
		{"no namespace", c, deployments.Ref("", "web"), metav1.GetOptions{}, false},
		{"of the future", c, deployments.Ref("default", "web"), metav1.GetOptions{ResourceVersion: "1000000"}, false},
		{"forbidden", nobody, deployments.Ref("default", "web"), metav1.GetOptions{}, false},
		{"no such resource", c, client.Ref{Name: "x"}, metav1.GetOptions{}, false},
	} {
		want, wantErr := tc.c.Get(t.Context(), tc.ref, tc.opts)
		got, err := client.GetShared(t.Context(), tc.c, tc.ref, tc.opts)
		if !reflect.DeepEqual(err, wantErr) || (err == nil) != tc.ok {
			t.Errorf("%s: error %v, Get's %v", tc.name, err, wantErr)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%v\nGet has\n%v", tc.name, got, want)
		}
	}
	if !apierrors.IsForbidden(func() error {
		_, err := client.GetShared(t.Context(), nobody, sub(""), metav1.GetOptions{})
		return err
	}()) {
		t.Error("who may not read is not refused")
	}
}
