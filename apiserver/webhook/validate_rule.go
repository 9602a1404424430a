package webhook

import (
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/client"
)

var operations = []admissionregistrationv1.OperationType{
	admissionregistrationv1.OperationAll, admissionregistrationv1.Connect, admissionregistrationv1.Create,
	admissionregistrationv1.Delete, admissionregistrationv1.Update,
}

func (l *errorList) rule(r *admissionregistrationv1.RuleWithOperations, path *field.Path) {
	if len(r.Operations) == 0 {
		l.add(field.Required(path.Child("operations"), ""))
	}
	if len(r.Operations) > 1 && slices.Contains(r.Operations, admissionregistrationv1.OperationAll) {
		l.add(field.Invalid(path.Child("operations"), r.Operations, "if '*' is present, must not specify other operations"))
	}
	for i := range r.Operations {
		oneOf(l, path.Child("operations").Index(i), &r.Operations[i], operations...)
	}
	l.names(r.APIGroups, path.Child("apiGroups"), "API groups")
	l.names(r.APIVersions, path.Child("apiVersions"), "API versions")
	for i, v := range r.APIVersions {
		if v == "" {
			l.add(field.Required(path.Child("apiVersions").Index(i), ""))
		}
	}
	l.resources(r.Resources, path.Child("resources"))
	oneOf(l, path.Child("scope"), r.Scope, admissionregistrationv1.AllScopes, admissionregistrationv1.ClusterScope, admissionregistrationv1.NamespacedScope)
}

// names asks for a list of names, or for the one that stands for all.
func (l *errorList) names(list []string, path *field.Path, what string) {
	if len(list) == 0 {
		l.add(field.Required(path, ""))
	}
	if len(list) > 1 && slices.Contains(list, "*") {
		l.add(field.Invalid(path, list, "if '*' is present, must not specify other "+what))
	}
}

// resources checks RESOURCE, RESOURCE/SUBRESOURCE and either with wildcards: none may be said twice.
func (l *errorList) resources(list []string, path *field.Path) {
	if len(list) == 0 {
		l.add(field.Required(path, ""))
	}
	allSubresources, allResources := map[string]bool{}, map[string]bool{}
	plain := false // as Kubernetes has it, of the last that is no subresource
	for i, pattern := range list {
		if pattern == "" {
			l.add(field.Required(path.Index(i), ""))
			continue
		}
		resource, sub, ok := strings.Cut(pattern, "/")
		if !ok {
			plain = pattern != "*"
			continue
		}
		if allSubresources[resource] {
			l.add(field.Invalid(path.Index(i), pattern, fmt.Sprintf("if '%s/*' is present, must not specify %s", resource, pattern)))
		}
		if allResources[sub] {
			l.add(field.Invalid(path.Index(i), pattern, fmt.Sprintf("if '*/%s' is present, must not specify %s", sub, pattern)))
		}
		allSubresources[resource] = allSubresources[resource] || sub == "*"
		allResources[sub] = allResources[sub] || resource == "*"
	}
	if len(list) > 1 && slices.Contains(list, "*/*") {
		l.add(field.Invalid(path, list, "if '*/*' is present, must not specify other resources"))
	}
	if plain && slices.Contains(list, "*") {
		l.add(field.Invalid(path, list, "if '*' is present, must not specify other resources without subresources"))
	}
}

// reviews are resources that webhooks are not asked about: nothing of them is stored, and whom a webhook keeps from
// asking what it may do can't mend the webhook.
var reviews = map[string][]string{
	"authentication.k8s.io": {"selfsubjectreviews", "tokenreviews"},
	"authorization.k8s.io":  {"localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews"},
}

// warnings tells of rules that have no effect.
func warnings(obj, old client.Object) []string {
	var out []string
	if old != nil && strings.HasSuffix(obj.GetName(), staticSuffix) {
		out = append(out, "metadata.name: "+staticText())
	}
	for i, w := range webhooksOf(obj) {
		for j := range w.Rules {
			path := field.NewPath("webhooks").Index(i).Child("rules").Index(j)
			for _, name := range excluded(&w.Rules[j]) {
				out = append(out, fmt.Sprintf("%s: %s is excluded from admission webhooks; this rule will have no effect", path, name))
			}
		}
	}
	return out
}

// excluded returns the resources, by name and group, that a rule names in vain.
func excluded(r *admissionregistrationv1.RuleWithOperations) []string {
	if slices.Contains(r.APIGroups, "*") || slices.Contains(r.Resources, "*") {
		return nil
	}
	var out []string
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			if name := resource + "." + group; slices.Contains(reviews[group], resource) && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}
