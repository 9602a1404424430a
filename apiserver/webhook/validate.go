package webhook

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/cel"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/registration"
)

// errorList gathers what is wrong with a configuration.
type errorList field.ErrorList

func (l *errorList) add(err *field.Error) { *l = append(*l, err) }

func (l *errorList) all(errs field.ErrorList) { *l = append(*l, errs...) }

// strictness is what a configuration is held to. What its former state breaks already is no reason to refuse it.
type strictness struct {
	noSideEffects, knownVersions, uniqueNames, labelValues bool
	// conditions tells that match conditions are looked at; stored are the expressions that were there before.
	conditions bool
	stored     map[string]bool
}

var (
	knownVersions  = []string{"v1", "v1beta1"}
	noSideEffects  = []admissionregistrationv1.SideEffectClass{admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.SideEffectClassNoneOnDryRun}
	allSideEffects = append([]admissionregistrationv1.SideEffectClass{admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.SideEffectClassNoneOnDryRun},
		admissionregistrationv1.SideEffectClassSome, admissionregistrationv1.SideEffectClassUnknown)
)

func newStrictness(now []configured, old client.Object) strictness {
	s := strictness{noSideEffects: true, knownVersions: true, uniqueNames: true, labelValues: true, conditions: true, stored: map[string]bool{}}
	if old == nil {
		return s
	}
	before := webhooksOf(old)
	names := map[string]bool{}
	s.conditions = len(before) != len(now)
	for i, w := range before {
		s.noSideEffects = s.noSideEffects && w.SideEffects != nil && slices.Contains(noSideEffects, *w.SideEffects)
		s.knownVersions = s.knownVersions && (len(w.AdmissionReviewVersions) == 0 || hasKnownVersion(w.AdmissionReviewVersions))
		s.uniqueNames = s.uniqueNames && !names[w.Name]
		names[w.Name] = true
		strict := metavalidation.LabelSelectorValidationOptions{}
		s.labelValues = s.labelValues && len(metavalidation.ValidateLabelSelector(w.NamespaceSelector, strict, nil)) == 0 &&
			len(metavalidation.ValidateLabelSelector(w.ObjectSelector, strict, nil)) == 0
		s.conditions = s.conditions || !reflect.DeepEqual(w.MatchConditions, now[i].MatchConditions)
		for _, c := range w.MatchConditions {
			s.stored[c.Expression] = true
		}
	}
	return s
}

func hasKnownVersion(versions []string) bool {
	return slices.ContainsFunc(versions, func(v string) bool { return slices.Contains(knownVersions, v) })
}

func (l *errorList) webhook(w configured, s strictness, path *field.Path) {
	l.all(validation.IsFullyQualifiedName(path.Child("name"), w.Name))
	for i := range w.Rules {
		l.all(registration.ValidateRule(&w.Rules[i], path.Child("rules").Index(i)))
	}
	l.all(registration.OneOf(path.Child("failurePolicy"), w.FailurePolicy, admissionregistrationv1.Fail, admissionregistrationv1.Ignore))
	l.all(registration.OneOf(path.Child("matchPolicy"), w.MatchPolicy, admissionregistrationv1.Equivalent, admissionregistrationv1.Exact))
	effects := allSideEffects
	if s.noSideEffects {
		effects = noSideEffects
	}
	if w.SideEffects == nil {
		texts := make([]string, len(effects))
		for i := range effects {
			texts[i] = string(effects[i])
		}
		l.add(field.Required(path.Child("sideEffects"), "must specify one of "+strings.Join(texts, ", ")))
	}
	l.all(registration.OneOf(path.Child("sideEffects"), w.SideEffects, effects...))
	if t := w.TimeoutSeconds; t != nil && (*t < 1 || *t > 30) {
		l.add(field.Invalid(path.Child("timeoutSeconds"), *t, "the timeout value must be between 1 and 30 seconds"))
	}
	opts := metavalidation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: !s.labelValues}
	l.all(metavalidation.ValidateLabelSelector(w.NamespaceSelector, opts, path.Child("namespaceSelector")))
	l.all(metavalidation.ValidateLabelSelector(w.ObjectSelector, opts, path.Child("objectSelector")))
	l.all(registration.OneOf(path.Child("reinvocationPolicy"), w.reinvocation, admissionregistrationv1.IfNeededReinvocationPolicy, admissionregistrationv1.NeverReinvocationPolicy))
	l.clientConfig(&w.ClientConfig, path.Child("clientConfig"))
	if s.conditions {
		known := func(expression string) bool { return s.stored[expression] }
		l.all(cel.ValidateConditions(w.MatchConditions, false, known, path.Child("matchConditions")))
	}
}

