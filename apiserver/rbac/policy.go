package rbac

import (
	_ "embed"
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// policyText has kube-apiserver's default roles and bindings, in the form that parsePolicy reads.
//
//go:embed policy.txt
var policyText string

// DefaultPolicy returns the roles and bindings that Kubernetes 1.37 has from the start: ClusterRoles,
// ClusterRoleBindings, Roles and RoleBindings. The objects are the caller's own.
func DefaultPolicy() []client.Object {
	objects, err := parsePolicy(policyText)
	if err != nil {
		panic(err) // the text is part of the program, and a test reads it
	}
	return objects
}

// parsePolicy reads a list of objects. A line that is not indented begins an object:
//
//	ClusterRole NAME [LABEL=VALUE]... [aggregate:LABEL=VALUE]...
//	Role NAMESPACE/NAME
//	ClusterRoleBinding NAME ClusterRole/NAME [User/NAME|Group/NAME|ServiceAccount/NAMESPACE/NAME]...
//	RoleBinding NAMESPACE/NAME Role/NAME [SUBJECT]...
//
// Indented lines are the rules of a role. Lists are separated by commas, the group "" is called core:
//
//	VERBS GROUPS RESOURCES [NAMES]
//	VERBS url URLS
func parsePolicy(text string) ([]client.Object, error) {
	var objects []client.Object
	for i, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		var err error
		if line[0] == ' ' || line[0] == '\t' {
			err = addRule(objects, words)
		} else {
			var obj client.Object
			obj, err = parseObject(words)
			objects = append(objects, obj)
		}
		if err != nil {
			return nil, fmt.Errorf("rbac: line %d of the policy: %w", i+1, err)
		}
	}
	return objects, nil
}

func parseObject(words []string) (client.Object, error) {
	kind := words[0]
	if len(words) < 2 || strings.HasSuffix(kind, "Binding") && len(words) < 3 {
		return nil, fmt.Errorf("%q is too short", strings.Join(words, " "))
	}
	meta := metav1.ObjectMeta{
		Name:        words[1],
		Labels:      map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"},
		Annotations: map[string]string{rbacv1.AutoUpdateAnnotationKey: "true"},
	}
	if kind == "Role" || kind == "RoleBinding" {
		meta.Namespace, meta.Name, _ = strings.Cut(words[1], "/")
	}
	switch kind {
	case "ClusterRole":
		r := &rbacv1.ClusterRole{ObjectMeta: meta}
		return r, addLabels(r, words[2:])
	case "Role":
		return &rbacv1.Role{ObjectMeta: meta}, nil
	case "ClusterRoleBinding":
		b := &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: parseRef(words[2])}
		return b, addSubjects(&b.Subjects, words[3:])
	case "RoleBinding":
		b := &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: parseRef(words[2])}
		return b, addSubjects(&b.Subjects, words[3:])
	}
	return nil, fmt.Errorf("there is no kind %q", kind)
}

func addLabels(r *rbacv1.ClusterRole, words []string) error {
	for _, w := range words {
		pair, selects := strings.CutPrefix(w, "aggregate:")
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case !ok:
			return fmt.Errorf("%q is no label", w)
		case !selects:
			r.Labels[key] = value
			continue
		case r.AggregationRule == nil:
			r.AggregationRule = &rbacv1.AggregationRule{}
		}
		a := r.AggregationRule
		a.ClusterRoleSelectors = append(a.ClusterRoleSelectors, metav1.LabelSelector{MatchLabels: map[string]string{key: value}})
	}
	return nil
}

func parseRef(word string) rbacv1.RoleRef {
	kind, name, _ := strings.Cut(word, "/")
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
}

func addSubjects(list *[]rbacv1.Subject, words []string) error {
	for _, w := range words {
		kind, name, _ := strings.Cut(w, "/")
		s := rbacv1.Subject{Kind: kind, APIGroup: rbacv1.GroupName, Name: name}
		switch kind {
		case rbacv1.UserKind, rbacv1.GroupKind:
		case rbacv1.ServiceAccountKind:
			s.APIGroup = ""
			s.Namespace, s.Name, _ = strings.Cut(name, "/")
		default:
			return fmt.Errorf("%q is no subject", w)
		}
		*list = append(*list, s)
	}
	return nil
}

func addRule(objects []client.Object, words []string) error {
	if len(words) < 3 || len(words) > 4 || len(objects) == 0 {
		return fmt.Errorf("%q is no rule", strings.Join(words, " "))
	}
	rule := rbacv1.PolicyRule{Verbs: strings.Split(words[0], ",")}
	if words[1] == "url" {
		rule.NonResourceURLs = strings.Split(words[2], ",")
	} else {
		rule.APIGroups, rule.Resources = strings.Split(words[1], ","), strings.Split(words[2], ",")
		for i := range rule.APIGroups {
			if rule.APIGroups[i] == "core" {
				rule.APIGroups[i] = ""
			}
		}
	}
	if len(words) == 4 {
		rule.ResourceNames = strings.Split(words[3], ",")
	}
	switch o := objects[len(objects)-1].(type) {
	case *rbacv1.ClusterRole:
		o.Rules = append(o.Rules, rule)
	case *rbacv1.Role:
		o.Rules = append(o.Rules, rule)
	default:
		return fmt.Errorf("a %T has no rules", o)
	}
	return nil
}
