package cel

import (
	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/util/version"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
)

// Checker checks expressions against the types of the objects that they will be about, which compilers don't know.
type Checker struct {
	env       *cel.Env
	variables *apiservercel.DeclType
}

// NewChecker returns a checker of expressions about an object of some type, nil for any. params tells that they may
// use params, of a type that is nil for any.
func NewChecker(objectType *apiservercel.DeclType, params bool, paramsType *apiservercel.DeclType) (*Checker, error) {
	c := &Checker{variables: apiservercel.NewObjectType(variablesType, map[string]*apiservercel.DeclField{})}
	request, namespace := requestType(), namespaceType()
	types := []*apiservercel.DeclType{namespace, request, c.variables}
	vars := []cel.EnvOption{
		cel.Variable(namespaceName, namespace.CelType()), cel.Variable(requestName, request.CelType()),
		cel.Variable(variablesName, c.variables.CelType()), cel.Variable(authorizerName, library.AuthorizerType),
	}
	declare := func(t *apiservercel.DeclType, names ...string) {
		of := cel.DynType
		if t != nil {
			types, of = append(types, t), t.CelType()
		}
		for _, name := range names {
			vars = append(vars, cel.Variable(name, of))
		}
	}
	declare(objectType, objectName, oldObjectName)
	if params {
		declare(paramsType, paramsName)
	}
	set, err := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).Extend(
		environment.VersionedOptions{IntroducedVersion: version.MajorMinor(1, 0), EnvOptions: vars, DeclTypes: types})
	if err != nil {
		return nil, err
	}
	c.env, err = set.Env(environment.StoredExpressions)
	return c, err
}

// Define makes an expression the variable "variables.NAME" of those checked after it.
func (c *Checker) Define(name, expression string) {
	var t *cel.Type
	if ast, issues := c.env.Compile(expression); issues == nil {
		t = ast.OutputType()
	}
	c.variables.Fields[name] = apiservercel.NewDeclField(name, declType(t), true, nil, nil)
}

// Check returns what is wrong with an expression, "" for nothing.
func (c *Checker) Check(expression string) string {
	if _, issues := c.env.Compile(expression); issues != nil {
		return issues.String()
	}
	return ""
}
