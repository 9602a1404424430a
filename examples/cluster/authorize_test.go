package main

import (
	"path/filepath"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
)

// TestRetiredBinding starts a cluster over the state of one from before there was a node authorizer.
func TestRetiredBinding(t *testing.T) {
	dir := t.TempDir()
	c := startCluster(t, dir)
	api := bindingsOf(t, dir)
	for _, b := range retiredPolicy() {
		if _, err := api.Create(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	c.stop(t)

	c = startCluster(t, dir)
	defer c.stop(t)
	if b, err := bindingsOf(t, dir).Get(t.Context(), "", "inboard:nodes"); !apierrors.IsNotFound(err) {
		t.Errorf("nodes are still bound: %v, %v", b, err)
	}
}

func bindingsOf(t *testing.T, dir string) client.Typed[*rbacv1.ClusterRoleBinding] {
	t.Helper()
	api, err := rest.New(rest.Config{Kubeconfig: filepath.Join(dir, "kubeconfig")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	return client.For[*rbacv1.ClusterRoleBinding](api)
}
