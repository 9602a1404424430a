package policy_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/policy"
	"github.com/inboard/inboard/internal/apitest"
)

func served(t *testing.T) *apitest.Server {
	return apitest.Open(t, func(cfg *apiserver.Config) {
		policies, err := policy.New(policy.Config{Store: cfg.Store})
		must(t, err)
		t.Cleanup(func() { must(t, policies.Close()) })
		cfg.Kinds, cfg.Admission = append(cfg.Kinds, policy.Kinds()...), policies.Admission()
	})
}

func ofDeployments(name string, validations ...admissionregistrationv1.Validation) *admissionregistrationv1.ValidatingAdmissionPolicy {
	p := &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	p.Spec.MatchConstraints = &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
		RuleWithOperations: admissionregistrationv1.RuleWithOperations{
			Operations: []admissionregistrationv1.OperationType{"CREATE"},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments", "replicasets"}},
		},
	}}}
	p.Spec.Validations = validations
	return p
}

// The status of a policy tells what its expressions have wrong, anew after each change of them.
func TestTypeChecking(t *testing.T) {
	s := served(t)
	c := client.For[*admissionregistrationv1.ValidatingAdmissionPolicy](s.Admin())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- policy.NewTypeChecker(s.Admin(), s.API, nil).Run(ctx) }()
	defer func() {
		cancel()
		must(t, <-done)
	}()

	p := ofDeployments("p",
		admissionregistrationv1.Validation{Expression: "object.spec.replicas < 5"},
		admissionregistrationv1.Validation{Expression: "object.spec.strategy.type == 'x'", MessageExpression: "string(object.spec.nothing)"},
		admissionregistrationv1.Validation{Expression: "variables.n == 'a'"})
	p.Spec.Variables = []admissionregistrationv1.Variable{{Name: "n", Expression: "object.spec.replicas"}}
	_, err := c.Create(t.Context(), p)
	must(t, err)
	got := awaitChecked(t, c, "p", 1)
	var refs []string
	for _, w := range got.Status.TypeChecking.ExpressionWarnings {
		refs = append(refs, w.FieldRef+" "+w.Warning)
	}
	want := []string{
		"spec.validations[1].expression apps/v1, Kind=ReplicaSet: ERROR: <input>:1:12: undefined field 'strategy'\n | object.spec.strategy.type == 'x'\n | ...........^\n",
		"spec.validations[1].messageExpression apps/v1, Kind=Deployment: ERROR: <input>:1:19: undefined field 'nothing'\n | string(object.spec.nothing)\n | ..................^\n\n" +
			"apps/v1, Kind=ReplicaSet: ERROR: <input>:1:19: undefined field 'nothing'\n | string(object.spec.nothing)\n | ..................^\n",
		"spec.validations[2].expression apps/v1, Kind=Deployment: ERROR: <input>:1:13: found no matching overload for '_==_' applied to '(int, string)'\n | variables.n == 'a'\n | ............^\n\n" +
			"apps/v1, Kind=ReplicaSet: ERROR: <input>:1:13: found no matching overload for '_==_' applied to '(int, string)'\n | variables.n == 'a'\n | ............^\n",
	}
	if !slices.Equal(refs, want) {
		t.Errorf("%q", refs)
	}

	got.Spec.Validations = got.Spec.Validations[:1]
	_, err = c.Update(t.Context(), got)
	must(t, err)
	if got = awaitChecked(t, c, "p", 2); got.Status.TypeChecking != nil && len(got.Status.TypeChecking.ExpressionWarnings) != 0 {
		t.Errorf("%+v", got.Status.TypeChecking)
	}
}

func awaitChecked(t *testing.T, c client.Typed[*admissionregistrationv1.ValidatingAdmissionPolicy], name string, generation int64) *admissionregistrationv1.ValidatingAdmissionPolicy {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		p, err := c.Get(t.Context(), "", name)
		must(t, err)
		if p.Status.ObservedGeneration == generation {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatal(errors.New("the policy is not checked"))
		}
	}
}
