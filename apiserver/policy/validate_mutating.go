package policy

import (
	"slices"
	"strings"

	celgo "github.com/google/cel-go/cel"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/cel"
	"github.com/inboard/inboard/apiserver/internal/registration"
)

func validateMutatingPolicy(p, old *mutatingPolicy) field.ErrorList {
	spec := &p.Spec
	c := &expressions{params: spec.ParamKind != nil, compiler: cel.NewVariablesCompiler()}
	if old != nil {
		c.stored = storedMutations(old)
	}
	errs := validateFailurePolicy(spec.FailurePolicy, specPath.Child("failurePolicy"))
	if spec.ParamKind != nil {
		errs = append(errs, validateParamKind(spec.ParamKind, specPath.Child("paramKind"))...)
	}
	match := specPath.Child("matchConstraints")
	errs = append(errs, validateConstraints(spec.MatchConstraints, match)...)
	errs = append(errs, validateMutable(spec.MatchConstraints, match)...)
	if old == nil || !apiequality.Semantic.DeepEqual(spec.ParamKind, old.Spec.ParamKind) ||
		!apiequality.Semantic.DeepEqual(spec.MatchConditions, old.Spec.MatchConditions) {
		errs = append(errs, cel.ValidateConditions(spec.MatchConditions, c.params, c.storedCondition, specPath.Child("matchConditions"))...)
	}
	errs = append(errs, c.variables(spec.Variables)...)
	if len(spec.Mutations) == 0 {
		errs = append(errs, field.Required(specPath.Child("mutations"), "mutations must contain at least one item"))
	}
	for i := range spec.Mutations {
		errs = append(errs, c.mutation(&spec.Mutations[i], specPath.Child("mutations").Index(i))...)
	}
	if spec.ReinvocationPolicy == "" {
		return append(errs, field.Required(specPath.Child("reinvocationPolicy"), ""))
	}
	return append(errs, registration.OneOf(specPath.Child("reinvocationPolicy"), &spec.ReinvocationPolicy,
		admissionregistrationv1.IfNeededReinvocationPolicy, admissionregistrationv1.NeverReinvocationPolicy)...)
}

// validateMutable checks that rules are about operations that have an object to change.
func validateMutable(m *admissionregistrationv1.MatchResources, path *field.Path) field.ErrorList {
	if m == nil {
		return nil
	}
	var errs field.ErrorList
	for _, r := range m.ResourceRules {
		for _, o := range r.Operations {
			errs = append(errs, registration.OneOf(path.Child("resourceRules", "operations"), &o, admissionregistrationv1.OperationAll,
				admissionregistrationv1.Connect, admissionregistrationv1.Create, admissionregistrationv1.Update)...)
		}
	}
	return errs
}

func storedMutations(p *mutatingPolicy) stored {
	var s stored
	for _, m := range p.Spec.MatchConditions {
		s.conditions = append(s.conditions, m.Expression)
	}
	for _, m := range p.Spec.Mutations {
		if m.ApplyConfiguration != nil {
			s.configurations = append(s.configurations, m.ApplyConfiguration.Expression)
		}
	}
	return s
}

func (c *expressions) mutation(m *admissionregistrationv1.Mutation, path *field.Path) field.ErrorList {
	configuration, patch := path.Child("applyConfiguration"), path.Child("jsonPatch")
	var errs field.ErrorList
	switch m.PatchType {
	case "":
		return field.ErrorList{field.Required(path.Child("patchType"), "")}
	case admissionregistrationv1.PatchTypeJSONPatch:
		if m.JSONPatch == nil {
			errs = append(errs, field.Required(patch, "must be specified when patchType is JSONPatch"))
		} else {
			errs = append(errs, c.change(m.JSONPatch.Expression, patchType, patch.Child("expression"))...)
		}
		if m.ApplyConfiguration != nil {
			errs = append(errs, field.Invalid(configuration, "{applyConfiguration}", "must not be specified when patchType is JSONPatch"))
		}
	case admissionregistrationv1.PatchTypeApplyConfiguration:
		if m.ApplyConfiguration == nil {
			errs = append(errs, field.Required(configuration, "must be specified when patchType is ApplyConfiguration"))
		} else {
			errs = append(errs, c.change(m.ApplyConfiguration.Expression, configurationType, configuration.Child("expression"))...)
		}
		if m.JSONPatch != nil {
			errs = append(errs, field.Invalid(patch, "{jsonPatch}", "must not be specified when patchType is ApplyConfiguration"))
		}
	default:
		errs = registration.OneOf(path.Child("patchType"), &m.PatchType, admissionregistrationv1.PatchTypeApplyConfiguration, admissionregistrationv1.PatchTypeJSONPatch)
	}
	return errs
}

// change checks the expression of a mutation. That one counts as stored which was an apply configuration before, also
// for JSON patches: so Kubernetes has it.
func (c *expressions) change(expression string, want *celgo.Type, path *field.Path) field.ErrorList {
	trimmed := strings.TrimSpace(expression)
	if trimmed == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	o := cel.Options{Params: c.params, Authorizer: true, Patches: true, Stored: slices.Contains(c.stored.configurations, expression)}
	return c.compiler.Compile(trimmed, o, want).FieldErrors(path)
}
