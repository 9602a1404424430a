package policy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/cel-go/common/types"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiservercel "k8s.io/apiserver/pkg/cel"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/cel"
)

// validator is a ValidatingAdmissionPolicy whose expressions are compiled.
type validator struct {
	ignore      bool
	compiler    *cel.Compiler
	conditions  *cel.Conditions
	validations []check
	annotations []annotation
}

type check struct {
	*admissionregistrationv1.Validation
	program *cel.Program
	// message is nil when there is no expression for it.
	message *cel.Program
}

type annotation struct {
	key     string
	program *cel.Program
}

func newValidator(p *validatingPolicy) *validator {
	params := p.Spec.ParamKind != nil
	o := cel.Options{Params: params, Authorizer: true, Stored: true}
	v := &validator{ignore: ignores(p.Spec.FailurePolicy), compiler: newCompiler(p.Spec.Variables, o)}
	v.conditions = cel.NewConditions(p.Spec.MatchConditions, p.Spec.FailurePolicy, params)
	for i := range p.Spec.Validations {
		own := check{Validation: &p.Spec.Validations[i]}
		own.program = v.compiler.Compile(own.Expression, o, cel.Bool)
		if own.MessageExpression != "" {
			own.message = v.compiler.Compile(own.MessageExpression, cel.Options{Params: params, Stored: true}, cel.String)
		}
		v.validations = append(v.validations, own)
	}
	for _, a := range p.Spec.AuditAnnotations {
		v.annotations = append(v.annotations, annotation{a.Key, v.compiler.Compile(a.ValueExpression, o, cel.String, cel.Null)})
	}
	return v
}

// newCompiler returns a compiler that knows variables.
func newCompiler(list []admissionregistrationv1.Variable, o cel.Options) *cel.Compiler {
	c := cel.NewVariablesCompiler()
	for _, v := range list {
		c.Define(v.Name, v.Expression, o)
	}
	return c
}

// decision is why a request does not pass.
type decision struct {
	message string
	// reason is that of the answer's status.
	reason metav1.StatusReason
	// index is the number of the validation that decided.
	index int
}

// noted is what a policy wants to be kept in the audit log.
type noted struct{ key, value string }

// decide evaluates the policy. Besides decisions to be treated by the binding's actions it returns those that refuse
// whatever these are, which are errors of audit annotations.
func (v *validator) decide(ctx context.Context, in *cel.Input) (denied, always []decision, notes []noted) {
	ok, _, err := v.conditions.Match(ctx, in)
	if err != nil {
		return v.failed(err.Error()), nil, nil
	}
	if !ok {
		return nil, nil, nil
	}
	run := cel.NewRun(ctx, v.compiler, in, cel.Budget)
	results := make([]cel.Result, len(v.validations))
	for i := range v.validations {
		if results[i], err = run.Eval(v.validations[i].program); err != nil {
			return v.failed(err.Error()), nil, nil
		}
	}
	messages, messageErr := v.messages(ctx, in, run.Remaining())
	for i, r := range results {
		switch {
		case r.Err != nil:
			denied = append(denied, at(i, v.failed(r.Err.Error()))...)
		case errors.Is(messageErr, apiservercel.ErrInternal) || errors.Is(messageErr, apiservercel.ErrOutOfBudget):
			denied = append(denied, at(i, v.failed(fmt.Sprintf("failed messageExpression: %s", messageErr)))...)
		case r.Value != types.True:
			d := decision{reason: metav1.StatusReasonInvalid, message: v.validations[i].text(messages[i]), index: i}
			if reason := v.validations[i].Reason; reason != nil {
				d.reason = *reason
			}
			denied = append(denied, d)
		}
	}
	always, notes, err = v.annotate(ctx, in)
	if err != nil {
		return v.failed(err.Error()), nil, nil
	}
	return denied, always, notes
}

// failed decides about what can't be evaluated by the failure policy.
func (v *validator) failed(message string) []decision {
	if v.ignore {
		return nil
	}
	return []decision{{message: message}}
}

func at(index int, list []decision) []decision {
	for i := range list {
		list[i].index = index
	}
	return list
}

