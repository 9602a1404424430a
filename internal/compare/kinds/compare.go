// Package kinds holds the rows of package apiserver/kinds to Kubernetes' own code: random objects
// go through both, and what comes out must be the same: the defaults, what preparation makes of an
// object, the field errors. What is known to differ stands in testdata/known.txt.
package kinds

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"sort"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/operation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/capabilities"
	"k8s.io/kubernetes/pkg/printers"
	"k8s.io/kubernetes/pkg/printers/internalversion"

	"github.com/inboard/inboard/apiserver/client"
)

// allowPrivileged is what every cluster is set up with.
func allowPrivileged() {
	capabilities.Setup(true, 0)
}

// theirs is what Kubernetes makes of objects.
type theirs struct{ kind schema.GroupVersionKind }

func (t theirs) ctx(subresource string) context.Context {
	ctx := genericapirequest.WithNamespace(context.Background(), "default")
	return genericapirequest.WithRequestInfo(ctx, &genericapirequest.RequestInfo{
		APIGroup: t.kind.Group, APIVersion: t.kind.Version, IsResourceRequest: true, Subresource: subresource,
	})
}

func (t theirs) setDefaults(obj client.Object) { legacyscheme.Scheme.Default(obj) }

func (t theirs) internal(obj client.Object) (runtime.Object, error) {
	own := obj.DeepCopyObject()
	if j, ok := own.(*batchv1.Job); ok && reflect.DeepEqual(j.Labels, j.Spec.Template.Labels) {
		j.Labels = j.Spec.Template.Labels // one map, as the defaults of a Job leave it
	}
	return legacyscheme.Scheme.UnsafeConvertToVersion(own, schema.GroupVersion{Group: t.kind.Group, Version: runtime.APIVersionInternal})
}

// create returns the object as prepared for storage and the errors of its validation.
func (t theirs) create(obj client.Object) (runtime.Object, field.ErrorList, error) {
	in, err := t.internal(obj)
	if err != nil {
		return nil, nil, err
	}
	s := strategies[t.kind.Kind]
	ctx := t.ctx("")
	s.PrepareForCreate(ctx, in)
	errs := declared(ctx, s, in, nil, s.Validate(ctx, in), operation.Create)
	out, err := t.stored(in)
	return out, errs, err
}

// stored returns an object as it is read back from storage: with its defaults.
func (t theirs) stored(in runtime.Object) (runtime.Object, error) {
	out, err := legacyscheme.Scheme.ConvertToVersion(in, t.kind.GroupVersion())
	if err == nil {
		legacyscheme.Scheme.Default(out)
	}
	return out, err
}

// declared adds what Kubernetes checks by the declarations of its Go types, as its server does.
func declared(ctx context.Context, s any, obj, old runtime.Object, errs field.ErrorList, op operation.Type) field.ErrorList {
	d, ok := s.(rest.DeclarativeValidationStrategy)
	if !ok {
		return errs
	}
	return d.ValidateDeclaratively(ctx, obj, old, errs, op, d.DeclarativeValidationConfig(ctx, obj, old))
}

func (t theirs) update(obj, old client.Object) (runtime.Object, field.ErrorList, error) {
	in, err := t.internal(obj)
	if err != nil {
		return nil, nil, err
	}
	was, err := t.internal(old)
	if err != nil {
		return nil, nil, err
	}
	s := strategies[t.kind.Kind]
	ctx := t.ctx("")
	s.PrepareForUpdate(ctx, in, was)
	errs := declared(ctx, s, in, was, s.ValidateUpdate(ctx, in, was), operation.Update)
	out, err := t.stored(in)
	return out, errs, err
}

// warnings returns what the client is told of an object that is accepted.
func (t theirs) warnings(s any, obj, old client.Object) ([]string, error) {
	in, err := t.internal(obj)
	if err != nil {
		return nil, err
	}
	if old == nil {
		return s.(rest.RESTCreateStrategy).WarningsOnCreate(t.ctx(""), in), nil
	}
	was, err := t.internal(old)
	if err != nil {
		return nil, err
	}
	return s.(rest.RESTUpdateStrategy).WarningsOnUpdate(t.ctx(""), in, was), nil
}

