package cel

import (
	"context"
	"fmt"
	"math"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/lazy"
)

// Run evaluates expressions about one input until they cost too much. The variables that they use are evaluated once,
// when the first needs them, and are paid for by it. A Run is for one goroutine.
type Run struct {
	ctx    context.Context
	in     *Input
	c      *Compiler
	budget int64
	// spent is what variables cost that the expression at hand was the first to use.
	spent     int64
	variables ref.Val
}

// NewRun returns a Run of expressions that c compiled, which may cost as much as budget; a nil c has no variables.
func NewRun(ctx context.Context, c *Compiler, in *Input, budget int64) *Run {
	r := &Run{ctx: ctx, in: in, c: c, budget: budget}
	if c != nil && c.variables != nil {
		all := lazy.NewMapValue(c.variables)
		for name, p := range c.compiled {
			all.Append(name, func(*lazy.MapValue) ref.Val { return r.variable(name, p) })
		}
		r.variables = all
	}
	return r
}

// Remaining returns what is left of the budget.
func (r *Run) Remaining() int64 { return r.budget }

// Result is what became of an expression: a value, or why there is none.
type Result struct {
	Value ref.Val
	Err   error
}

// outOfBudget says that no more expressions are evaluated.
const outOfBudget = "validation failed due to running out of cost budget, no further validation rules will be run"

// Eval evaluates an expression. An error means that no further one can be evaluated; then its errors.Is
// apiservercel.ErrOutOfBudget tells that they cost too much.
func (r *Run) Eval(p *Program) (Result, error) {
	if p.Err != nil {
		return Result{Err: &apiservercel.Error{
			Type: apiservercel.ErrorTypeInvalid, Detail: fmt.Sprintf("compilation error: %v", p.Err), Cause: p.Err,
		}}, nil
	}
	r.spent = 0
	v, details, err := p.program.ContextEval(r.ctx, r)
	if r.spent > r.budget {
		return r.stop(budgetError(outOfBudget))
	}
	r.budget -= r.spent
	unknown := fmt.Sprintf("runtime cost could not be calculated for expression: %v, no further expression will be run", p.Expression)
	if details == nil {
		return r.stop(&apiservercel.Error{Type: apiservercel.ErrorTypeInternal, Detail: unknown})
	}
	cost := details.ActualCost()
	if cost == nil {
		return r.stop(budgetError(unknown))
	}
	if *cost > math.MaxInt64 || int64(*cost) > r.budget {
		return r.stop(budgetError(outOfBudget))
	}
	r.budget -= int64(*cost)
	if err != nil {
		return Result{Err: &apiservercel.Error{
			Type: apiservercel.ErrorTypeInvalid, Detail: fmt.Sprintf("expression '%v' resulted in error: %v", p.Expression, err),
		}}, nil
	}
	return Result{Value: v}, nil
}

// stop makes all further expressions cost too much.
func (r *Run) stop(err error) (Result, error) {
	r.budget = -1
	return Result{}, err
}

func budgetError(detail string) error {
	return &apiservercel.Error{Type: apiservercel.ErrorTypeInvalid, Detail: detail, Cause: apiservercel.ErrOutOfBudget}
}

// variable evaluates a variable for the expression at hand.
func (r *Run) variable(name string, p *Program) ref.Val {
	if p.Err != nil {
		return types.NewErr("composited variable %q fails to compile: %v", name, p.Err)
	}
	v, details, err := p.program.ContextEval(r.ctx, r)
	if details == nil {
		return types.NewErr("unable to get evaluation details of variable %q", name)
	}
	cost := details.ActualCost()
	if cost == nil {
		return types.NewErr("unable to calculate cost of variable %q", name)
	}
	r.spent += int64(min(*cost, math.MaxInt64/2))
	if err != nil {
		return types.NewErr("composited variable %q fails to evaluate: %v", name, err)
	}
	return v
}

// ResolveName gives expressions their variables.
func (r *Run) ResolveName(name string) (any, bool) {
	switch name {
	case objectName:
		return r.in.object.of(r.in.Object), true
	case oldObjectName:
		return r.in.oldObject.of(r.in.OldObject), true
	case paramsName:
		return r.in.params.of(r.in.Params), true
	case requestName:
		return r.in.request.of(r.in.Request), true
	case namespaceName:
		return r.in.namespace.of(r.in.Namespace), true
	case authorizerName:
		v := r.in.authorizer()
		return v, v != nil
	case resourceName:
		v := r.in.requestResource()
		return v, v != nil
	case variablesName:
		return r.variables, r.variables != nil
	}
	return nil, false
}

// Parent is none: all variables are Run's own.
func (r *Run) Parent() interpreter.Activation { return nil }
