package cel_test

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/inboard/inboard/apiserver/cel"
)

// bound is what compiling and evaluating one expression may take at most; a second is what its costs stand for, and
// tests run beside others.
const bound = 30 * time.Second

// FuzzExpression compiles and evaluates any expression, which must neither panic nor take long.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{
		"object.spec.replicas <= 5", "object.metadata.labels['a'] == 'b'", "[1,2,3].map(x, x * 2).exists(y, y > 4)",
		"request.userInfo.groups.all(g, g.startsWith('x'))", "'a'.matches('(a+)+b')", "variables.v.size() > 0",
		"namespaceObject.metadata.name", "has(object.spec.template) ? 1/0 : 2", "quantity('1Gi').compareTo(quantity('2Gi'))",
		"Object{spec: Object.spec{replicas: 1}}", "[JSONPatch{op: 'add', path: '/a', value: {'b': [1]}}]",
		"url('https://a/b?c=d').getQuery()", "ip('10.0.0.1').family()", "object.?spec.?x.orValue(3)", "timestamp('2026-01-01T00:00:00Z')",
		"'x'.lowerAscii().split('').join('-')", "object", "dyn(object).spec", "{'a': object}.a.spec.selector", "\"\\u00e9\".size()",
	} {
		f.Add(seed)
	}
	replicas := int32(3)
	object := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"a": "b"}}, Spec: appsv1.DeploymentSpec{Replicas: &replicas}}
	f.Fuzz(func(t *testing.T, expression string) {
		if len(expression) > 10<<10 {
			return
		}
		begin := time.Now()
		c := cel.NewVariablesCompiler()
		c.Define("v", "object.metadata.labels", cel.Options{})
		p := c.Compile(expression, cel.Options{Patches: true, Stored: true}, cel.Any)
		in := &cel.Input{Object: object, Request: &admissionv1.AdmissionRequest{Operation: admissionv1.Create}}
		run := cel.NewRun(context.Background(), c, in, cel.Budget)
		if r, err := run.Eval(p); err == nil && r.Err == nil && r.Value == nil {
			t.Errorf("%q has no value and no error", expression)
		}
		if run.Remaining() > cel.Budget {
			t.Errorf("%q earned %d", expression, run.Remaining()-cel.Budget)
		}
		if took := time.Since(begin); took > bound {
			t.Errorf("%q took %v", expression, took)
		}
	})
}