// messages evaluates the expressions for messages; they share what the validations left of the budget. After an
// error none has a message.
func (v *validator) messages(ctx context.Context, in *cel.Input, budget int64) ([]cel.Result, error) {
	out := make([]cel.Result, len(v.validations))
	own := *in
	own.Authorizer = nil
	run := cel.NewRun(ctx, v.compiler, &own, budget)
	for i := range v.validations {
		if v.validations[i].message == nil {
			continue
		}
		var err error
		if out[i], err = run.Eval(v.validations[i].message); err != nil {
			return make([]cel.Result, len(v.validations)), err
		}
	}
	return out, nil
}

// maxMessage is the size of a message that an expression makes, in bytes.
const maxMessage = 5 << 10

// text returns why a validation refuses: what its expression says if that is fit to print, its message or else itself.
func (v *check) text(result cel.Result) string {
	if result.Err == nil && result.Value != nil {
		if s, ok := result.Value.Value().(string); ok {
			s = strings.TrimSpace(s)
			if s != "" && len(s) <= maxMessage && !strings.Contains(s, "\n") {
				return s
			}
		}
	}
	if v.Message != "" {
		if s := strings.TrimSpace(v.Message); s != "" {
			return s
		}
	}
	return "failed expression: " + strings.TrimSpace(v.Expression)
}

// annotate evaluates the audit annotations.
func (v *validator) annotate(ctx context.Context, in *cel.Input) (failed []decision, notes []noted, err error) {
	own := *in
	own.Authorizer = nil // Kubernetes declares the authorizer for them, and does not give it.
	run := cel.NewRun(ctx, v.compiler, &own, cel.Budget)
	for _, a := range v.annotations {
		r, err := run.Eval(a.program)
		switch {
		case err != nil:
			return nil, nil, err
		case r.Err != nil:
			failed = append(failed, v.failed(r.Err.Error())...)
		case r.Value.Type() == types.StringType:
			if s := strings.TrimSpace(r.Value.Value().(string)); s != "" {
				notes = append(notes, noted{a.key, s})
			}
		}
	}
	return failed, notes, nil
}

// refusal returns the answer to a request that a policy refuses.
func refusal(q *question, policy, binding string, d decision) error {
	message := fmt.Sprintf("ValidatingAdmissionPolicy '%s' denied request: %s", policy, d.message)
	if binding != "" {
		message = fmt.Sprintf("ValidatingAdmissionPolicy '%s' with binding '%s' denied request: %s", policy, binding, d.message)
	}
	err := apierrors.NewForbidden(q.Ref.GroupResource(), objectName(q), errors.New(message))
	err.ErrStatus.Reason = d.reason
	if d.reason == "" {
		err.ErrStatus.Reason = metav1.StatusReasonInvalid
	}
	switch err.ErrStatus.Reason {
	case metav1.StatusReasonForbidden:
		err.ErrStatus.Code = http.StatusForbidden
	case metav1.StatusReasonUnauthorized:
		err.ErrStatus.Code = http.StatusUnauthorized
	case metav1.StatusReasonRequestEntityTooLarge:
		err.ErrStatus.Code = http.StatusRequestEntityTooLarge
	default:
		err.ErrStatus.Code = http.StatusUnprocessableEntity
	}
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Message: message})
	return err
}

// objectName is what a refusal calls the object, whose name may not be made yet.
func objectName(q *question) string {
	switch {
	case q.Ref.Name != "":
		return q.Ref.Name
	case q.Object != nil && q.Object.GetName() != "":
		return q.Object.GetName()
	case q.Object != nil && q.Object.GetGenerateName() != "":
		return q.Object.GetGenerateName()
	}
	return "Unknown"
}

// validate is the admission plugin ValidatingAdmissionPolicy.
func (p *Policies) validate(ctx context.Context, r *apiserver.AdmissionRequest) error {
	active, err := p.validators(ctx)
	if err != nil {
		return err
	}
	if len(active) == 0 || exempt(r) {
		return nil
	}
	v := &verdict{q: newQuestion(ctx, r), authorizer: newRemembering(r.Authorizer()), inputs: map[apiserver.AdmissionVersion]*cel.Input{}}
	for _, policy := range active {
		if err := v.ask(ctx, policy); err != nil {
			return err
		}
	}
	p.audit(v)
	if len(v.denied) == 0 {
		return nil
	}
	return v.denied[0]
}
