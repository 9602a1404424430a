package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	celgo "github.com/google/cel-go/cel"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiservercel "k8s.io/apiserver/pkg/cel"

	"github.com/inboard/inboard/apiserver/cel"
	"github.com/inboard/inboard/apiserver/internal/registration"
)

const (
	maxAnnotations = 20
	// maxAnnotationExpression is the size of an audit annotation's expression, in bytes.
	maxAnnotationExpression = 5 << 10
)

var reasons = []metav1.StatusReason{metav1.StatusReasonForbidden, metav1.StatusReasonInvalid, metav1.StatusReasonRequestEntityTooLarge}

var specPath = field.NewPath("spec")

func validateValidatingPolicy(p, old *validatingPolicy) field.ErrorList {
	spec := &p.Spec
	c := &expressions{params: spec.ParamKind != nil, compiler: cel.NewCompiler()}
	if len(spec.Variables) > 0 {
		c.compiler = cel.NewVariablesCompiler()
	}
	if old != nil {
		c.stored = storedExpressions(old)
	}
	errs := validateFailurePolicy(spec.FailurePolicy, specPath.Child("failurePolicy"))
	if spec.ParamKind != nil {
		errs = append(errs, validateParamKind(spec.ParamKind, specPath.Child("paramKind"))...)
	}
	errs = append(errs, validateConstraints(spec.MatchConstraints, specPath.Child("matchConstraints"))...)
	if old == nil || !apiequality.Semantic.DeepEqual(spec.ParamKind, old.Spec.ParamKind) ||
		!apiequality.Semantic.DeepEqual(spec.MatchConditions, old.Spec.MatchConditions) {
		errs = append(errs, cel.ValidateConditions(spec.MatchConditions, c.params, c.storedCondition, specPath.Child("matchConditions"))...)
	}
	errs = append(errs, c.variables(spec.Variables)...)
	if len(spec.Validations) == 0 && len(spec.AuditAnnotations) == 0 {
		const text = "validations or auditAnnotations must contain at least one item"
		return append(errs, field.Required(specPath.Child("validations"), text), field.Required(specPath.Child("auditAnnotations"), text))
	}
	for i := range spec.Validations {
		errs = append(errs, c.validation(&spec.Validations[i], specPath.Child("validations").Index(i))...)
	}
	return append(errs, c.annotations(p)...)
}

// validateConstraints checks what a policy is about, which must be something.
func validateConstraints(m *admissionregistrationv1.MatchResources, path *field.Path) field.ErrorList {
	if m == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	errs := validateMatch(m, path)
	if len(m.ResourceRules) == 0 {
		errs = append(errs, field.Required(path.Child("resourceRules"), ""))
	}
	return errs
}

// stored are expressions that were accepted before, by what they are for.
type stored struct{ conditions, validations, messages, annotations, configurations []string }

func storedExpressions(p *validatingPolicy) stored {
	var s stored
	for _, m := range p.Spec.MatchConditions {
		s.conditions = append(s.conditions, m.Expression)
	}
	for _, v := range p.Spec.Validations {
		s.validations = append(s.validations, v.Expression)
		s.messages = append(s.messages, v.MessageExpression)
	}
	for _, a := range p.Spec.AuditAnnotations {
		s.annotations = append(s.annotations, a.ValueExpression)
	}
	return s
}

// expressions checks those of one policy.
type expressions struct {
	params   bool
	stored   stored
	compiler *cel.Compiler
}

func (c *expressions) storedCondition(expression string) bool {
	return slices.Contains(c.stored.conditions, expression)
}

// identifier is what a variable may be called in CEL.
var identifier = regexp.MustCompile("^[_a-zA-Z][_a-zA-Z0-9]*$")

var reservedIdentifiers = strings.Fields("true false null in as break const continue else for function if import let loop package namespace return var void while")

