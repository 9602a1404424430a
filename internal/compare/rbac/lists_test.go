package rbac

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
)

// lists gives Kubernetes' authorizer the world's objects.
type lists struct{ w *world }

func (l *lists) GetRole(_ context.Context, namespace, name string) (*rbacv1.Role, error) {
	for _, r := range l.w.roles {
		if r.Namespace == namespace && r.Name == name {
			return r, nil
		}
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource("role"), name)
}

func (l *lists) GetClusterRole(_ context.Context, name string) (*rbacv1.ClusterRole, error) {
	for _, r := range l.w.clusterRoles {
		if r.Name == name {
			return r, nil
		}
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource("clusterrole"), name)
}

func (l *lists) ListRoleBindings(_ context.Context, namespace string) ([]*rbacv1.RoleBinding, error) {
	var out []*rbacv1.RoleBinding
	for _, b := range l.w.bindings {
		if b.Namespace == namespace {
			out = append(out, b)
		}
	}
	return out, nil
}

func (l *lists) ListClusterRoleBindings(context.Context) ([]*rbacv1.ClusterRoleBinding, error) {
	return l.w.clusterBindings, nil
}

func create(t *testing.T, c client.Interface, resource string, obj client.Object) {
	t.Helper()
	gvr := rbacv1.SchemeGroupVersion.WithResource(resource)
	if resource == "namespaces" {
		gvr = corev1.SchemeGroupVersion.WithResource(resource)
	}
	_, err := c.Create(context.Background(), client.Ref{GroupVersionResource: gvr, Namespace: obj.GetNamespace()}, obj, metav1.CreateOptions{})
	must(t, err)
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func kindOf(kind string) apiserver.Kind {
	for _, k := range kinds.All() {
		if k.GroupVersionKind.Kind == kind {
			return k
		}
	}
	panic("no kind " + kind)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
