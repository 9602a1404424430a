package cel_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/cel"
)

// TestStories runs the scripts in testdata:
//
//	input object|old|params|custom|request|namespace   + YAML; object, old: a Deployment, params: a ConfigMap, custom: an object of no Go type
//	compile [params] [authorizer] [patches] [stored] [returns=TYPE]   + an expression
//	define NAME                                        + an expression that becomes variables.NAME
//	eval [budget=N]                                    + an expression for each line, by the options of compile
//	match [ignore]                                     + lines NAME: EXPRESSION
//	validate                                           + lines NAME: EXPRESSION
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/story", func(t *testing.T, path string) {
		s := &story{in: &cel.Input{Request: &admissionv1.AdmissionRequest{}}, c: cel.NewVariablesCompiler()}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out, err := s.run(d)
			if err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			return out
		})
	})
}

type story struct {
	in *cel.Input
	c  *cel.Compiler
}

func (s *story) run(d *datadriven.TestData) (string, error) {
	switch d.Cmd {
	case "input":
		return "", s.input(d)
	case "compile":
		p := s.c.Compile(d.Input, options(d), returns(d))
		if p.Err != nil {
			return fmt.Sprintf("%s: %v\n", p.Err.Type, p.Err), nil
		}
		return p.Output.String() + "\n", nil
	case "define":
		if p := s.c.Define(d.CmdArgs[0].Key, d.Input, options(d)); p.Err != nil {
			return p.Err.Error() + "\n", nil
		}
		return "", nil
	case "eval":
		return s.eval(d), nil
	case "match":
		return s.match(d), nil
	case "validate":
		var out strings.Builder
		for _, err := range cel.ValidateConditions(conditions(d.Input), d.HasArg("params"), nil, field.NewPath("matchConditions")) {
			fmt.Fprintln(&out, err)
		}
		return out.String(), nil
	}
	return "", fmt.Errorf("no command %s", d.Cmd)
}

func (s *story) input(d *datadriven.TestData) error {
	var into any
	var set func()
	in := *s.in
	next := &cel.Input{Object: in.Object, OldObject: in.OldObject, Request: in.Request, Namespace: in.Namespace, Params: in.Params,
		User: in.User, Authorizer: in.Authorizer}
	switch d.CmdArgs[0].Key {
	case "object", "old":
		o := &appsv1.Deployment{}
		into = o
		set = func() {
			if d.CmdArgs[0].Key == "old" {
				next.OldObject = o
			} else {
				next.Object = o
			}
		}
	case "custom":
		o := &unstructured.Unstructured{}
		text, err := yaml.YAMLToJSON([]byte(d.Input))
		if err != nil {
			return err
		}
		next.Object = o
		s.in = next
		return o.UnmarshalJSON(text)
	case "params":
		o := &corev1.ConfigMap{}
		into, set = o, func() { next.Params = o }
	case "namespace":
		next.Namespace = &corev1.Namespace{}
		into, set = next.Namespace, func() {}
	case "request":
		next.Request = &admissionv1.AdmissionRequest{}
		into, set = next.Request, func() {
			u := next.Request.UserInfo
			next.User = &apiserver.Identity{User: u.Username, Groups: u.Groups}
			next.Authorizer = apiserver.AuthorizerFunc(readers)
		}
	}
	if err := yaml.Unmarshal([]byte(d.Input), into); err != nil {
		return err
	}
	set()
	s.in = next
	return nil
}

// readers lets everybody get and list, and administrators do anything; it can't tell about the verb "fail".
func readers(_ context.Context, a *apiserver.Attributes) (bool, string, error) {
	what := fmt.Sprintf("%s %s %s/%s/%s %s/%s%s", a.User.User, a.Verb, a.APIGroup, a.Resource, a.Subresource, a.Namespace, a.Name, a.Path)
	for _, r := range a.LabelSelector {
		what += " " + r.String()
	}
	switch {
	case a.Verb == "fail":
		return false, "", errors.New("can't tell")
	case a.User.User == "admin" || a.Verb == "get" || a.Verb == "list":
		return true, what, nil
	}
	return false, what, nil
}

func options(d *datadriven.TestData) cel.Options {
	return cel.Options{Params: d.HasArg("params"), Authorizer: d.HasArg("authorizer"), Patches: d.HasArg("patches"), Stored: d.HasArg("stored")}
}

func returns(d *datadriven.TestData) *celgo.Type {
	for _, arg := range d.CmdArgs {
		switch arg.String() {
		case "returns=bool":
			return cel.Bool
		case "returns=string":
			return cel.String
		}
	}
	return cel.Any
}

func (s *story) eval(d *datadriven.TestData) string {
	budget := int64(cel.Budget)
	for _, arg := range d.CmdArgs {
		if arg.Key == "budget" {
			fmt.Sscan(arg.Vals[0], &budget)
		}
	}
	run := cel.NewRun(context.Background(), s.c, s.in, budget)
	var out strings.Builder
	for line := range strings.Lines(d.Input) {
		before := run.Remaining()
		r, err := run.Eval(s.c.Compile(strings.TrimSpace(line), options(d), cel.Any))
		switch {
		case errors.Is(err, apiservercel.ErrOutOfBudget):
			fmt.Fprintf(&out, "out of budget: %v\n", err)
		case err != nil:
			fmt.Fprintf(&out, "stopped: %v\n", err)
		case r.Err != nil:
			fmt.Fprintln(&out, r.Err)
		default:
			fmt.Fprintf(&out, "%s (cost %d)\n", show(r.Value), before-run.Remaining())
		}
	}
	return out.String()
}

func show(v ref.Val) string { return fmt.Sprintf("%s %v", v.Type().TypeName(), v.Value()) }

func conditions(text string) (out []admissionregistrationv1.MatchCondition) {
	for line := range strings.Lines(text) {
		name, expression, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		out = append(out, admissionregistrationv1.MatchCondition{Name: name, Expression: expression})
	}
	return out
}

func (s *story) match(d *datadriven.TestData) string {
	policy := admissionregistrationv1.Fail
	if d.HasArg("ignore") {
		policy = admissionregistrationv1.Ignore
	}
	ok, failed, err := cel.NewConditions(conditions(d.Input), &policy, d.HasArg("params")).Match(context.Background(), s.in)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	return fmt.Sprintf("%v %s\n", ok, failed)
}
