package policy_test

import (
	"context"
	"fmt"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/policy"
	"github.com/inboard/inboard/store"
)

// BenchmarkCreate measures the creation of a ConfigMap without this package, with it and no policy, with policies about
// other kinds, and with one about it.
func BenchmarkCreate(b *testing.B) {
	for _, with := range []string{"without", "none", "others", "one"} {
		b.Run(with, func(b *testing.B) {
			st, err := store.Open(store.Config{})
			must(b, err)
			defer st.Close()
			policies, err := policy.New(policy.Config{Store: st})
			must(b, err)
			cfg := apiserver.Config{Store: st, Kinds: append(kinds.All(), policy.Kinds()...)}
			if with != "without" {
				cfg.Admission = policies.Admission()
			}
			s, err := apiserver.New(cfg)
			must(b, err)
			c := s.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}})
			switch with {
			case "others":
				for i := range 10 {
					bind(b, c, ofDeployments(fmt.Sprint("p", i), admissionregistrationv1.Validation{Expression: "object.spec.replicas < 5"}))
				}
			case "one":
				p := ofDeployments("p", admissionregistrationv1.Validation{Expression: "object.metadata.name != 'x' && request.operation == 'CREATE'"})
				r := &p.Spec.MatchConstraints.ResourceRules[0]
				r.APIGroups, r.Resources = []string{""}, []string{"configmaps"}
				bind(b, c, p)
			}
			maps := client.For[*corev1.ConfigMap](c)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				_, err := maps.Create(context.Background(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("c", n), Namespace: "default"}})
				must(b, err)
			}
			must(b, policies.Close())
		})
	}
}

func bind(b *testing.B, c client.Interface, p *admissionregistrationv1.ValidatingAdmissionPolicy) {
	b.Helper()
	_, err := client.For[*admissionregistrationv1.ValidatingAdmissionPolicy](c).Create(b.Context(), p)
	must(b, err)
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: p.Name}}
	binding.Spec.PolicyName, binding.Spec.ValidationActions = p.Name, []admissionregistrationv1.ValidationAction{"Deny"}
	_, err = client.For[*admissionregistrationv1.ValidatingAdmissionPolicyBinding](c).Create(b.Context(), binding)
	must(b, err)
}
