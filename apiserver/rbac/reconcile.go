package rbac

import (
	"context"
	"fmt"
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/inboard/inboard/apiserver/client"
)

// Bootstrap makes the default roles and bindings and, in those that exist, adds what is missing, as a
// kube-apiserver does when it starts, and takes back what Config.Retired lists. What has the annotation rbac.authorization.kubernetes.io/autoupdate=false
// is left alone. c must be allowed everything.
func (a *Authorizer) Bootstrap(ctx context.Context, c client.Interface) error {
	for _, want := range append(DefaultPolicy(), a.policy...) {
		var err error
		switch want := want.(type) {
		case *rbacv1.ClusterRole:
			err = reconcile(ctx, client.For[*rbacv1.ClusterRole](c), want, func(have *rbacv1.ClusterRole) bool {
				changed := addMeta(have, want)
				changed = addAggregation(&have.AggregationRule, want.AggregationRule) || changed
				return addRules(&have.Rules, want.Rules) || changed
			})
		case *rbacv1.Role:
			err = reconcile(ctx, client.For[*rbacv1.Role](c), want, func(have *rbacv1.Role) bool {
				changed := addMeta(have, want)
				return addRules(&have.Rules, want.Rules) || changed
			})
		case *rbacv1.ClusterRoleBinding:
			err = reconcileBinding(ctx, client.For[*rbacv1.ClusterRoleBinding](c), want,
				func(b *rbacv1.ClusterRoleBinding) (rbacv1.RoleRef, *[]rbacv1.Subject) { return b.RoleRef, &b.Subjects })
		case *rbacv1.RoleBinding:
			err = reconcileBinding(ctx, client.For[*rbacv1.RoleBinding](c), want,
				func(b *rbacv1.RoleBinding) (rbacv1.RoleRef, *[]rbacv1.Subject) { return b.RoleRef, &b.Subjects })
		}
		if err != nil {
			return fmt.Errorf("rbac: the default %T %s: %w", want, want.GetName(), err)
		}
	}
	for _, was := range a.retired {
		if err := retire(ctx, client.For[*rbacv1.ClusterRoleBinding](c), was); err != nil {
			return fmt.Errorf("rbac: the retired binding %s: %w", was.Name, err)
		}
	}
	return nil
}

// attempts is how often an object is looked at anew that others change meanwhile.
const attempts = 5

// reconcile makes an object, or adds to the one that exists what it lacks.
func reconcile[T client.Object](ctx context.Context, c client.Typed[T], want T, add func(have T) bool) error {
	for attempt := 1; ; attempt++ {
		have, err := c.Get(ctx, want.GetNamespace(), want.GetName())
		switch {
		case apierrors.IsNotFound(err):
			_, err = c.Create(ctx, want.DeepCopyObject().(T))
		case err == nil && have.GetAnnotations()[rbacv1.AutoUpdateAnnotationKey] == "false":
			return nil
		case err == nil && add(have):
			_, err = c.Update(ctx, have)
		}
		again := apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err)
		if !again || attempt == attempts {
			return err
		}
	}
}

// reconcileBinding is reconcile for bindings; one to another role is replaced, as its role can't be changed.
func reconcileBinding[T client.Object](ctx context.Context, c client.Typed[T], want T, parts func(T) (rbacv1.RoleRef, *[]rbacv1.Subject)) error {
	ref, subjects := parts(want)
	have, err := c.Get(ctx, want.GetNamespace(), want.GetName())
	if err == nil && have.GetAnnotations()[rbacv1.AutoUpdateAnnotationKey] != "false" {
		if other, _ := parts(have); other != ref {
			uid := have.GetUID()
			err := c.Delete(ctx, have.GetNamespace(), have.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
			if err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
	}
	return reconcile(ctx, c, want, func(have T) bool {
		_, list := parts(have)
		changed := addMeta(have, want)
		for _, s := range *subjects {
			if !slices.Contains(*list, s) {
				*list = append(*list, s)
				changed = true
			}
		}
		return changed
	})
}

// retire takes the subjects of a binding from the one that is there; one without any is removed.
func retire(ctx context.Context, c client.Typed[*rbacv1.ClusterRoleBinding], was *rbacv1.ClusterRoleBinding) error {
	for attempt := 1; ; attempt++ {
		have, err := c.Get(ctx, "", was.Name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil || have.RoleRef != was.RoleRef || have.Annotations[rbacv1.AutoUpdateAnnotationKey] == "false" {
			return err
		}
		given := len(have.Subjects)
		have.Subjects = slices.DeleteFunc(have.Subjects, func(s rbacv1.Subject) bool { return slices.Contains(was.Subjects, s) })
		switch len(have.Subjects) {
		case 0:
			err = c.Delete(ctx, "", have.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &have.UID, ResourceVersion: &have.ResourceVersion}})
		case given:
			return nil
		default:
			_, err = c.Update(ctx, have)
		}
		if again := apierrors.IsConflict(err) || apierrors.IsNotFound(err); !again || attempt == attempts {
			return err
		}
	}
}

// addMeta adds the labels and annotations that have lacks; what it has, it keeps.
func addMeta(have, want client.Object) bool {
	labels, a := added(have.GetLabels(), want.GetLabels())
	annotations, b := added(have.GetAnnotations(), want.GetAnnotations())
	have.SetLabels(labels)
	have.SetAnnotations(annotations)
	return a || b
}

func added(have, want map[string]string) (map[string]string, bool) {
	changed := false
	out := maps.Clone(have)
	for k, v := range want {
		if _, ok := have[k]; ok {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[k], changed = v, true
	}
	return out, changed
}

func addRules(have *[]rbacv1.PolicyRule, want []rbacv1.PolicyRule) bool {
	ok, missing := validation.Covers(*have, want)
	*have = append(*have, missing...)
	return !ok
}

func addAggregation(have **rbacv1.AggregationRule, want *rbacv1.AggregationRule) bool {
	if want == nil {
		changed := *have != nil
		*have = nil
		return changed
	}
	changed := *have == nil
	if changed {
		*have = &rbacv1.AggregationRule{}
	}
	for _, s := range want.ClusterRoleSelectors {
		same := func(o metav1.LabelSelector) bool { return apiequality.Semantic.DeepEqual(o, s) }
		if !slices.ContainsFunc((*have).ClusterRoleSelectors, same) {
			(*have).ClusterRoleSelectors = append((*have).ClusterRoleSelectors, s)
			changed = true
		}
	}
	return changed
}
