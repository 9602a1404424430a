package policy_test

import (
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/policy"
	"github.com/inboard/inboard/store"
)

func Example() {
	ctx := context.Background()
	st, err := store.Open(store.Config{})
	check(err)
	defer st.Close()
	policies, err := policy.New(policy.Config{Store: st})
	check(err)
	defer policies.Close()
	server, err := apiserver.New(apiserver.Config{
		Store: st, Kinds: policy.CheckSelectors(append(kinds.All(), policy.Kinds()...)), Admission: policies.Admission(),
	})
	check(err)
	c := server.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}})

	p := &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "owned"}}
	p.Spec.MatchConstraints = &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
		RuleWithOperations: admissionregistrationv1.RuleWithOperations{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
		},
	}}}
	p.Spec.Validations = []admissionregistrationv1.Validation{{Expression: "'owner' in object.metadata.?labels.orValue({})", Message: "name an owner"}}
	_, err = client.For[*admissionregistrationv1.ValidatingAdmissionPolicy](c).Create(ctx, p)
	check(err)
	b := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "owned"}}
	b.Spec.PolicyName, b.Spec.ValidationActions = "owned", []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny}
	_, err = client.For[*admissionregistrationv1.ValidatingAdmissionPolicyBinding](c).Create(ctx, b)
	check(err)

	_, err = client.For[*corev1.ConfigMap](c).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"}})
	fmt.Println(err)
	// Output:
	// configmaps "a" is forbidden: ValidatingAdmissionPolicy 'owned' with binding 'owned' denied request: name an owner
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
