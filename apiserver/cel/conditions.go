package cel

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/cel-go/common/types"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiservercel "k8s.io/apiserver/pkg/cel"
)

// Conditions are the match conditions of a webhook or a policy
// (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-matchconditions),
// compiled. They are safe for concurrent use.
type Conditions struct {
	names    []string
	programs []*Program
	ignore   bool
}

// NewConditions compiles match conditions that were accepted. params tells that they may use params; policy is that of
// the webhook or policy, Fail when it is nil.
func NewConditions(list []admissionregistrationv1.MatchCondition, policy *admissionregistrationv1.FailurePolicyType, params bool) *Conditions {
	c := &Conditions{ignore: policy != nil && *policy == admissionregistrationv1.Ignore}
	compiler := NewCompiler()
	for _, m := range list {
		c.names = append(c.names, m.Name)
		c.programs = append(c.programs, compiler.Compile(m.Expression, Options{Params: params, Authorizer: true, Stored: true}, Bool))
	}
	return c
}

// Match tells whether all conditions hold, and otherwise the name of the first that does not, "" when it is not known
// because one could not be evaluated. Where the failure policy is Fail, that is an error instead.
func (c *Conditions) Match(ctx context.Context, in *Input) (ok bool, failed string, err error) {
	if len(c.programs) == 0 {
		return true, "", nil
	}
	own := *in
	own.Namespace, own.namespace = nil, value{} // Kubernetes does not give it to conditions.
	run := NewRun(ctx, nil, &own, ConditionsBudget)
	results := make([]Result, len(c.programs))
	for i, p := range c.programs {
		if results[i], err = run.Eval(p); err != nil {
			return c.failed(err)
		}
	}
	var errs []error
	for i, r := range results {
		if r.Err != nil {
			errs = append(errs, r.Err)
		}
		if r.Value == types.False {
			return false, c.names[i], nil
		}
	}
	if len(errs) > 0 {
		return c.failed(utilerrors.NewAggregate(errs))
	}
	return true, "", nil
}

func (c *Conditions) failed(err error) (bool, string, error) {
	if c.ignore {
		return false, "", nil
	}
	return false, "", err
}

// maxConditions is how many match conditions a webhook or policy may have.
const maxConditions = 64

// ValidateConditions returns what is wrong with match conditions. params tells that they may use params; stored are
// the expressions that were accepted before.
func ValidateConditions(list []admissionregistrationv1.MatchCondition, params bool, stored func(expression string) bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(list) > maxConditions {
		errs = append(errs, field.TooMany(path, len(list), maxConditions))
	}
	compiler := NewCompiler()
	names := map[string]bool{}
	for i, m := range list {
		at := path.Index(i)
		if expression := strings.TrimSpace(m.Expression); expression == "" {
			errs = append(errs, field.Required(at.Child("expression"), ""))
		} else {
			o := Options{Params: params, Authorizer: true, Stored: stored != nil && stored(expression)}
			errs = append(errs, compiler.Compile(expression, o, Bool).FieldErrors(at.Child("expression"))...)
		}
		if m.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
			continue
		}
		for _, text := range validation.IsQualifiedName(m.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), m.Name, text))
		}
		if names[m.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), m.Name))
		}
		names[m.Name] = true
	}
	return errs
}

// FieldErrors returns why the expression does not compile as what is wrong with a field, none when it does.
func (p *Program) FieldErrors(path *field.Path) field.ErrorList {
	if p.Err == nil {
		return nil
	}
	switch p.Err.Type {
	case apiservercel.ErrorTypeRequired:
		return field.ErrorList{field.Required(path, p.Err.Detail)}
	case apiservercel.ErrorTypeInvalid:
		return field.ErrorList{field.Invalid(path, p.Expression, p.Err.Detail)}
	case apiservercel.ErrorTypeInternal:
		return field.ErrorList{field.InternalError(path, p.Err)}
	}
	return field.ErrorList{field.InternalError(path, fmt.Errorf("unsupported error type: %w", p.Err))}
}
