package policy

import (
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/cel"
)

// verdict is what all validating policies say about a request.
type verdict struct {
	q          *question
	authorizer apiserver.Authorizer
	inputs     map[apiserver.AdmissionVersion]*cel.Input
	// denied are refusals; the first is the answer.
	denied []error
	// audits is what goes to the audit log, as key and value.
	audits []any
}

// ask evaluates a policy for those of its bindings that are about the request. An error ends the request.
func (v *verdict) ask(ctx context.Context, p *policy[*validator]) error {
	ok, as, err := p.matcher.Match(v.q.Request)
	if err == nil && ok {
		err = v.q.unknownParams(p.params)
	}
	if err != nil {
		v.misconfigured(p, nil, err)
		return nil
	}
	if !ok {
		return nil
	}
	var notes []noted
	for _, b := range p.bindings {
		ok, err := b.bound(v.q)
		var params []runtime.Object
		if err == nil && ok {
			params, err = v.q.paramsOf(p.params, b)
		}
		if err != nil {
			v.misconfigured(p, b, err)
			continue
		}
		if !ok || len(params) == 0 {
			continue
		}
		in, err := v.input(as)
		if err != nil {
			v.misconfigured(p, b, fmt.Errorf("failed to convert object version: %w", err))
			continue
		}
		if err := v.q.within(in); err != nil {
			return err
		}
		for _, param := range params {
			denied, always, own := p.evaluator().decide(ctx, in.With(param))
			v.act(p, b, denied)
			for _, d := range always {
				v.denied = append(v.denied, refusal(v.q, p.name, b.name, d))
			}
			notes = append(notes, own...)
		}
	}
	v.note(p.name, notes)
	return nil
}

// input returns what expressions are about in a version, which is made once.
func (v *verdict) input(as apiserver.AdmissionVersion) (*cel.Input, error) {
	if in := v.inputs[as]; in != nil {
		return in, nil
	}
	in, err := v.q.input(as, v.authorizer)
	if err != nil {
		return nil, err
	}
	v.inputs[as] = in
	return in, nil
}

// misconfigured refuses for a policy or binding that can't be evaluated, unless the policy is to be ignored then.
func (v *verdict) misconfigured(p *policy[*validator], b *binding, err error) {
	switch {
	case p.ignore:
	case b == nil:
		v.denied = append(v.denied, refusal(v.q, p.name, "", decision{message: fmt.Sprintf("failed to configure policy: %v", err)}))
	default:
		v.denied = append(v.denied, refusal(v.q, p.name, b.name, decision{message: fmt.Sprintf("failed to configure binding: %v", err)}))
	}
}

// act does with decisions what the binding wants.
func (v *verdict) act(p *policy[*validator], b *binding, denied []decision) {
	for _, d := range denied {
		for _, action := range b.actions {
			switch action {
			case admissionregistrationv1.Deny:
				v.denied = append(v.denied, refusal(v.q, p.name, b.name, d))
			case admissionregistrationv1.Warn:
				v.q.Warn(fmt.Sprintf("Validation failed for ValidatingAdmissionPolicy '%s' with binding '%s': %s", p.name, b.name, d.message))
			case admissionregistrationv1.Audit:
				v.audits = append(v.audits, "validation.policy.admission.k8s.io/validation_failure", failure{
					Message: d.message, Policy: b.policy, Binding: b.name, ExpressionIndex: d.index, ValidationActions: b.actions,
				})
			}
		}
	}
}

// failure is a failed validation, as Kubernetes writes it into the audit log.
type failure struct {
	Message           string                                     `json:"message"`
	Policy            string                                     `json:"policy"`
	Binding           string                                     `json:"binding"`
	ExpressionIndex   int                                        `json:"expressionIndex"`
	ValidationActions []admissionregistrationv1.ValidationAction `json:"validationActions"`
}

// maxNote is the size of an audit annotation, in bytes.
const maxNote = 10 << 10

// note keeps a policy's audit annotations: different values of one key, from several bindings, become one.
func (v *verdict) note(policy string, notes []noted) {
	values, order := map[string]string{}, []string{}
	seen := map[noted]bool{}
	for _, n := range notes {
		n.value = n.value[:min(len(n.value), maxNote)]
		if seen[n] {
			continue
		}
		seen[n] = true
		if before, ok := values[n.key]; ok {
			values[n.key] = before + ", " + n.value
			continue
		}
		values[n.key] = n.value
		order = append(order, n.key)
	}
	for _, key := range order {
		v.audits = append(v.audits, policy+"/"+key, values[key])
	}
}
