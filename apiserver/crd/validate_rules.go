package crd

import (
	"fmt"
	"math"
	"slices"
	"strings"

	celgo "github.com/google/cel-go/cel"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// What rules may cost by estimate: one of them, and all of a schema.
const (
	ruleCostLimit   = 10_000_000
	schemaCostLimit = 100_000_000
)

// ruleScope tells how often a rule may be evaluated.
type ruleScope struct {
	// times is the number of values that the schema describes in one object, nil when that has no bound.
	times *uint64
	total *ruleCosts
	root  bool
	// ruled tells of rules here or above, untyped of a schema among those with a type that there is not: then CEL can't
	// tell what is below.
	ruled, untyped bool
}

// ruleCosts sums up what the rules of a schema cost.
type ruleCosts struct {
	sum       uint64
	expensive []ruleCost
}

type ruleCost struct {
	at   *field.Path
	cost uint64
}

func (c *ruleCosts) observe(at *field.Path, cost uint64) {
	if math.MaxUint64-c.sum < cost {
		c.sum = math.MaxUint64
	} else {
		c.sum += cost
	}
	if cost < schemaCostLimit/100 {
		return
	}
	c.expensive = append(c.expensive, ruleCost{at, cost})
	slices.SortStableFunc(c.expensive, func(a, b ruleCost) int {
		switch {
		case a.cost > b.cost:
			return -1
		case a.cost < b.cost:
			return 1
		}
		return 0
	})
	c.expensive = c.expensive[:min(len(c.expensive), 4)]
}

func newRuleScope(s *schemaProps) *ruleScope {
	once := uint64(1)
	return &ruleScope{times: &once, total: &ruleCosts{}, root: true, ruled: len(s.XValidations) > 0}
}

// child is the scope of a schema below parent.
func (r *ruleScope) child(parent, s *schemaProps) *ruleScope {
	if r == nil {
		return nil
	}
	out := &ruleScope{total: r.total, ruled: r.ruled || s != nil && len(s.XValidations) > 0,
		untyped: r.untyped || r.ruled && parent.Type != "" && !slices.Contains(schemaTypes, parent.Type)}
	if most := maxElements(parent); r.times != nil && most != nil {
		n := times(*r.times, *most)
		out.times = &n
	}
	return out
}

// maxElements is how many values a schema describes for each of its own, nil for no bound.
func maxElements(s *schemaProps) *uint64 {
	bound := func(n *int64) *uint64 {
		if n == nil {
			return nil
		}
		u := uint64(max(*n, 0))
		return &u
	}
	one := uint64(1)
	switch {
	case s.Type == "object" && s.AdditionalProperties != nil:
		return bound(s.MaxProperties)
	case s.Type == "array":
		return bound(s.MaxItems)
	}
	return &one
}

func times(a, b uint64) uint64 {
	if a != 0 && math.MaxUint64/a < b {
		return math.MaxUint64
	}
	return a * b
}

// overBudget tells when the rules of a schema cost too much together.
func (r *ruleScope) overBudget(at *field.Path) field.ErrorList {
	if r == nil || r.total.sum <= schemaCostLimit {
		return nil
	}
	var errs field.ErrorList
	for _, c := range r.total.expensive {
		errs = append(errs, field.Forbidden(c.at, "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"))
	}
	return append(errs, field.Forbidden(at, costText("x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema", r.total.sum, schemaCostLimit)))
}

func costText(what string, cost, limit uint64) string {
	by := float64(cost) / float64(limit)
	factor := fmt.Sprintf("%.1fx", by)
	switch {
	case by > 100:
		factor = "more than 100x"
	case by < 1.5:
		factor = fmt.Sprintf("%fx", by)
	}
	return fmt.Sprintf("%s exceeds budget by factor of %s (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)", what, factor)
}

var ruleReasons = []string{"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"}

func hasLineBreaks(s string) bool { return strings.ContainsAny(s, "\n\r") }

// validateRules returns what is wrong with rules besides their expressions.
func validateRules(s *schemaProps, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, rule := range s.XValidations {
		p := at.Index(i)
		text, message := strings.TrimSpace(rule.Rule), strings.TrimSpace(rule.Message)
		switch {
		case text == "":
			errs = append(errs, field.Required(p.Child("rule"), "rule is not specified"))
		case rule.Message != "" && message == "":
			errs = append(errs, field.Invalid(p.Child("message"), rule.Message, "must be non-empty if specified"))
		case hasLineBreaks(message):
			errs = append(errs, field.Invalid(p.Child("message"), rule.Message, "must not contain line breaks"))
		case hasLineBreaks(text) && message == "":
			errs = append(errs, field.Required(p.Child("message"), "message must be specified if rule contains line breaks"))
		}
		if rule.MessageExpression != "" && strings.TrimSpace(rule.MessageExpression) == "" {
			errs = append(errs, field.Required(p.Child("messageExpression"), "messageExpression must be non-empty if specified"))
		}
		if rule.Reason != nil && !slices.Contains(ruleReasons, string(*rule.Reason)) {
			errs = append(errs, field.NotSupported(p.Child("reason"), *rule.Reason, ruleReasons))
		}
		errs = append(errs, validateFieldPath(s, rule.FieldPath, p.Child("fieldPath"))...)
	}
	return errs
}

func validateFieldPath(s *schemaProps, path string, at *field.Path) field.ErrorList {
	if path == "" {
		return nil
	}
	var errs field.ErrorList
	if strings.TrimSpace(path) == "" {
		errs = append(errs, field.Invalid(at, path, "must be non-empty if specified"))
	}
	if hasLineBreaks(path) {
		errs = append(errs, field.Invalid(at, path, "must not contain line breaks"))
	}
	structural, err := structuralschema.NewStructural(s)
	if err != nil {
		return errs
	}
	if _, _, err := cel.ValidFieldPath(path, structural); err != nil {
		errs = append(errs, field.Invalid(at, path, "must be a valid path"))
	}
	return errs
}

// known are expressions that are in the old definition: those are held to what was allowed when they were new.
type known struct{ rules, messages map[string]bool }

func (k known) RuleEnv(set *environment.EnvSet, expression string) *celgo.Env {
	if k.rules[expression] {
		return set.StoredExpressionsEnv()
	}
	return set.NewExpressionsEnv()
}

func (k known) MessageExpressionEnv(set *environment.EnvSet, expression string) *celgo.Env {
	if k.messages[expression] {
		return set.StoredExpressionsEnv()
	}
	return set.NewExpressionsEnv()
}

// compile returns what is wrong with the expressions of a schema's rules.
func (w *walker) compile(s *schemaProps, at *field.Path) field.ErrorList {
	structural, err := structuralschema.NewStructural(s)
	if err != nil {
		return field.ErrorList{field.InternalError(at, fmt.Errorf("internal error: failed to construct type information for x-kubernetes-validations rules: %w", err))}
	}
	declared := model.SchemaDeclType(structural, w.rules.root || s.XEmbeddedResource)
	if declared == nil || w.rules.untyped {
		return field.ErrorList{field.InternalError(at, fmt.Errorf("internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations"))}
	}
	base := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	results, err := cel.Compile(structural, declared, celconfig.PerCallLimit, base, w.o.known)
	if err != nil {
		return field.ErrorList{field.InternalError(at, err)}
	}
	var errs field.ErrorList
	for i := range results {
		errs = append(errs, w.compiled(&results[i], &s.XValidations[i], at.Index(i))...)
	}
	return errs
}

func (w *walker) compiled(r *cel.CompilationResult, rule *apiextensions.ValidationRule, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	atRule, atMessage := at.Child("rule"), at.Child("messageExpression")
	often := r.MaxCardinality
	if w.rules.times != nil {
		often = *w.rules.times
	}
	cost := times(r.MaxCost, often)
	if !w.o.anyCost && cost > ruleCostLimit {
		errs = append(errs, field.Forbidden(atRule, costText("estimated rule cost", cost, ruleCostLimit)))
	}
	w.rules.total.observe(atRule, cost)
	if r.Error != nil {
		if r.Error.Type == apiservercel.ErrorTypeRequired {
			errs = append(errs, field.Required(atRule, r.Error.Detail))
		} else {
			errs = append(errs, field.Invalid(atRule, *rule, r.Error.Detail))
		}
	}
	if r.MessageExpressionError != nil {
		errs = append(errs, field.Invalid(atMessage, *rule, r.MessageExpressionError.Detail))
	} else if r.MessageExpression != nil {
		if !w.o.anyCost && r.MessageExpressionMaxCost > ruleCostLimit {
			errs = append(errs, field.Forbidden(atMessage, costText("estimated messageExpression cost", r.MessageExpressionMaxCost, ruleCostLimit)))
		}
		w.rules.total.observe(atMessage, r.MessageExpressionMaxCost)
	}
	switch {
	case r.UsesOldSelf && w.uncorrelated != nil:
		errs = append(errs, field.Invalid(atRule, rule.Rule, fmt.Sprintf("oldSelf cannot be used on the uncorrelatable portion of the schema within %v", w.uncorrelated)))
	case !r.UsesOldSelf && rule.OptionalOldSelf != nil:
		errs = append(errs, field.Invalid(at.Child("optionalOldSelf"), *rule.OptionalOldSelf, "may not be set if oldSelf is not used in rule"))
	}
	return errs
}
