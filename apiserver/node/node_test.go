package node_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/node"
	"github.com/inboard/inboard/store"
)

func TestConfig(t *testing.T) {
	if _, err := node.New(node.Config{}); err == nil || !strings.Contains(err.Error(), "Config.Store") {
		t.Errorf("%v, want an error that names Config.Store", err)
	}
	st := ok(store.Open(store.Config{}))
	t.Cleanup(func() { _ = st.Close() })
	a := ok(node.New(node.Config{Store: st}))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if allowed, _, err := a.Authorize(t.Context(), readSecret("n1", "s")); allowed || err == nil {
		t.Errorf("a closed authorizer says %v, %v", allowed, err)
	}
}

func readSecret(of, name string) *apiserver.Attributes {
	id := &apiserver.Identity{User: node.UserPrefix + of, Groups: []string{node.Group}}
	return &apiserver.Attributes{User: id, Verb: "get", Resource: "secrets", Namespace: "default", Name: name}
}

func boundPod(name, of, secret string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.PodSpec{
		NodeName: of, Containers: []corev1.Container{{Name: "c", Image: "i"}},
		Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}}},
	}}
}

// TestNothingTrails has pods come and go: a secret is the node's from the moment in which the pod is stored to that in
// which it is gone, also where the store keeps too little history to follow.
func TestNothingTrails(t *testing.T) {
	for _, kept := range []int{0, 2} {
		t.Run(fmt.Sprint("history ", kept), func(t *testing.T) {
			st := ok(store.Open(store.Config{HistoryRevisions: kept}))
			t.Cleanup(func() { _ = st.Close() })
			a := ok(node.New(node.Config{Store: st}))
			server := ok(apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()}))
			pods := client.For[*corev1.Pod](server.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}}))
			for i := range 20 {
				name := fmt.Sprint("p", i)
				ok(pods.Create(t.Context(), boundPod(name, "n1", name)))
				for _, of := range []string{"n1", "n2"} {
					if got := ok2(a.Authorize(t.Context(), readSecret(of, name))); got != (of == "n1") {
						t.Fatalf("%s may read the secret of a pod on n1: %v", of, got)
					}
				}
				now := int64(0)
				if err := pods.Delete(t.Context(), "default", name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
					t.Fatal(err)
				}
				if ok2(a.Authorize(t.Context(), readSecret("n1", name))) {
					t.Fatal("the secret of a pod that is gone may be read")
				}
			}
		})
	}
}

// TestCertificate reads secrets over HTTPS with the client certificate of a kubelet.
func TestCertificate(t *testing.T) {
	s, _ := open(t)
	admin := client.For[*corev1.Pod](s.Admin())
	for _, of := range []string{"n1", "n2"} {
		ok(client.For[*corev1.Secret](s.Admin()).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "of-" + of}}))
		ok(admin.Create(t.Context(), boundPod(of, of, "of-"+of)))
	}
	kubelet := ok(rest.New(rest.Config{Kubeconfig: s.Serve(t, node.UserPrefix+"n1", node.Group)}))
	t.Cleanup(func() { _ = kubelet.Close() })
	secrets := client.For[*corev1.Secret](kubelet)
	if _, err := secrets.Get(t.Context(), "default", "of-n1"); err != nil {
		t.Error(err)
	}
	_, err := secrets.Get(t.Context(), "default", "of-n2")
	if !apierrors.IsForbidden(err) {
		t.Errorf("another node's secret: %v, want a refusal", err)
	}
}

func ok2(allowed bool, _ string, err error) bool { return ok(allowed, err) }

// BenchmarkAuthorize asks about a secret that one of many pods uses, and about one that all of them do, while nothing
// changes, and while pods change.
func BenchmarkAuthorize(b *testing.B) {
	for _, n := range []int{100, 5000} {
		st := ok(store.Open(store.Config{}))
		b.Cleanup(func() { _ = st.Close() })
		a := ok(node.New(node.Config{Store: st}))
		server := ok(apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()}))
		pods := client.For[*corev1.Pod](server.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}}))
		for i := range n {
			p := boundPod(fmt.Sprint("p", i), fmt.Sprint("n", i%50), fmt.Sprint("s", i))
			p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "shared"}}
			ok(pods.Create(b.Context(), p))
		}
		for _, c := range []struct {
			secret string
			want   bool
		}{{"s7", true}, {"shared", true}, {"s8", false}} {
			b.Run(fmt.Sprintf("pods=%d/%s=%v", n, c.secret, c.want), func(b *testing.B) {
				b.ReportAllocs()
				q := readSecret("n7", c.secret)
				for b.Loop() {
					if ok2(a.Authorize(context.Background(), q)) != c.want {
						b.Fatal("a wrong decision")
					}
				}
			})
		}
		b.Run(fmt.Sprintf("pods=%d/load", n), func(b *testing.B) {
			for b.Loop() {
				fresh := ok(node.New(node.Config{Store: st}))
				ok2(fresh.Authorize(context.Background(), readSecret("n7", "s7")))
				_ = fresh.Close()
			}
		})
	}
}
