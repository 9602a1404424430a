package webhook

import (
	"fmt"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/registration"
)

// warnings tells of rules that have no effect.
func warnings(obj, _ client.Object) []string {
	var out []string
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
			if name := resource + "." + group; registration.IsReview(group, resource) && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}