func (t theirs) status(s rest.RESTUpdateStrategy, obj, old client.Object) (field.ErrorList, error) {
	in, err := t.internal(obj)
	if err != nil {
		return nil, err
	}
	was, err := t.internal(old)
	if err != nil {
		return nil, err
	}
	ctx := t.ctx("status")
	s.PrepareForUpdate(ctx, in, was)
	return declared(ctx, s, in, was, s.ValidateUpdate(ctx, in, was), operation.Update), nil
}

// subresource returns what a write to a subresource makes of an object, and its errors.
func (t theirs) subresource(s rest.RESTUpdateStrategy, name string, obj, old client.Object) (runtime.Object, field.ErrorList, error) {
	in, err := t.internal(obj)
	if err != nil {
		return nil, nil, err
	}
	was, err := t.internal(old)
	if err != nil {
		return nil, nil, err
	}
	ctx := t.ctx(name)
	s.PrepareForUpdate(ctx, in, was)
	errs := declared(ctx, s, in, was, s.ValidateUpdate(ctx, in, was), operation.Update)
	out, err := t.stored(in)
	return out, errs, err
}

func (t theirs) fields(f attributes, obj client.Object) (fields.Set, error) {
	in, err := t.internal(obj)
	if err != nil {
		return nil, err
	}
	_, out, err := f(in)
	return out, err
}

// table prints an object as the API's Table does.
func (t theirs) table(obj client.Object) (*metav1.Table, error) {
	in, err := t.internal(obj)
	if err != nil {
		return nil, err
	}
	table, err := printers.NewTableGenerator().With(internalversion.AddHandlers).GenerateTable(in, printers.GenerateOptions{Wide: true})
	if err == nil && t.kind.Kind != "CSIStorageCapacity" { // whose printer its server does not use
		return table, nil
	}
	// Kinds without a printer of their own are printed by the same function.
	return rest.NewDefaultTableConvertor(schema.GroupResource{Group: t.kind.Group}).ConvertToTable(t.ctx(""), in, nil)
}

var index = regexp.MustCompile(`\[[^\]]*\]`)

// quoted finds the values that details repeat.
var quoted = regexp.MustCompile(`(feature name |address: )("[^"]*"|[^)]*)`)

// words tells errors as a set of lines, without the values that were wrong.
func words(errs field.ErrorList) map[string]bool {
	out := map[string]bool{}
	for _, e := range errs {
		detail, _, _ := strings.Cut(e.Detail, "\n")
		detail = quoted.ReplaceAllString(detail, "$1*")
		out[fmt.Sprintf("%s %s %s", e.Type, e.Field, detail)] = true
	}
	return out
}

// difference returns a line for each error that only one side has; "-" is missing here, "+" is
// Kubernetes' missing.
func difference(ours, theirs field.ErrorList) []string {
	a, b := words(ours), words(theirs)
	var out []string
	for w := range b {
		if !a[w] {
			out = append(out, "- "+w)
		}
	}
	for w := range a {
		if !b[w] {
			out = append(out, "+ "+w)
		}
	}
	sort.Strings(out)
	return out
}

// general makes a line about one element one about all.
func general(line string) string { return index.ReplaceAllString(line, "[*]") }

// firstDifference returns where two objects differ as JSON, "" when they do not.
func firstDifference(a, b any) string {
	var x, y any
	for _, p := range []struct {
		in  any
		out *any
	}{{a, &x}, {b, &y}} {
		raw, err := json.Marshal(p.in)
		if err != nil {
			return err.Error()
		}
		if err := json.Unmarshal(raw, p.out); err != nil {
			return err.Error()
		}
	}
	return walk("", x, y)
}

func walk(path string, a, b any) string {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s: %.80v, Kubernetes %.80v", path, a, b)
		}
		for k := range y {
			if _, ok := x[k]; !ok {
				return fmt.Sprintf("%s.%s: missing, Kubernetes %.80v", path, k, y[k])
			}
		}
		for k := range x {
			if _, ok := y[k]; !ok {
				return fmt.Sprintf("%s.%s: %.80v, Kubernetes has none", path, k, x[k])
			}
			if d := walk(path+"."+k, x[k], y[k]); d != "" {
				return d
			}
		}
		return ""
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return fmt.Sprintf("%s: %.80v, Kubernetes %.80v", path, a, b)
		}
		for i := range x {
			if d := walk(fmt.Sprintf("%s[%d]", path, i), x[i], y[i]); d != "" {
				return d
			}
		}
		return ""
	}
	if a != b {
		return fmt.Sprintf("%s: %.80v, Kubernetes %.80v", path, a, b)
	}
	return ""
}
