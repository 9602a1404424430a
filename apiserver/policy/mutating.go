package policy

import (
	"context"
	"errors"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/cel"
)

// mutator is a MutatingAdmissionPolicy whose expressions are compiled.
type mutator struct {
	compiler   *cel.Compiler
	conditions *cel.Conditions
	changes    []change
	// again tells that the policy wants to be asked again when others change the object after it.
	again bool
}

// change is one mutation of a policy.
type change struct {
	program *cel.Program
	kind    admissionregistrationv1.PatchType
}

func newMutator(p *mutatingPolicy) *mutator {
	o := cel.Options{Params: p.Spec.ParamKind != nil, Authorizer: true, Stored: true}
	m := &mutator{compiler: newCompiler(p.Spec.Variables, o), again: p.Spec.ReinvocationPolicy == admissionregistrationv1.IfNeededReinvocationPolicy}
	m.conditions = cel.NewConditions(p.Spec.MatchConditions, p.Spec.FailurePolicy, o.Params)
	o.Patches = true
	for _, c := range p.Spec.Mutations {
		switch {
		case c.PatchType == admissionregistrationv1.PatchTypeJSONPatch && c.JSONPatch != nil:
			m.changes = append(m.changes, change{m.compiler.Compile(c.JSONPatch.Expression, o, patchType), c.PatchType})
		case c.PatchType == admissionregistrationv1.PatchTypeApplyConfiguration && c.ApplyConfiguration != nil:
			m.changes = append(m.changes, change{m.compiler.Compile(c.ApplyConfiguration.Expression, o, configurationType), c.PatchType})
		}
	}
	return m
}

// invocation is a policy that is about a request, by one binding and with one parameter.
type invocation struct {
	*policy[*mutator]
	binding *binding
	param   runtime.Object
	as      apiserver.AdmissionVersion
}

// invocationKey tells invocations apart.
type invocationKey struct{ policy, binding, namespace, name string }

func (i *invocation) key() invocationKey {
	k := invocationKey{policy: i.name, binding: i.binding.name}
	if i.param != nil {
		if o, err := meta.Accessor(i.param); err == nil {
			k.namespace, k.name = o.GetNamespace(), o.GetName()
		}
	}
	return k
}

// rounds is what one round of a request's admission tells the next.
type rounds struct {
	// output is the object as the policies left it.
	output runtime.Object
	// invoked want to be asked again when the object changes, again will be.
	invoked, again map[invocationKey]bool
}

type roundsKey struct{}

func roundsOf(r *apiserver.AdmissionRequest) *rounds {
	if rs, ok := r.Value(roundsKey{}).(*rounds); ok {
		return rs
	}
	rs := &rounds{invoked: map[invocationKey]bool{}, again: map[invocationKey]bool{}}
	r.SetValue(roundsKey{}, rs)
	return rs
}

// changed makes all that were invoked be asked again.
func (rs *rounds) changed() {
	for k := range rs.invoked {
		rs.again[k] = true
	}
	rs.invoked = map[invocationKey]bool{}
}

// mutate is the admission plugin MutatingAdmissionPolicy.
func (p *Policies) mutate(ctx context.Context, r *apiserver.AdmissionRequest) error {
	if r.Operation == apiserver.Delete {
		return nil
	}
	active, err := p.mutators(ctx)
	if err != nil {
		return err
	}
	if len(active) == 0 || exempt(r) {
		return nil
	}
	m := &round{q: newQuestion(ctx, r), authorizer: newRemembering(r.Authorizer())}
	list := m.invocations(active)
	if len(list) > 0 {
		if err := m.run(ctx, list); err != nil {
			return err
		}
	}
	return m.refusal()
}

// round is what all mutating policies do to a request.
type round struct {
	q          *question
	authorizer apiserver.Authorizer
	rounds     *rounds
	// dirty tells that a mutation was made, even one without effect.
	dirty bool
	// failures are why the request is refused.
	failures []refusalCause
}

type refusalCause struct {
	message string
	reason  metav1.StatusReason
}

// fail notes that a policy could not be applied, unless it is to be ignored then.
func (m *round) fail(p *policy[*mutator], b *binding, err error, reason metav1.StatusReason) {
	switch {
	case p.ignore:
	case b == nil:
		m.failures = append(m.failures, refusalCause{fmt.Sprintf("policy %q denied request: %v", p.name, err), reason})
	default:
		m.failures = append(m.failures, refusalCause{fmt.Sprintf("policy '%s' with binding '%s' denied request: %v", p.name, b.name, err), reason})
	}
}

