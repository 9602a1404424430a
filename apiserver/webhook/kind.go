package webhook

import (
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// Kinds returns the rows of the configurations of webhooks, admissionregistration.k8s.io/v1. The slice is the caller's
// own.
func Kinds() []apiserver.Kind {
	return []apiserver.Kind{MutatingWebhookConfiguration(), ValidatingWebhookConfiguration()}
}

// MutatingWebhookConfiguration returns the row of MutatingWebhookConfiguration.
func MutatingWebhookConfiguration() apiserver.Kind {
	k := newKind("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "mutatingwebhookconfiguration",
		&admissionregistrationv1.MutatingWebhookConfiguration{}, &admissionregistrationv1.MutatingWebhookConfigurationList{})
	k.Default = func(obj client.Object) {
		c := obj.(*admissionregistrationv1.MutatingWebhookConfiguration)
		for i := range c.Webhooks {
			defaultMutating(&c.Webhooks[i])
		}
	}
	return k
}

// ValidatingWebhookConfiguration returns the row of ValidatingWebhookConfiguration.
func ValidatingWebhookConfiguration() apiserver.Kind {
	k := newKind("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", "validatingwebhookconfiguration",
		&admissionregistrationv1.ValidatingWebhookConfiguration{}, &admissionregistrationv1.ValidatingWebhookConfigurationList{})
	k.Default = func(obj client.Object) {
		c := obj.(*admissionregistrationv1.ValidatingWebhookConfiguration)
		for i := range c.Webhooks {
			defaultValidating(&c.Webhooks[i])
		}
	}
	return k
}

func newKind(kind, resource, singular string, obj client.Object, list runtime.Object) apiserver.Kind {
	return apiserver.Kind{
		GroupVersionKind:  admissionregistrationv1.SchemeGroupVersion.WithKind(kind),
		Resource:          resource,
		Singular:          singular,
		Categories:        []string{"api-extensions"},
		Object:            obj,
		List:              list,
		Generation:        true,
		ConditionalUpdate: true,
		Validate:          validateConfiguration,
		Warnings:          warnings,
		Columns: []metav1.TableColumnDefinition{
			{Name: "Name", Type: "string", Format: "name", Description: "Name of the object, unique among those of its kind in its namespace."},
			{Name: "Webhooks", Type: "integer", Description: "Number of webhooks in the configuration."},
			{Name: "Age", Type: "string", Description: "Time since the object was created."},
		},
		Row: func(obj client.Object, now time.Time) []any {
			age := "<unknown>"
			if t := obj.GetCreationTimestamp(); !t.IsZero() {
				age = duration.HumanDuration(now.Sub(t.Time))
			}
			return []any{obj.GetName(), int64(len(webhooksOf(obj))), age}
		},
	}
}

func defaultMutating(w *admissionregistrationv1.MutatingWebhook) {
	fill(&w.FailurePolicy, admissionregistrationv1.Fail)
	fill(&w.MatchPolicy, admissionregistrationv1.Equivalent)
	fill(&w.NamespaceSelector, metav1.LabelSelector{})
	fill(&w.ObjectSelector, metav1.LabelSelector{})
	fill(&w.TimeoutSeconds, 10)
	fill(&w.ReinvocationPolicy, admissionregistrationv1.NeverReinvocationPolicy)
	defaultParts(&w.ClientConfig, w.Rules)
}

func defaultValidating(w *admissionregistrationv1.ValidatingWebhook) {
	fill(&w.FailurePolicy, admissionregistrationv1.Fail)
	fill(&w.MatchPolicy, admissionregistrationv1.Equivalent)
	fill(&w.NamespaceSelector, metav1.LabelSelector{})
	fill(&w.ObjectSelector, metav1.LabelSelector{})
	fill(&w.TimeoutSeconds, 10)
	defaultParts(&w.ClientConfig, w.Rules)
}

func defaultParts(c *admissionregistrationv1.WebhookClientConfig, rules []admissionregistrationv1.RuleWithOperations) {
	if c.Service != nil {
		fill(&c.Service.Port, 443)
	}
	for i := range rules {
		fill(&rules[i].Scope, admissionregistrationv1.AllScopes)
	}
}

func fill[T any](p **T, v T) {
	if *p == nil {
		*p = &v
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
	if old == nil {
		errs.staticName(obj.GetName())
	}
	return field.ErrorList(errs)
}
