package flowcontrol

import (
	"fmt"
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// maxPrecedence is the last place in which schemas are looked at.
const maxPrecedence = 10000

// verbs are those that rules may name, besides "*".
var verbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"}

func validateSchema(o, _ *flowcontrolv1.FlowSchema) field.ErrorList {
	var l check.List
	s := &o.Spec
	precedence(&l, specPath.Child("matchingPrecedence"), s.MatchingPrecedence, o.Name)
	if d := s.DistinguisherMethod; d != nil {
		check.Supported(&l, specPath.Child("distinguisherMethod", "type"), d.Type,
			flowcontrolv1.FlowDistinguisherMethodByNamespaceType, flowcontrolv1.FlowDistinguisherMethodByUserType)
	}
	level := specPath.Child("priorityLevelConfiguration", "name")
	if name := s.PriorityLevelConfiguration.Name; name == "" {
		l.Required(level, "must reference a priority level")
	} else {
		l.Subdomain(level, name)
	}
	for i := range s.Rules {
		rule(&l, specPath.Child("rules").Index(i), &s.Rules[i])
	}
	if fixed, ok := fixedSchemas()[o.Name]; ok && !equality.Semantic.DeepEqual(fixed, *s) {
		l.Invalid(specPath, *s, fmt.Sprintf("spec of '%s' must equal the fixed value", o.Name))
	}
	l.Add(schemaStatus(o)...)
	return l.Errors()
}

func precedence(l *check.List, p *field.Path, n int32, name string) {
	switch {
	case n <= 0:
		l.Invalid(p, n, "must be a positive value")
	case n > maxPrecedence:
		l.Invalid(p, n, fmt.Sprintf("must not be greater than %d", maxPrecedence))
	case n == 1 && name != exempt:
		l.Invalid(p, n, "only the schema named 'exempt' may have matchingPrecedence 1")
	}
}

func rule(l *check.List, p *field.Path, r *flowcontrolv1.PolicyRulesWithSubjects) {
	if len(r.Subjects) == 0 {
		l.Required(p.Child("subjects"), "subjects must contain at least one value")
	}
	for i := range r.Subjects {
		subject(l, p.Child("subjects").Index(i), &r.Subjects[i])
	}
	if len(r.ResourceRules)+len(r.NonResourceRules) == 0 {
		l.Required(p, "at least one of resourceRules and nonResourceRules has to be non-empty")
	}
	for i := range r.ResourceRules {
		resourceRule(l, p.Child("resourceRules").Index(i), &r.ResourceRules[i])
	}
	for i := range r.NonResourceRules {
		urlRule(l, p.Child("nonResourceRules").Index(i), &r.NonResourceRules[i])
	}
}

func subject(l *check.List, p *field.Path, s *flowcontrolv1.Subject) {
	kinds := []struct {
		kind flowcontrolv1.SubjectKind
		name string
		set  bool
	}{
		{flowcontrolv1.SubjectKindServiceAccount, "serviceAccount", s.ServiceAccount != nil},
		{flowcontrolv1.SubjectKindUser, "user", s.User != nil},
		{flowcontrolv1.SubjectKindGroup, "group", s.Group != nil},
	}
	check.Supported(l, p.Child("kind"), s.Kind, flowcontrolv1.SubjectKindGroup, flowcontrolv1.SubjectKindServiceAccount, flowcontrolv1.SubjectKindUser)
	if !slices.ContainsFunc(l.Errors(), func(e *field.Error) bool { return e.Field == p.Child("kind").String() }) {
		for _, k := range kinds {
			switch {
			case k.kind == s.Kind && !k.set:
				l.Required(p.Child(k.name), fmt.Sprintf("%s is required when subject kind is '%s'", k.name, k.kind))
			case k.kind != s.Kind && k.set:
				l.Forbidden(p.Child(k.name), fmt.Sprintf("%s is forbidden when subject kind is not '%s'", k.name, k.kind))
			case k.kind == s.Kind:
				named(l, p.Child(k.name), s)
			}
		}
	}
}

// named checks the names of the subject's kind, which is set.
func named(l *check.List, p *field.Path, s *flowcontrolv1.Subject) {
	switch s.Kind {
	case flowcontrolv1.SubjectKindUser:
		if s.User.Name == "" {
			l.Required(p.Child("name"), "")
		}
	case flowcontrolv1.SubjectKindGroup:
		if s.Group.Name == "" {
			l.Required(p.Child("name"), "")
		}
	case flowcontrolv1.SubjectKindServiceAccount:
		a := s.ServiceAccount
		if a.Name == "" {
			l.Required(p.Child("name"), "")
		} else if a.Name != "*" {
			l.Messages(p.Child("name"), a.Name, validation.ValidateServiceAccountName(a.Name, false))
		}
		if a.Namespace == "" {
			l.Required(p.Child("namespace"), "must specify namespace for service account")
		} else {
			l.Messages(p.Child("namespace"), a.Namespace, validation.ValidateNamespaceName(a.Namespace, false))
		}
	}
}

// wild tells that a list is "*"; beside others, that is an error.
func wild(l *check.List, p *field.Path, list []string, what string) bool {
	if !slices.Contains(list, "*") {
		return false
	}
	if len(list) > 1 {
		l.Invalid(p, list, "if '*' is present, must not specify other "+what)
	}
	return true
}

func ruleVerbs(l *check.List, p *field.Path, list []string) {
	if len(list) == 0 {
		l.Required(p, "verbs must contain at least one value")
		return
	}
	if !wild(l, p, list, "verbs") && slices.ContainsFunc(list, func(v string) bool { return !slices.Contains(verbs, v) }) {
		l.Add(field.NotSupported(p, list, verbs))
	}
}

func resourceRule(l *check.List, p *field.Path, r *flowcontrolv1.ResourcePolicyRule) {
	ruleVerbs(l, p.Child("verbs"), r.Verbs)
	if len(r.APIGroups) == 0 {
		l.Required(p.Child("apiGroups"), "resource rules must supply at least one api group")
	}
	wild(l, p.Child("apiGroups"), r.APIGroups, "api groups")
	if len(r.Resources) == 0 {
		l.Required(p.Child("resources"), "resource rules must supply at least one resource")
	}
	wild(l, p.Child("resources"), r.Resources, "resources")
	namespaces := p.Child("namespaces")
	if len(r.Namespaces) == 0 && !r.ClusterScope {
		l.Required(namespaces, "resource rules that are not cluster scoped must supply at least one namespace")
	}
	if wild(l, namespaces, r.Namespaces, "namespaces") {
		return
	}
	for i, ns := range r.Namespaces {
		for _, m := range validation.ValidateNamespaceName(ns, false) {
			l.Invalid(namespaces.Index(i), ns, "each member of this list must be '*' or a DNS-1123 label; "+m)
		}
	}
}

func urlRule(l *check.List, p *field.Path, r *flowcontrolv1.NonResourcePolicyRule) {
	ruleVerbs(l, p.Child("verbs"), r.Verbs)
	urls := p.Child("nonResourceURLs")
	if len(r.NonResourceURLs) == 0 {
		l.Required(urls, "nonResourceURLs must contain at least one value")
	}
	if wild(l, urls, r.NonResourceURLs, "non-resource URLs") {
		return
	}
	for i, u := range r.NonResourceURLs {
		if wrong := urlPath(u); wrong != "" {
			l.Invalid(urls.Index(i), u, wrong)
		}
	}
}

// urlPath says what is wrong with a path, "" for nothing.
func urlPath(u string) string {
	stars := strings.Count(u, "*")
	switch {
	case u == "":
		return "must not be empty"
	case !strings.HasPrefix(u, "/"):
		return "must start with slash"
	case strings.Contains(u, " "):
		return "must not contain white-space"
	case strings.Contains(u, "//"):
		return "must not contain double slash"
	case stars > 1, stars == 1 && !strings.HasSuffix(u, "/*"):
		return "wildcard can only do suffix matching"
	}
	return ""
}

func schemaStatus(o *flowcontrolv1.FlowSchema) field.ErrorList {
	types := make([]string, len(o.Status.Conditions))
	for i, c := range o.Status.Conditions {
		types[i] = string(c.Type)
	}
	return conditions(types)
}

// conditions checks the types of conditions, each of which may be there once.
func conditions(types []string) field.ErrorList {
	var l check.List
	for i, t := range types {
		p := statusPath.Child("conditions").Index(i).Child("type")
		if slices.Contains(types[:i], t) {
			l.Add(field.Duplicate(p, t))
		}
		if t == "" {
			l.Required(p, "")
		}
	}
	return l.Errors()
}