func (l *errorList) clientConfig(c *admissionregistrationv1.WebhookClientConfig, path *field.Path) {
	switch {
	case (c.URL == nil) == (c.Service == nil):
		l.add(field.Required(path, "exactly one of url or service is required"))
	case c.URL != nil:
		l.url(*c.URL, path.Child("url"))
	default:
		l.service(c.Service, path.Child("service"))
	}
}

func (l *errorList) url(text string, path *field.Path) {
	const form = "; desired format: https://host[/path]"
	u, err := url.Parse(text)
	if err != nil {
		l.add(field.Required(path, "url must be a valid URL: "+err.Error()+form))
		return
	}
	if u.Scheme != "https" {
		l.add(field.Invalid(path, u.Scheme, "'https' is the only allowed URL scheme"+form))
	}
	if u.Host == "" {
		l.add(field.Invalid(path, u.Host, "host must be specified"+form))
	}
	if u.User != nil {
		l.add(field.Invalid(path, u.User.String(), "user information is not permitted in the URL"))
	}
	if u.Fragment != "" {
		l.add(field.Invalid(path, u.Fragment, "fragments are not permitted in the URL"))
	}
	if u.RawQuery != "" {
		l.add(field.Invalid(path, u.RawQuery, "query parameters are not permitted in the URL"))
	}
}

func (l *errorList) service(s *admissionregistrationv1.ServiceReference, path *field.Path) {
	if s.Name == "" {
		l.add(field.Required(path.Child("name"), ""))
	}
	if s.Namespace == "" {
		l.add(field.Required(path.Child("namespace"), ""))
	}
	port := int32(0)
	if s.Port != nil {
		port = *s.Port
	}
	if wrong := validation.IsValidPortNum(int(port)); len(wrong) > 0 {
		l.add(field.Invalid(path.Child("port"), port, "port is not valid: "+strings.Join(wrong, ", ")))
	}
	if s.Path != nil {
		l.path(*s.Path, path.Child("path"))
	}
}

// path checks the path at a Service: segments that are each like a host's name.
func (l *errorList) path(text string, path *field.Path) {
	switch text {
	case "", "/":
		return
	case "//":
		l.add(field.Invalid(path, text, "segment[0] may not be empty"))
		return
	}
	if !strings.HasPrefix(text, "/") {
		l.add(field.Invalid(path, text, "must start with a '/'"))
	}
	for i, segment := range strings.Split(strings.TrimSuffix(text[1:], "/"), "/") {
		if segment == "" {
			l.add(field.Invalid(path, text, fmt.Sprintf("segment[%d] may not be empty", i)))
			continue
		}
		for _, wrong := range validation.IsDNS1123Subdomain(segment) {
			l.add(field.Invalid(path, text, fmt.Sprintf("segment[%d]: %v", i, wrong)))
		}
	}
}

func (l *errorList) reviewVersions(versions []string, known bool, path *field.Path) {
	if len(versions) == 0 {
		l.add(field.Required(path, "must specify one of "+strings.Join(knownVersions, ", ")))
		return
	}
	for i, v := range versions {
		if slices.Contains(versions[:i], v) {
			l.add(field.Invalid(path.Index(i), v, "duplicate version"))
			continue
		}
		for _, wrong := range validation.IsDNS1035Label(v) {
			l.add(field.Invalid(path.Index(i), v, wrong))
		}
	}
	if known && !hasKnownVersion(versions) {
		l.add(field.Invalid(path, versions, "must include at least one of "+strings.Join(knownVersions, ", ")))
	}
}
