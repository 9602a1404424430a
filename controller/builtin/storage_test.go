package builtin_test

import (
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller/builtin"
	"github.com/inboard/inboard/controller/storageprotection"
	"github.com/inboard/inboard/internal/apitest"
)

// TestClaimsAreProtected while the pod that uses them is there.
func TestClaimsAreProtected(t *testing.T) {
	w := newWorld(t, nil)
	data := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "data"}}
	data.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	data.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "db"}}
	pod.Spec = corev1.PodSpec{
		NodeName:   "node",
		Containers: []corev1.Container{{Name: "c", Image: "v1"}},
		Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}},
	}
	w.create(data, pod)
	claims := client.For[*corev1.PersistentVolumeClaim](w.c)
	eventually[*corev1.PersistentVolumeClaim](w, "a claim that is protected", func() bool {
		c, err := claims.Get(w.ctx, "default", "data")
		return err == nil && slices.Contains(c.Finalizers, storageprotection.ClaimFinalizer)
	})
	w.delete(data, metav1.DeletePropagationBackground)
	if c, err := claims.Get(w.ctx, "default", "data"); err != nil || c.DeletionTimestamp == nil {
		t.Fatalf("a claim in use was deleted: %v, %v", c, err)
	}
	w.delete(pod, metav1.DeletePropagationBackground)
	eventually[*corev1.PersistentVolumeClaim](w, "the claim gone", func() bool {
		_, err := claims.Get(w.ctx, "default", "data")
		return apierrors.IsNotFound(err)
	})
}

// TestServersWithoutVolumes need no controllers for them.
func TestServersWithoutVolumes(t *testing.T) {
	for name, without := range map[string][]string{
		"volumes": {"PersistentVolume"}, "classes": {"VolumeAttributesClass"}, "roles": {"ClusterRole", "ClusterRoleBinding"},
	} {
		t.Run(name, func(t *testing.T) {
			api := apitest.Open(t, func(cfg *apiserver.Config) {
				cfg.Kinds = slices.DeleteFunc(cfg.Kinds, func(k apiserver.Kind) bool { return slices.Contains(without, k.Kind) })
			})
			g, err := builtin.New(builtin.Config{Client: api.Admin()})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- g.Run(ctx) }()
			select {
			case <-g.Ready():
			case err := <-done:
				t.Fatalf("Run ended early: %v", err)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
