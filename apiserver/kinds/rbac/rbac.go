// Package rbac has the rows of the kinds of rbac.authorization.k8s.io/v1: Role, ClusterRole and their
// bindings. They say who may do what; who is asked is the server's authorizer.
package rbac

import (
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Kinds returns the rows of all kinds of the group. The slice is the caller's own.
func Kinds() []apiserver.Kind {
	return []apiserver.Kind{ClusterRoleBinding(), ClusterRole(), RoleBinding(), Role()}
}

func newKind(kind, resource, singular string) apiserver.Kind {
	return apiserver.Kind{
		QualifiedFinalizers: true,
		GroupVersionKind:    rbacv1.SchemeGroupVersion.WithKind(kind),
		Resource:            resource,
		Singular:            singular,
		UpdateCreates:       true,
		NameIsValid:         func(name string, _ bool) []string { return content.IsPathSegmentName(name) },
	}
}

// Role returns the row of Role.
func Role() apiserver.Kind {
	k := newKind("Role", "roles", "role")
	k.Namespaced = true
	k.Object, k.List = &rbacv1.Role{}, &rbacv1.RoleList{}
	k.Validate = row.Check(validateRole)
	k.Columns, k.Row = row.Plain()
	return k
}

// ClusterRole returns the row of ClusterRole.
func ClusterRole() apiserver.Kind {
	k := newKind("ClusterRole", "clusterroles", "clusterrole")
	k.Object, k.List = &rbacv1.ClusterRole{}, &rbacv1.ClusterRoleList{}
	k.Validate = row.Check(validateClusterRole)
	k.Columns, k.Row = row.Plain()
	return k
}

// RoleBinding returns the row of RoleBinding.
func RoleBinding() apiserver.Kind {
	k := newKind("RoleBinding", "rolebindings", "rolebinding")
	k.Namespaced = true
	k.Object, k.List = &rbacv1.RoleBinding{}, &rbacv1.RoleBindingList{}
	k.Default = row.Of(func(o *rbacv1.RoleBinding) { defaultBinding(&o.RoleRef, o.Subjects) })
	k.Validate = row.Check(validateRoleBinding)
	k.Columns = bindingColumns()
	k.Row = row.Cells(func(o *rbacv1.RoleBinding, now time.Time) []any {
		return bindingRow(o.Name, o.RoleRef, o.Subjects, row.Age(o.CreationTimestamp, now))
	})
	return k
}

// ClusterRoleBinding returns the row of ClusterRoleBinding.
func ClusterRoleBinding() apiserver.Kind {
	k := newKind("ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding")
	k.Object, k.List = &rbacv1.ClusterRoleBinding{}, &rbacv1.ClusterRoleBindingList{}
	k.Default = row.Of(func(o *rbacv1.ClusterRoleBinding) { defaultBinding(&o.RoleRef, o.Subjects) })
	k.Validate = row.Check(validateClusterRoleBinding)
	k.Columns = bindingColumns()
	k.Row = row.Cells(func(o *rbacv1.ClusterRoleBinding, now time.Time) []any {
		return bindingRow(o.Name, o.RoleRef, o.Subjects, row.Age(o.CreationTimestamp, now))
	})
	return k
}

func defaultBinding(ref *rbacv1.RoleRef, subjects []rbacv1.Subject) {
	fill.Empty(&ref.APIGroup, rbacv1.GroupName)
	for i := range subjects {
		if s := &subjects[i]; s.Kind == rbacv1.UserKind || s.Kind == rbacv1.GroupKind {
			fill.Empty(&s.APIGroup, rbacv1.GroupName)
		}
	}
}

func bindingRow(name string, ref rbacv1.RoleRef, subjects []rbacv1.Subject, age string) []any {
	var users, groups, accounts []string
	for _, s := range subjects {
		switch s.Kind {
		case rbacv1.UserKind:
			users = append(users, s.Name)
		case rbacv1.GroupKind:
			groups = append(groups, s.Name)
		case rbacv1.ServiceAccountKind:
			accounts = append(accounts, s.Namespace+"/"+s.Name)
		}
	}
	return []any{name, ref.Kind + "/" + ref.Name, age, strings.Join(users, ", "), strings.Join(groups, ", "), strings.Join(accounts, ", ")}
}
