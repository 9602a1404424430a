package webhook

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/registration"
)

// Kinds returns the rows of the configurations of webhooks, admissionregistration.k8s.io/v1. The slice is the caller's
// own.
func Kinds() []apiserver.Kind {
	return []apiserver.Kind{MutatingWebhookConfiguration(), ValidatingWebhookConfiguration()}
}

// MutatingWebhookConfiguration returns the row of MutatingWebhookConfiguration.
func MutatingWebhookConfiguration() apiserver.Kind {
	return row("MutatingWebhookConfiguration", "mutatingwebhookconfigurations",
		&admissionregistrationv1.MutatingWebhookConfiguration{}, &admissionregistrationv1.MutatingWebhookConfigurationList{},
		func(obj client.Object) {
			c := obj.(*admissionregistrationv1.MutatingWebhookConfiguration)
			for i := range c.Webhooks {
				defaultMutating(&c.Webhooks[i])
			}
		})
}

// ValidatingWebhookConfiguration returns the row of ValidatingWebhookConfiguration.
func ValidatingWebhookConfiguration() apiserver.Kind {
	return row("ValidatingWebhookConfiguration", "validatingwebhookconfigurations",
		&admissionregistrationv1.ValidatingWebhookConfiguration{}, &admissionregistrationv1.ValidatingWebhookConfigurationList{},
		func(obj client.Object) {
			c := obj.(*admissionregistrationv1.ValidatingWebhookConfiguration)
			for i := range c.Webhooks {
				defaultValidating(&c.Webhooks[i])
			}
		})
}

func row(name, resource string, obj client.Object, list runtime.Object, defaults func(client.Object)) apiserver.Kind {
	return registration.Kind{
		Name: name, Resource: resource, Object: obj, List: list,
		Default: defaults, Validate: validateConfiguration, Warnings: warnings,
		Columns: []metav1.TableColumnDefinition{{Name: "Webhooks", Type: "integer", Description: "Number of webhooks in the configuration."}},
		Cells:   func(obj client.Object) []any { return []any{int64(len(webhooksOf(obj)))} },
	}.Row()
}

func defaultMutating(w *admissionregistrationv1.MutatingWebhook) {
	registration.Fill(&w.FailurePolicy, admissionregistrationv1.Fail)
	registration.Fill(&w.MatchPolicy, admissionregistrationv1.Equivalent)
	registration.Fill(&w.NamespaceSelector, metav1.LabelSelector{})
	registration.Fill(&w.ObjectSelector, metav1.LabelSelector{})
	registration.Fill(&w.TimeoutSeconds, 10)
	registration.Fill(&w.ReinvocationPolicy, admissionregistrationv1.NeverReinvocationPolicy)
	defaultParts(&w.ClientConfig, w.Rules)
}

func defaultValidating(w *admissionregistrationv1.ValidatingWebhook) {
	registration.Fill(&w.FailurePolicy, admissionregistrationv1.Fail)
	registration.Fill(&w.MatchPolicy, admissionregistrationv1.Equivalent)
	registration.Fill(&w.NamespaceSelector, metav1.LabelSelector{})
	registration.Fill(&w.ObjectSelector, metav1.LabelSelector{})
	registration.Fill(&w.TimeoutSeconds, 10)
	defaultParts(&w.ClientConfig, w.Rules)
}

func defaultParts(c *admissionregistrationv1.WebhookClientConfig, rules []admissionregistrationv1.RuleWithOperations) {
	if c.Service != nil {
		registration.Fill(&c.Service.Port, 443)
	}
	for i := range rules {
		registration.Fill(&rules[i].Scope, admissionregistrationv1.AllScopes)
	}
}

// configured is a webhook of either kind, as validation looks at it.
type configured struct {
	*admissionregistrationv1.ValidatingWebhook
	reinvocation *admissionregistrationv1.ReinvocationPolicyType
}

// webhooksOf returns the webhooks of a configuration.
func webhooksOf(obj client.Object) []configured {
	var out []configured
	switch c := obj.(type) {
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		if c == nil {
			return nil
		}
		for i := range c.Webhooks {
			out = append(out, configured{plain(&c.Webhooks[i]), c.Webhooks[i].ReinvocationPolicy})
		}
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		if c == nil {
			return nil
		}
		for i := range c.Webhooks {
			out = append(out, configured{&c.Webhooks[i], nil})
		}
	}
	return out
}

func validateConfiguration(obj, old client.Object) field.ErrorList {
	var errs errorList
	rules := newStrictness(webhooksOf(obj), old)
	names := map[string]bool{}
	for i, w := range webhooksOf(obj) {
		path := field.NewPath("webhooks").Index(i)
		errs.webhook(w, rules, path)
		errs.reviewVersions(w.AdmissionReviewVersions, rules.knownVersions, path.Child("admissionReviewVersions"))
		if rules.uniqueNames && w.Name != "" {
			if names[w.Name] {
				errs.add(field.Duplicate(path.Child("name"), w.Name))
			}
			names[w.Name] = true
		}
	}
	return field.ErrorList(errs)
}
