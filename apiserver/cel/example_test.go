package cel_test

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/inboard/inboard/apiserver/cel"
)

func Example() {
	c := cel.NewVariablesCompiler()
	c.Define("replicas", "object.spec.?replicas.orValue(1)", cel.Options{})
	p := c.Compile("variables.replicas <= 5 && request.operation == 'CREATE'", cel.Options{}, cel.Bool)

	replicas := int32(3)
	in := &cel.Input{
		Object:  &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &replicas}},
		Request: &admissionv1.AdmissionRequest{Operation: admissionv1.Create},
	}
	r, err := cel.NewRun(context.Background(), c, in, cel.Budget).Eval(p)
	fmt.Println(r.Value, r.Err, err)
	fmt.Println(c.Compile("object.spec.replicas +", cel.Options{}, cel.Bool).Err)
	// Output:
	// true <nil> <nil>
	// compilation failed: ERROR: <input>:1:23: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
	//  | object.spec.replicas +
	//  | ......................^
}
