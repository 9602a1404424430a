package policy

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/registration"
)

// Types of this package's kinds, by short names.
type (
	validatingPolicy  = admissionregistrationv1.ValidatingAdmissionPolicy
	validatingBinding = admissionregistrationv1.ValidatingAdmissionPolicyBinding
	mutatingPolicy    = admissionregistrationv1.MutatingAdmissionPolicy
	mutatingBinding   = admissionregistrationv1.MutatingAdmissionPolicyBinding
)

// Kinds returns the rows of policies and their bindings, admissionregistration.k8s.io/v1. They are of use only with
// the admission of a Policies.
func Kinds() []apiserver.Kind {
	return []apiserver.Kind{
		kind("MutatingAdmissionPolicy", "mutatingadmissionpolicies", &mutatingPolicy{}, &admissionregistrationv1.MutatingAdmissionPolicyList{},
			columns("Mutations", "integer", "ParamKind"), validateMutatingPolicy, func(p *mutatingPolicy) []any {
				return []any{int64(len(p.Spec.Mutations)), paramKindCell(p.Spec.ParamKind)}
			}),
		kind("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", &mutatingBinding{}, &admissionregistrationv1.MutatingAdmissionPolicyBindingList{},
			columns("PolicyName", "string", "ParamRef"), validateMutatingBinding, func(b *mutatingBinding) []any {
				return []any{b.Spec.PolicyName, paramRefCell(b.Spec.ParamRef)}
			}),
		withStatus(kind("ValidatingAdmissionPolicy", "validatingadmissionpolicies", &validatingPolicy{}, &admissionregistrationv1.ValidatingAdmissionPolicyList{},
			columns("Validations", "integer", "ParamKind"), validateValidatingPolicy, func(p *validatingPolicy) []any {
				return []any{int64(len(p.Spec.Validations)), paramKindCell(p.Spec.ParamKind)}
			})),
		kind("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", &validatingBinding{}, &admissionregistrationv1.ValidatingAdmissionPolicyBindingList{},
			columns("PolicyName", "string", "ParamRef"), validateValidatingBinding, func(b *validatingBinding) []any {
				return []any{b.Spec.PolicyName, paramRefCell(b.Spec.ParamRef)}
			}),
	}
}

// kind returns the row of a kind with its validation and the cells of its table between name and age.
func kind[T client.Object](name, resource string, sample T, list runtime.Object, cols []metav1.TableColumnDefinition,
	validate func(obj, old T) field.ErrorList, cells func(T) []any) apiserver.Kind {
	return registration.Kind{
		Name: name, Resource: resource, Object: sample, List: list, Default: setDefaults,
		Validate: func(obj, old client.Object) field.ErrorList {
			before, _ := old.(T)
			return validate(obj.(T), before)
		},
		Columns: cols,
		Cells:   func(obj client.Object) []any { return cells(obj.(T)) },
	}.Row()
}

func withStatus(k apiserver.Kind) apiserver.Kind {
	k.Status, k.StatusResets = true, []string{"metadata"}
	k.ValidateStatus = func(obj, _ client.Object) field.ErrorList {
		return validateStatus(&obj.(*validatingPolicy).Status, field.NewPath("status"))
	}
	return k
}

func columns(second, secondType, third string) []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		{Name: second, Type: secondType, Description: second + " of the object."},
		{Name: third, Type: "string", Description: third + " of the object."},
	}
}

const unset = "<unset>"

func paramKindCell(k *admissionregistrationv1.ParamKind) string {
	if k == nil {
		return unset
	}
	return k.APIVersion + "/" + k.Kind
}

func paramRefCell(r *admissionregistrationv1.ParamRef) string {
	switch {
	case r == nil:
		return unset
	case r.Name != "" && r.Namespace != "":
		return r.Namespace + "/" + r.Name
	case r.Name != "":
		return "*/" + r.Name
	case r.Selector != nil:
		return r.Selector.String()
	}
	return unset
}

// setDefaults fills in what a client left out.
func setDefaults(obj client.Object) {
	switch o := obj.(type) {
	case *validatingPolicy:
		registration.Fill(&o.Spec.FailurePolicy, admissionregistrationv1.Fail)
		defaultMatch(o.Spec.MatchConstraints)
	case *mutatingPolicy:
		registration.Fill(&o.Spec.FailurePolicy, admissionregistrationv1.Fail)
		defaultMatch(o.Spec.MatchConstraints)
	case *validatingBinding:
		defaultMatch(o.Spec.MatchResources)
	case *mutatingBinding:
		defaultMatch(o.Spec.MatchResources)
	}
}

func defaultMatch(m *admissionregistrationv1.MatchResources) {
	if m == nil {
		return
	}
	registration.Fill(&m.MatchPolicy, admissionregistrationv1.Equivalent)
	registration.Fill(&m.NamespaceSelector, metav1.LabelSelector{})
	registration.Fill(&m.ObjectSelector, metav1.LabelSelector{})
	for _, rules := range [][]admissionregistrationv1.NamedRuleWithOperations{m.ResourceRules, m.ExcludeResourceRules} {
		for i := range rules {
			registration.Fill(&rules[i].Scope, admissionregistrationv1.AllScopes)
		}
	}
}
