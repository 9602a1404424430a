package rbac

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/rbac"
)

var write = flag.Bool("write", false, "write the default policy anew, from Kubernetes'")

const policyFile = "../../../apiserver/rbac/policy.txt"

// upstream returns Kubernetes' default objects in the order in which they are made.
func upstream() []client.Object {
	var out []client.Object
	for _, r := range append(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()...) {
		out = append(out, &r)
	}
	for _, b := range append(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()...) {
		out = append(out, &b)
	}
	roles, bindings := bootstrappolicy.NamespaceRoles(), bootstrappolicy.NamespaceRoleBindings()
	for _, ns := range slices.Sorted(maps.Keys(roles)) {
		for _, r := range roles[ns] {
			out = append(out, &r)
		}
	}
	for _, ns := range slices.Sorted(maps.Keys(bindings)) {
		for _, b := range bindings[ns] {
			out = append(out, &b)
		}
	}
	return out
}

// TestDefaultPolicy compares the default objects one by one.
func TestDefaultPolicy(t *testing.T) {
	want := upstream()
	if *write {
		if err := os.WriteFile(policyFile, []byte(text(want)), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Skip("written; run again without -write")
	}
	have := map[string]client.Object{}
	for _, o := range rbac.DefaultPolicy() {
		have[name(o)] = o
	}
	if len(have) != len(want) {
		t.Errorf("there are %d objects, Kubernetes has %d", len(have), len(want))
	}
	for _, w := range want {
		if h := have[name(w)]; !apiequality.Semantic.DeepEqual(h, w) {
			t.Errorf("%s is\n%s\nand in Kubernetes\n%s", name(w), show(h), show(w))
		}
	}
}

func name(o client.Object) string { return fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName()) }

func show(o client.Object) string {
	b, err := yaml.Marshal(o)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// text writes objects in the form of the policy's file.
func text(objects []client.Object) string {
	var b strings.Builder
	b.WriteString("# The default roles and bindings of kube-apiserver 1.37; parsePolicy tells the form.\n")
	for _, o := range objects {
		switch o := o.(type) {
		case *rbacv1.ClusterRole:
			fmt.Fprintf(&b, "ClusterRole %s", o.Name)
			for _, k := range slices.Sorted(maps.Keys(o.Labels)) {
				if k != "kubernetes.io/bootstrapping" {
					fmt.Fprintf(&b, " %s=%s", k, o.Labels[k])
				}
			}
			if o.AggregationRule != nil {
				for _, s := range o.AggregationRule.ClusterRoleSelectors {
					for k, v := range s.MatchLabels {
						fmt.Fprintf(&b, " aggregate:%s=%s", k, v)
					}
				}
			}
			b.WriteString(rules(o.Rules))
		case *rbacv1.Role:
			fmt.Fprintf(&b, "Role %s/%s%s", o.Namespace, o.Name, rules(o.Rules))
		case *rbacv1.ClusterRoleBinding:
			fmt.Fprintf(&b, "ClusterRoleBinding %s %s/%s%s", o.Name, o.RoleRef.Kind, o.RoleRef.Name, subjects(o.Subjects))
		case *rbacv1.RoleBinding:
			fmt.Fprintf(&b, "RoleBinding %s/%s %s/%s%s", o.Namespace, o.Name, o.RoleRef.Kind, o.RoleRef.Name, subjects(o.Subjects))
		}
	}
	return b.String()
}

func rules(list []rbacv1.PolicyRule) string {
	out := "\n"
	for _, r := range list {
		words := []string{" ", strings.Join(r.Verbs, ",")}
		if len(r.NonResourceURLs) > 0 {
			words = append(words, "url", strings.Join(r.NonResourceURLs, ","))
		} else {
			groups := slices.Clone(r.APIGroups)
			for i := range groups {
				if groups[i] == "" {
					groups[i] = "core"
				}
			}
			words = append(words, strings.Join(groups, ","), strings.Join(r.Resources, ","))
		}
		if len(r.ResourceNames) > 0 {
			words = append(words, strings.Join(r.ResourceNames, ","))
		}
		out += strings.Join(words, " ") + "\n"
	}
	return out
}

func subjects(list []rbacv1.Subject) string {
	out := ""
	for _, s := range list {
		out += " " + s.Kind + "/"
		if s.Namespace != "" {
			out += s.Namespace + "/"
		}
		out += s.Name
	}
	return out + "\n"
}
