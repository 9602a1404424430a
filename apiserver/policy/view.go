package policy

import (
	"slices"
	"strings"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/registration"
)

// Sources of the view, in the order of Kinds.
const (
	mutatingPolicies = iota
	mutatingBindings
	validatingPolicies
	validatingBindings
)

// policy is a policy of either kind, with E of what its expressions were compiled to when they were first needed.
type policy[E any] struct {
	name       string
	uid        types.UID
	generation int64
	params     *admissionregistrationv1.ParamKind
	ignore     bool
	matcher    *registration.Matcher
	evaluator  func() E
	// bindings are those that name the policy, in the order of their names.
	bindings []*binding
}

type binding struct {
	name, policy string
	params       *admissionregistrationv1.ParamRef
	matcher      *registration.Matcher
	actions      []admissionregistrationv1.ValidationAction
	// selector is that of params.
	selector func() (labels.Selector, error)
}

// view is the policies that are bound, as they are stored.
type view struct {
	mutating   set[*mutator]
	validating set[*validator]
}

// set are the policies of one kind and their bindings.
type set[E any] struct {
	policies map[string]*policy[E]
	bindings map[string]*binding
	// active are the policies with bindings, in the order of their names. The slice and what it has do not change:
	// readers may still use the former one.
	active []*policy[E]
}

func (v *view) Reset() { *v = view{} }

func (v *view) Put(source int, obj client.Object) {
	switch o := obj.(type) {
	case *mutatingPolicy:
		v.mutating.putPolicy(&policy[*mutator]{
			name: o.Name, params: o.Spec.ParamKind, ignore: ignores(o.Spec.FailurePolicy), matcher: registration.NewMatcher(o.Spec.MatchConstraints),
			evaluator: sync.OnceValue(func() *mutator { return newMutator(o) }),
		})
	case *mutatingBinding:
		v.mutating.putBinding(newBinding(o.Name, o.Spec.PolicyName, o.Spec.ParamRef, o.Spec.MatchResources))
	case *validatingPolicy:
		if same := v.validating.policies[o.Name]; same != nil && same.generation == o.Generation && same.uid == o.UID {
			return // The status was written.
		}
		v.validating.putPolicy(&policy[*validator]{
			name: o.Name, uid: o.UID, generation: o.Generation,
			params: o.Spec.ParamKind, ignore: ignores(o.Spec.FailurePolicy), matcher: registration.NewMatcher(o.Spec.MatchConstraints),
			evaluator: sync.OnceValue(func() *validator { return newValidator(o) }),
		})
	case *validatingBinding:
		b := newBinding(o.Name, o.Spec.PolicyName, o.Spec.ParamRef, o.Spec.MatchResources)
		b.actions = o.Spec.ValidationActions
		v.validating.putBinding(b)
	}
}

func (v *view) Remove(source int, _, name string) {
	switch source {
	case mutatingPolicies:
		v.mutating.removePolicy(name)
	case mutatingBindings:
		v.mutating.removeBinding(name)
	case validatingPolicies:
		v.validating.removePolicy(name)
	case validatingBindings:
		v.validating.removeBinding(name)
	}
}

func ignores(p *admissionregistrationv1.FailurePolicyType) bool {
	return p != nil && *p == admissionregistrationv1.Ignore
}

func newBinding(name, policy string, params *admissionregistrationv1.ParamRef, match *admissionregistrationv1.MatchResources) *binding {
	b := &binding{name: name, policy: policy, params: params}
	if match != nil {
		b.matcher = registration.NewMatcher(match)
	}
	if params != nil {
		b.selector = sync.OnceValues(func() (labels.Selector, error) { return metav1.LabelSelectorAsSelector(params.Selector) })
	}
	return b
}

func (s *set[E]) putPolicy(p *policy[E]) {
	if s.policies == nil {
		s.policies = map[string]*policy[E]{}
	}
	s.policies[p.name] = p
	s.collect()
}

func (s *set[E]) removePolicy(name string) {
	delete(s.policies, name)
	s.collect()
}

func (s *set[E]) putBinding(b *binding) {
	if s.bindings == nil {
		s.bindings = map[string]*binding{}
	}
	s.bindings[b.name] = b
	s.collect()
}

func (s *set[E]) removeBinding(name string) {
	delete(s.bindings, name)
	s.collect()
}

// collect lists the active policies anew. What is listed is copied, as its bindings change.
func (s *set[E]) collect() {
	byPolicy := map[string][]*binding{}
	for _, b := range s.bindings {
		byPolicy[b.policy] = append(byPolicy[b.policy], b)
	}
	s.active = nil
	for name, bindings := range byPolicy {
		p := s.policies[name]
		if p == nil {
			continue
		}
		own := *p
		own.bindings = bindings
		slices.SortFunc(bindings, func(a, b *binding) int { return strings.Compare(a.name, b.name) })
		s.active = append(s.active, &own)
	}
	slices.SortFunc(s.active, func(a, b *policy[E]) int { return strings.Compare(a.name, b.name) })
}
