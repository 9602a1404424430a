package apitest_test

import (
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/internal/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestUsers: each client has its user's rights, in this process and over HTTPS.
func TestUsers(t *testing.T) {
	s := apitest.Open(t)
	secrets := func(c client.Interface) error {
		_, err := client.For[*corev1.Secret](c).List(t.Context(), "default", metav1.ListOptions{})
		return err
	}
	overHTTPS := func(user string, groups ...string) client.Interface {
		c, err := rest.New(rest.Config{Kubeconfig: s.Serve(t, user, groups...)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for _, c := range []client.Interface{s.Admin(), overHTTPS("root", apiserver.GroupMasters)} {
		if err := secrets(c); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []client.Interface{s.As("me"), overHTTPS("me")} {
		if err := secrets(c); !apierrors.IsForbidden(err) {
			t.Errorf("error %v, want that it is forbidden", err)
		}
	}
}

// TestEnds: a server ends with its test, also within a bubble; goleak looks.
func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apitest.Open(t, func(cfg *apiserver.Config) { cfg.Version = "v1.0.0" })
		if rev := s.Store.Revision(); rev == 0 {
			t.Error("the ready server has no namespaces")
		}
	})
}
