package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"google.golang.org/protobuf/types/known/structpb"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/cel/mutation"
	"k8s.io/apiserver/pkg/cel/mutation/dynamic"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/inboard/inboard/apiserver"
)

// applied returns an object merged with the configuration that an expression made, as it is applied on the server's
// side; who manages the fields does not matter.
func (m *round) applied(i *invocation, obj runtime.Object, val ref.Val) (runtime.Object, error) {
	made, ok := val.(*dynamic.ObjectVal)
	if !ok {
		return nil, fmt.Errorf("unsupported return type from ApplyConfiguration expression: %v", val.Type())
	}
	if err := made.CheckTypeNamesMatchFieldPathNames(); err != nil {
		return nil, fmt.Errorf("type mismatch: %w", err)
	}
	content, ok := made.Value().(map[string]any)
	if !ok {
		return nil, fmt.Errorf("invalid return type: %T", val)
	}
	patch := &unstructured.Unstructured{Object: content}
	patch.SetGroupVersionKind(i.as.Kind)
	merged, err := m.merge(i, obj, patch)
	if err != nil {
		return nil, fmt.Errorf("error applying patch: %w", err)
	}
	return m.typed(obj, merged)
}

func (m *round) merge(i *invocation, obj runtime.Object, patch *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	converter, err := m.q.TypeConverter(i.as.Kind)
	if err != nil {
		return nil, fmt.Errorf("failed to convert patch object to typed object: %w", err)
	}
	change, err := converter.ObjectToTyped(patch)
	if err != nil {
		return nil, fmt.Errorf("failed to convert patch object to typed object: %w", err)
	}
	if paths := atomics(nil, change.Schema(), change.TypeRef(), change.AsValue()); len(paths) > 0 {
		return nil, fmt.Errorf("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: %v", strings.Join(paths, ", "))
	}
	live, err := converter.ObjectToTyped(obj, typed.AllowDuplicates)
	if err != nil {
		return nil, fmt.Errorf("failed to convert original object to typed object: %w", err)
	}
	merged, err := live.Merge(change)
	if err != nil {
		return nil, fmt.Errorf("failed to merge patch: %w", err)
	}
	content, ok := merged.AsValue().Unstructured().(map[string]any)
	if !ok {
		return nil, fmt.Errorf("failed to convert typed object to object: it is a %T", merged.AsValue().Unstructured())
	}
	return &unstructured.Unstructured{Object: content}, nil
}

// typed returns what was merged as the Go type that the object has.
func (m *round) typed(like runtime.Object, merged *unstructured.Unstructured) (runtime.Object, error) {
	if _, ok := like.(*unstructured.Unstructured); ok {
		return merged, nil
	}
	out := reflect.New(reflect.TypeOf(like).Elem()).Interface().(runtime.Object)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(merged.Object, out); err != nil {
		return nil, err
	}
	return out, nil
}

// atomics returns the paths of lists and maps of a configuration that can only be set as a whole: who sets them most
// likely does not mean to remove what else they have, so Kubernetes refuses.
func atomics(path fieldpath.Path, s *schema.Schema, t schema.TypeRef, v value.Value) []string {
	a, ok := s.Resolve(t)
	if !ok {
		return nil
	}
	var out []string
	switch {
	case v.IsMap() && a.Map != nil:
		if a.Map.ElementRelationship == schema.Atomic {
			out = append(out, path.String())
		}
		v.AsMap().Iterate(func(key string, val value.Value) bool {
			if f, ok := a.Map.FindField(key); ok {
				out = append(out, atomics(append(path[:len(path):len(path)], fieldpath.PathElement{FieldName: &key}), s, f.Type, val)...)
			}
			return true
		})
	case v.IsList() && a.List != nil:
		if a.List.ElementRelationship == schema.Atomic {
			out = append(out, path.String())
		}
		list := v.AsList()
		for i := range list.Length() {
			out = append(out, atomics(append(path[:len(path):len(path)], fieldpath.PathElement{Index: &i}), s, a.List.ElementType, list.At(i))...)
		}
	}
	return out
}

// patched returns an object with the JSON patch applied that an expression made; nil when a test of the patch failed,
// which leaves the object as it is.
func (m *round) patched(i *invocation, obj runtime.Object, val ref.Val) (runtime.Object, error) {
	patch, err := operationsOf(val)
	if err != nil {
		return nil, err
	}
	before, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("failed to create JSON patch: %w", err)
	}
	after, err := apiserver.ApplyJSONPatch(patch, before)
	if errors.Is(err, jsonpatch.ErrTestFailed) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("JSON Patch: %w", err)
	}
	out, err := m.q.DecodeStrictly(after, i.as.Kind)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return out, nil
}

func operationsOf(val ref.Val) (jsonpatch.Patch, error) {
	list, ok := val.(traits.Lister)
	if !ok {
		return nil, errors.New("type mismatch: JSONPatchType.expression should evaluate to array")
	}
	out := jsonpatch.Patch{}
	for it := list.Iterator(); it.HasNext() == types.True; {
		native, err := it.Next().ConvertToNative(reflect.TypeFor[*mutation.JSONPatchVal]())
		if err != nil {
			return nil, fmt.Errorf("type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch: %w", err)
		}
		op, ok := native.(*mutation.JSONPatchVal)
		if !ok {
			return nil, fmt.Errorf("type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch, got element of %T", native)
		}
		o, err := operationOf(op)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

func operationOf(op *mutation.JSONPatchVal) (jsonpatch.Operation, error) {
	text := func(s string) *json.RawMessage {
		raw := json.RawMessage(strconv.Quote(s))
		return &raw
	}
	out := jsonpatch.Operation{"op": text(op.Op), "path": text(op.Path)}
	if op.From != "" {
		out["from"] = text(op.From)
	}
	if op.Val == nil {
		return out, nil
	}
	if made, ok := op.Val.(*dynamic.ObjectVal); ok {
		if err := made.CheckTypeNamesMatchFieldPathNames(); err != nil {
			return nil, fmt.Errorf("type mismatch: %w", err)
		}
	}
	const unfit = "JSONPath valueExpression evaluated to a type that could not marshal to JSON: %w"
	v, err := op.Val.ConvertToNative(reflect.TypeFor[*structpb.Value]())
	if err != nil {
		return nil, fmt.Errorf(unfit, err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf(unfit, err)
	}
	out["value"] = (*json.RawMessage)(&raw)
	return out, nil
}
