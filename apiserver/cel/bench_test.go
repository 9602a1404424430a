package cel_test

import (
	"context"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/inboard/inboard/apiserver/cel"
)

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if p := cel.NewCompiler().Compile("object.spec.replicas <= 5", cel.Options{}, cel.Bool); p.Err != nil {
			b.Fatal(p.Err)
		}
	}
}

// BenchmarkCompileVariables compiles a policy of one variable and one expression.
func BenchmarkCompileVariables(b *testing.B) {
	for b.Loop() {
		c := cel.NewVariablesCompiler()
		c.Define("replicas", "object.spec.?replicas.orValue(1)", cel.Options{Authorizer: true})
		if p := c.Compile("variables.replicas <= 5", cel.Options{Authorizer: true}, cel.Bool); p.Err != nil {
			b.Fatal(p.Err)
		}
	}
}

func BenchmarkEval(b *testing.B) {
	p := cel.NewCompiler().Compile("object.spec.replicas <= 5 && request.operation == 'CREATE'", cel.Options{}, cel.Bool)
	replicas := int32(3)
	object := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &replicas}}
	request := &admissionv1.AdmissionRequest{Operation: admissionv1.Create}
	b.ReportAllocs()
	for b.Loop() {
		in := &cel.Input{Object: object, Request: request}
		if r, err := cel.NewRun(context.Background(), nil, in, cel.Budget).Eval(p); err != nil || r.Err != nil {
			b.Fatal(r, err)
		}
	}
}