func (c *expressions) variables(list []admissionregistrationv1.Variable) field.ErrorList {
	var errs field.ErrorList
	for i, v := range list {
		path := specPath.Child("variables").Index(i)
		if strings.TrimSpace(v.Name) == "" {
			errs = append(errs, field.Required(path.Child("name"), "name is not specified"))
		} else if !identifier.MatchString(v.Name) || slices.Contains(reservedIdentifiers, v.Name) {
			errs = append(errs, field.Invalid(path.Child("name"), v.Name, "must be a valid CEL identifier"))
		}
		if strings.TrimSpace(v.Expression) == "" {
			errs = append(errs, field.Required(path.Child("expression"), "expression is not specified"))
			continue
		}
		o := cel.Options{Params: c.params, Authorizer: true, Stored: slices.Contains(c.stored.validations, v.Expression)}
		errs = append(errs, c.compiler.Define(v.Name, v.Expression, o).FieldErrors(path.Child("expression"))...)
	}
	return errs
}

func (c *expressions) validation(v *admissionregistrationv1.Validation, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if strings.TrimSpace(v.Expression) == "" {
		errs = append(errs, field.Required(path.Child("expression"), "expression is not specified"))
	} else {
		o := cel.Options{Params: c.params, Authorizer: true, Stored: slices.Contains(c.stored.validations, v.Expression)}
		errs = append(errs, c.compiler.Compile(v.Expression, o, cel.Bool).FieldErrors(path.Child("expression"))...)
	}
	if v.MessageExpression != "" {
		at := path.Child("messageExpression")
		if strings.TrimSpace(v.MessageExpression) == "" {
			errs = append(errs, field.Invalid(at, v.MessageExpression, "must be non-empty if specified"))
		} else {
			o := cel.Options{Params: c.params, Stored: slices.Contains(c.stored.messages, v.MessageExpression)}
			errs = append(errs, c.compiler.Compile(v.MessageExpression, o, cel.String).FieldErrors(at)...)
		}
	}
	switch trimmed := strings.TrimSpace(v.Message); {
	case v.Message != "" && trimmed == "":
		errs = append(errs, field.Invalid(path.Child("message"), v.Message, "must be non-empty if specified"))
	case strings.ContainsAny(trimmed, "\n\r"):
		errs = append(errs, field.Invalid(path.Child("message"), v.Message, "must not contain line breaks"))
	}
	return append(errs, registration.OneOf(path.Child("reason"), v.Reason, reasons...)...)
}

func (c *expressions) annotations(p *validatingPolicy) field.ErrorList {
	list, path := p.Spec.AuditAnnotations, specPath.Child("auditAnnotations")
	var errs field.ErrorList
	if len(list) > maxAnnotations {
		errs = append(errs, field.Invalid(path, list, fmt.Sprintf("must not have more than %d auditAnnotations", maxAnnotations)))
	}
	keys := map[string]bool{}
	for i := range list {
		errs = append(errs, c.annotation(p.Name, &list[i], path.Index(i))...)
		if keys[list[i].Key] {
			errs = append(errs, field.Duplicate(path.Index(i).Child("key"), list[i].Key))
		}
		keys[list[i].Key] = true
	}
	return errs
}

func (c *expressions) annotation(policy string, a *admissionregistrationv1.AuditAnnotation, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if policy == "" {
		errs = append(errs, field.Invalid(path.Child("key"), a.Key, "requires metadata.name be non-empty"))
	} else {
		name := policy + "/" + a.Key
		for _, text := range validation.IsQualifiedName(name) {
			errs = append(errs, field.Invalid(path.Child("key"), name, text))
		}
	}
	at := path.Child("valueExpression")
	expression := strings.TrimSpace(a.ValueExpression)
	switch {
	case expression == "":
		return append(errs, field.Required(at, "valueExpression is not specified"))
	case len(expression) > maxAnnotationExpression:
		return append(errs, field.Required(at, fmt.Sprintf("must not exceed %d bytes in length", maxAnnotationExpression)))
	}
	o := cel.Options{Params: c.params, Authorizer: true, Stored: slices.Contains(c.stored.annotations, a.ValueExpression)}
	p := c.compiler.Compile(expression, o, cel.String, cel.Null)
	if p.Err != nil && p.Err.Type == apiservercel.ErrorTypeInvalid {
		return append(errs, field.Invalid(at, a.ValueExpression, p.Err.Detail))
	}
	return append(errs, p.FieldErrors(at)...)
}

// Types that mutations return.
var (
	configurationType = celgo.ObjectType("Object")
	patchType         = celgo.ListType(celgo.ObjectType("JSONPatch"))
)