// invocations finds the policies that are about the request.
func (m *round) invocations(active []*policy[*mutator]) []invocation {
	var out []invocation
	for _, p := range active {
		ok, as, err := p.matcher.Match(m.q.Request)
		if err == nil && ok {
			err = m.q.unknownParams(p.params)
		}
		if err != nil {
			m.fail(p, nil, fmt.Errorf("failed to configure policy: %w", err), "")
			continue
		}
		if !ok {
			continue
		}
		for _, b := range p.bindings {
			ok, err := b.bound(m.q)
			var params []runtime.Object
			if err == nil && ok {
				params, err = m.q.paramsOf(p.params, b)
			}
			if err != nil {
				m.fail(p, b, fmt.Errorf("failed to configure binding: %w", err), "")
				continue
			}
			for _, param := range params {
				out = append(out, invocation{p, b, param, as})
			}
		}
	}
	return out
}

// run applies policies one after the other; each sees what those before it made. Policies that could not be applied
// are noted; another error ends the request.
func (m *round) run(ctx context.Context, list []invocation) error {
	r := m.q.AdmissionRequest
	m.rounds = roundsOf(r)
	if r.Reinvoked() && !apiequality.Semantic.DeepEqual(m.rounds.output, r.Target()) {
		m.rounds.changed()
	}
	defer func() {
		if target := r.Target(); target != nil {
			m.rounds.output = target.DeepCopyObject()
		}
	}()
	for i := range list {
		if err := m.invoke(ctx, &list[i]); err != nil {
			return err
		}
	}
	if m.dirty {
		// So in Kubernetes who wants to be asked again is, even when nobody else changed anything.
		m.rounds.changed()
		r.Reinvoke()
	}
	return nil
}

func (m *round) invoke(ctx context.Context, i *invocation) error {
	r, policy := m.q.AdmissionRequest, i.evaluator()
	in, err := m.input(i)
	if err != nil {
		return err
	}
	ok, _, err := policy.conditions.Match(ctx, in)
	if err != nil {
		m.fail(i.policy, i.binding, err, metav1.StatusReasonInvalid)
		return nil
	}
	key := i.key()
	if !ok || r.Reinvoked() && !m.rounds.again[key] {
		return nil
	}
	if target := r.Target(); target != nil {
		before := target.DeepCopyObject()
		for _, c := range policy.changes {
			if err := m.change(ctx, i, &c); err != nil {
				var status *apierrors.StatusError
				if errors.As(err, &status) {
					return status
				}
				m.fail(i.policy, i.binding, err, metav1.StatusReasonInvalid)
				continue
			}
			m.dirty = true
		}
		if !apiequality.Semantic.DeepEqual(before, r.Target()) {
			m.rounds.changed()
			r.Reinvoke()
		}
	}
	if policy.again {
		m.rounds.invoked[key] = true
	}
	return nil
}

// input returns what a policy's expressions are about, as the object is now.
func (m *round) input(i *invocation) (*cel.Input, error) {
	in, err := m.q.input(i.as, m.authorizer)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if err := m.q.within(in); err != nil {
		return nil, err
	}
	return in.With(i.param), nil
}

// change applies one mutation.
func (m *round) change(ctx context.Context, i *invocation, c *change) error {
	if c.program.Err != nil {
		return c.program.Err
	}
	in, err := m.input(i)
	if err != nil {
		return err
	}
	result, err := cel.NewRun(ctx, i.evaluator().compiler, in, cel.Budget).Eval(c.program)
	if err != nil {
		return err
	}
	if result.Err != nil {
		return result.Err
	}
	var obj runtime.Object
	if c.kind == admissionregistrationv1.PatchTypeJSONPatch {
		obj, err = m.patched(i, in.Object, result.Value)
	} else {
		obj, err = m.applied(i, in.Object, result.Value)
	}
	if err != nil || obj == nil {
		return err
	}
	return m.q.Replace(obj)
}

// refusal returns the answer when policies could not be applied.
func (m *round) refusal() error {
	if len(m.failures) == 0 {
		return nil
	}
	err := apierrors.NewForbidden(m.q.Ref.GroupResource(), objectName(m.q), errors.New("admission request denied by policy"))
	err.ErrStatus.Message = m.failures[0].message
	if reason := m.failures[0].reason; reason != "" {
		err.ErrStatus.Reason = reason
	}
	for _, f := range m.failures {
		err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Message: f.message})
	}
	return err
}
