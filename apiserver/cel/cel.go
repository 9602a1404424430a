// Package cel compiles and evaluates expressions of the Common Expression Language as kube-apiserver's admission does
// (https://kubernetes.io/docs/reference/using-api/cel/): the same variables, libraries, cost limits and errors.
//
//	c := cel.NewCompiler()
//	p := c.Compile("object.spec.replicas <= 5", cel.Options{}, cel.Bool)
//	if p.Err != nil { ... }
//	v, err := cel.NewRun(ctx, c, &cel.Input{Object: deployment, Request: request}, cel.Budget).Eval(p)
//
// Only packages that a program opts into import it: see DESIGN.md for what it brings along.
package cel

import (
	"fmt"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Costs that all expressions about one object may come to, as in Kubernetes. One expression may cost a tenth of Budget.
const (
	// Budget is what a policy's expressions may cost for one binding, about a second.
	Budget = celconfig.RuntimeCELCostBudget
	// ConditionsBudget is what match conditions may cost.
	ConditionsBudget = celconfig.RuntimeCELCostBudgetMatchConditions
)

// Types that expressions are asked to return.
var (
	Bool   = cel.BoolType
	String = cel.StringType
	Null   = cel.NullType
	Any    = cel.AnyType
)

// Options tell what an expression may use besides object, oldObject, request and namespaceObject.
type Options struct {
	// Params declares params, which may be null all the same.
	Params bool
	// Authorizer declares authorizer and authorizer.requestResource.
	Authorizer bool
	// Patches declares the types of patches, such as Object{spec: Object.spec{}} and JSONPatch{}.
	Patches bool
	// Stored tells that the expression was accepted before: it is compiled with all that any version of
	// Kubernetes knows, where new ones keep to what the version before this one knows, too.
	Stored bool
}

// Compiler compiles expressions. One with variables is for the expressions of one policy and not safe for concurrent
// use until all of them are compiled; one without is safe for concurrent use.
type Compiler struct {
	// variables is the type of the variable "variables"; nil has none.
	variables *apiservercel.DeclType
	compiled  map[string]*Program
	envs      map[Options]*cel.Env
}

// Program is a compiled expression. It is safe for concurrent use.
type Program struct {
	Expression string
	// Err tells why the expression does not compile; then all else is empty.
	Err *apiservercel.Error
	// Output is the type of what the expression returns.
	Output *cel.Type

	program cel.Program
}

// NewCompiler returns a compiler for expressions without variables.
func NewCompiler() *Compiler { return &Compiler{} }

// variablesType is the name of the type of "variables", which error messages show.
const variablesType = "kubernetes.variables"

// NewVariablesCompiler returns a compiler for expressions that may use variables, as far as they are defined.
func NewVariablesCompiler() *Compiler {
	return &Compiler{
		variables: apiservercel.NewObjectType(variablesType, map[string]*apiservercel.DeclField{}),
		compiled:  map[string]*Program{},
		envs:      map[Options]*cel.Env{},
	}
}

// Define makes an expression the variable "variables.NAME" of those compiled after it. One that does not compile is
// defined too: what uses it compiles, and fails when it is evaluated.
func (c *Compiler) Define(name, expression string, o Options) *Program {
	p := c.Compile(expression, o, Any)
	c.variables.Fields[name] = apiservercel.NewDeclField(name, declType(p.Output), true, nil, nil)
	c.compiled[name] = p
	return p
}

// Compile compiles an expression that shall return one of some types.
func (c *Compiler) Compile(expression string, o Options, want ...*cel.Type) *Program {
	env, err := c.env(o)
	if err != nil {
		return failed(expression, apiservercel.ErrorTypeInternal, fmt.Sprintf("unexpected error loading CEL environment: %v", err), nil)
	}
	ast, issues := env.Compile(expression)
	if issues != nil {
		return failed(expression, apiservercel.ErrorTypeInvalid, "compilation failed: "+issues.String(), apiservercel.NewCompilationError(issues))
	}
	if !returns(ast.OutputType(), want) {
		return failed(expression, apiservercel.ErrorTypeInvalid, wrongType(ast.OutputType(), want), nil)
	}
	prog, err := env.Program(ast, cel.InterruptCheckFrequency(celconfig.CheckFrequency))
	if err != nil {
		return failed(expression, apiservercel.ErrorTypeInternal, "program instantiation failed: "+err.Error(), nil)
	}
	return &Program{Expression: expression, Output: ast.OutputType(), program: prog}
}

func failed(expression string, kind apiservercel.ErrorType, detail string, cause error) *Program {
	return &Program{Expression: expression, Err: &apiservercel.Error{Type: kind, Detail: detail, Cause: cause}}
}

func returns(got *cel.Type, want []*cel.Type) bool {
	for _, w := range want {
		if got.IsExactType(w) || cel.AnyType.IsExactType(w) {
			return true
		}
	}
	return false
}

func wrongType(got *cel.Type, want []*cel.Type) string {
	if len(want) == 1 {
		return fmt.Sprintf("must evaluate to %v but got %v", want[0].String(), got.String())
	}
	return fmt.Sprintf("must evaluate to one of %v but got %v", want, got.String())
}

// env returns the environment for some options, made when it is first asked for.
func (c *Compiler) env(o Options) (*cel.Env, error) {
	if c.variables == nil {
		return commonEnv(o)
	}
	if env := c.envs[o]; env != nil {
		return env, nil
	}
	set, err := commonSet(o)
	if err != nil {
		return nil, err
	}
	set, err = set.Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0),
		EnvOptions:        []cel.EnvOption{cel.Variable(variablesName, c.variables.CelType())},
		DeclTypes:         []*apiservercel.DeclType{c.variables},
	})
	if err != nil {
		return nil, err
	}
	for _, stored := range []bool{false, true} {
		o.Stored = stored
		if c.envs[o], err = set.Env(mode(o)); err != nil {
			return nil, err
		}
	}
	return c.envs[o], nil
}
