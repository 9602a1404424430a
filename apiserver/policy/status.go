package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/openapi"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/cel"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/replica"
	"github.com/inboard/inboard/internal/news"
)

// controllerName is that of kube-controller-manager's controller that does the same.
const controllerName = "validatingadmissionpolicy-status-controller"

// Schemas tell what objects look like; *apiserver.Server has them.
type Schemas interface {
	// KindsOf returns the kinds that are served as a resource; no group stands for any.
	KindsOf(resource schema.GroupVersionResource) []schema.GroupVersionKind
	// Schema returns the schema of a kind, without references; nil for one that is not served.
	Schema(kind schema.GroupVersionKind) (*spec.Schema, error)
}

// TypeChecker writes into the status of each ValidatingAdmissionPolicy what its expressions have wrong, given the types
// of the objects that they are about, as kube-controller-manager does. Make it with NewTypeChecker.
type TypeChecker struct {
	client  client.Interface
	schemas Schemas
	logger  *slog.Logger
}

// NewTypeChecker returns a checker that finds policies by c. A nil logger discards.
func NewTypeChecker(c client.Interface, schemas Schemas, logger *slog.Logger) *TypeChecker {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &TypeChecker{client: c, schemas: schemas, logger: logger}
}

var policiesRef = client.Ref{GroupVersionResource: admissionregistrationv1.SchemeGroupVersion.WithResource("validatingadmissionpolicies")}

// check checks one policy, unless it was checked as it is.
func (c *TypeChecker) check(ctx context.Context, p *validatingPolicy) error {
	if p.Generation <= p.Status.ObservedGeneration {
		return nil
	}
	checking := map[string]any{}
	if warnings := Check(p, c.schemas); len(warnings) > 0 {
		checking["expressionWarnings"] = warnings
	}
	patch, err := json.Marshal(map[string]any{
		"apiVersion": admissionregistrationv1.SchemeGroupVersion.String(), "kind": "ValidatingAdmissionPolicy",
		"metadata": map[string]any{"name": p.Name},
		"status":   map[string]any{"observedGeneration": p.Generation, "typeChecking": checking},
	})
	if err != nil {
		return err
	}
	ref, force := policiesRef, true
	ref.Name, ref.Subresource = p.Name, "status"
	_, err = c.client.Patch(ctx, ref, types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: controllerName, Force: &force})
	return err
}

// Check returns what the expressions of a policy's validations have wrong, given the types that its rules name. Rules
// with wildcards name none.
func Check(p *validatingPolicy, schemas Schemas) []admissionregistrationv1.ExpressionWarning {
	kinds, checkers := checkersFor(p, schemas)
	var out []admissionregistrationv1.ExpressionWarning
	check := func(path, expression string) {
		var texts []string
		for i, c := range checkers {
			if text := c.Check(expression); text != "" {
				texts = append(texts, fmt.Sprintf("%v: %s\n", kinds[i], text))
			}
		}
		if len(texts) > 0 {
			out = append(out, admissionregistrationv1.ExpressionWarning{FieldRef: path, Warning: strings.Join(texts, "\n")})
		}
	}
	for i, v := range p.Spec.Validations {
		path := specPath.Child("validations").Index(i)
		check(path.Child("expression").String(), v.Expression)
		if v.MessageExpression != "" {
			check(path.Child("messageExpression").String(), v.MessageExpression)
		}
	}
	return out
}

// checkersFor returns the kinds that a policy is about, with a checker for each.
func checkersFor(p *validatingPolicy, schemas Schemas) (kinds []schema.GroupVersionKind, checkers []*cel.Checker) {
	var params *apiservercel.DeclType
	if k := p.Spec.ParamKind; k != nil {
		params, _ = declared(schemas, schema.FromAPIVersionAndKind(k.APIVersion, k.Kind))
	}
	for _, kind := range kindsOf(p.Spec.MatchConstraints, schemas) {
		t, found := declared(schemas, kind)
		if !found {
			continue
		}
		c, err := cel.NewChecker(t, p.Spec.ParamKind != nil, params)
		if err != nil {
			continue
		}
		for _, v := range p.Spec.Variables {
			c.Define(v.Name, v.Expression)
		}
		kinds, checkers = append(kinds, kind), append(checkers, c)
	}
	return kinds, checkers
}

// declared returns the type of a kind's objects, under a name that no field has.
func declared(schemas Schemas, kind schema.GroupVersionKind) (t *apiservercel.DeclType, found bool) {
	s, err := schemas.Schema(kind)
	if err != nil || s == nil {
		return nil, false
	}
	if t = common.SchemaDeclType(&openapi.Schema{Schema: s}, true); t != nil {
		t = t.MaybeAssignTypeName(kind.Kind + "0")
	}
	return t, true
}

// maxKinds is how many kinds of one rule are looked at.
const maxKinds = 10

// kindsOf returns the kinds that rules name, in order.
func kindsOf(m *admissionregistrationv1.MatchResources, schemas Schemas) []schema.GroupVersionKind {
	if m == nil {
		return nil
	}
	var out []schema.GroupVersionKind
	for _, r := range m.ResourceRules {
		if out = appendKinds(out, &r.Rule, schemas); len(out) >= maxKinds {
			break
		}
	}
	slices.SortFunc(out, func(a, b schema.GroupVersionKind) int {
		return strings.Compare(a.Group+"\x00"+a.Version+"\x00"+a.Kind, b.Group+"\x00"+b.Version+"\x00"+b.Kind)
	})
	return out
}

func appendKinds(out []schema.GroupVersionKind, r *admissionregistrationv1.Rule, schemas Schemas) []schema.GroupVersionKind {
	wild := func(s string) bool { return strings.Contains(s, "*") }
	if slices.ContainsFunc(r.APIGroups, wild) || slices.ContainsFunc(r.APIVersions, wild) {
		return out
	}
	count := 0
	for _, group := range slices.Sorted(slices.Values(r.APIGroups)) {
		for _, v := range slices.Sorted(slices.Values(r.APIVersions)) {
			for _, resource := range slices.Sorted(slices.Values(r.Resources)) {
				if strings.ContainsAny(resource, "*/") {
					continue
				}
				for _, kind := range schemas.KindsOf(schema.GroupVersionResource{Group: group, Version: v, Resource: resource}) {
					if !slices.Contains(out, kind) {
						out = append(out, kind)
					}
					if count++; count == maxKinds {
						return out
					}
				}
			}
		}
	}
	return out
}

var _ Schemas = (*apiserver.Server)(nil)

// retryAfter is the pause before a status that could not be written is written again.
const retryAfter = time.Second

// Run checks policies until ctx ends, and returns nil then.
func (c *TypeChecker) Run(ctx context.Context) error {
	view, err := replica.New(replica.Config[*validatingPolicy]{Client: c.client, Resource: policiesRef.GroupVersionResource, Logger: c.logger})
	if err != nil {
		return err
	}
	queue := news.Open()
	defer queue.Close()
	view.Subscribe(func(ch replica.Change[*validatingPolicy]) {
		if ch.Kind == replica.Added || ch.Kind == replica.Updated {
			queue.Tell(ch.New.Name)
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- view.Run(ctx) }()
	for {
		select {
		case <-ctx.Done():
			return <-ended
		case name := <-queue.Out():
			p, ok := view.Get("", name)
			if !ok {
				continue
			}
			if err := c.check(ctx, p); err != nil && ctx.Err() == nil {
				c.logger.Warn("the status of a policy can't be written", "policy", name, "error", err)
				select {
				case <-time.After(retryAfter):
				case <-ctx.Done():
				}
				queue.Tell(name)
			}
		}
	}
}
