package serviceaccount_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/serviceaccount"
	"github.com/inboard/inboard/internal/apitest"
)

const mountPath = "/var/run/secrets/kubernetes.io/serviceaccount"

// TestMount: pods get a token, unless they or their account want none; a container that has something in its place
// keeps it.
func TestMount(t *testing.T) {
	s := apitest.Open(t, func(cfg *apiserver.Config) {
		cfg.RequireServiceAccounts = true
		cfg.Authentication.ServiceAccounts = ok(serviceaccount.New(serviceaccount.Config{Key: newKey(t)}))
	})
	accounts, pods := client.For[*corev1.ServiceAccount](s.Admin()), client.For[*corev1.Pod](s.Admin())
	ok(accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "app"}}))
	ok(accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "quiet"}, AutomountServiceAccountToken: ptr.To(false)}))
	for _, tc := range []struct {
		name, account string
		wants         *bool
		mounts        int
	}{
		{"plain", "app", nil, 2}, {"refuses", "app", ptr.To(false), 0}, {"quiet", "quiet", nil, 0}, {"insists", "quiet", ptr.To(true), 2},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: tc.name}, Spec: corev1.PodSpec{
			ServiceAccountName: tc.account, AutomountServiceAccountToken: tc.wants,
			InitContainers: []corev1.Container{{Name: "i", Image: "i"}},
			Containers: []corev1.Container{{Name: "a", Image: "i"},
				{Name: "b", Image: "i", VolumeMounts: []corev1.VolumeMount{{Name: "own", MountPath: mountPath}}}},
			Volumes: []corev1.Volume{{Name: "own", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		}}
		pod = ok(pods.Create(t.Context(), pod))
		mounts := 0
		for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
			for _, m := range c.VolumeMounts {
				if strings.HasPrefix(m.Name, "kube-api-access-") && m.MountPath == mountPath && m.ReadOnly {
					mounts++
				}
			}
		}
		if mounts != tc.mounts || len(pod.Spec.Volumes) != 1+min(mounts, 1) {
			t.Errorf("%s: %d mounts, volumes %v", tc.name, mounts, pod.Spec.Volumes)
		}
	}
	_, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "x"},
		Spec: corev1.PodSpec{ServiceAccountName: "none", Containers: []corev1.Container{{Name: "a", Image: "i"}}}})
	if err == nil || !strings.Contains(err.Error(), `serviceaccount "none" not found`) {
		t.Errorf("%v", err)
	}
}
