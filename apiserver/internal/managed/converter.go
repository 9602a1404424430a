package managed

import (
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/inboard/inboard/apiserver/client"
)

// converter is what the field managers need of a scheme, for one kind in one version.
type converter struct{ t *Type }

// ObjectToTyped gives an object the kind's schema.
func (c converter) ObjectToTyped(obj runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	t, err := c.t.parseable()
	if err != nil {
		return nil, err
	}
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return t.FromUnstructured(u.UnstructuredContent(), opts...)
	}
	return t.FromStructured(obj, opts...)
}

// TypedToObject returns a typed value as an unstructured object.
func (c converter) TypedToObject(v *typed.TypedValue) (runtime.Object, error) {
	content, ok := v.AsValue().Unstructured().(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a %s is no object", c.t.kind.Kind)
	}
	return &unstructured.Unstructured{Object: content}, nil
}

// ConvertToVersion returns an object as the kind's Go type. Other versions are not registered, so that
// fields managed in one that is not served are forgotten.
func (c converter) ConvertToVersion(in runtime.Object, to runtime.GroupVersioner) (runtime.Object, error) {
	kind := c.t.kind.GroupVersionKind
	if _, ok := to.KindForGroupVersionKinds([]schema.GroupVersionKind{kind}); !ok {
		return nil, runtime.NewNotRegisteredErrForTarget("inboard", reflect.TypeOf(in), to)
	}
	u, ok := in.(*unstructured.Unstructured)
	if !ok {
		return in, nil
	}
	obj := c.empty()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.UnstructuredContent(), obj); err != nil {
		return nil, err
	}
	return obj, nil
}

// Convert and ConvertFieldLabel complete runtime.ObjectConvertor; field managers call neither.
func (c converter) Convert(in, out, _ any) error {
	return fmt.Errorf("no conversion from %T to %T", in, out)
}

func (c converter) ConvertFieldLabel(_ schema.GroupVersionKind, label, _ string) (string, string, error) {
	return "", "", fmt.Errorf("no conversion of the field label %s", label)
}

// Default fills in the kind's defaults.
func (c converter) Default(in runtime.Object) {
	if obj, ok := in.(client.Object); ok && c.t.kind.Default != nil {
		c.t.kind.Default(obj)
	}
}

// New returns an empty object of the kind.
func (c converter) New(schema.GroupVersionKind) (runtime.Object, error) { return c.empty(), nil }

func (c converter) empty() client.Object {
	obj := reflect.New(reflect.TypeOf(c.t.kind.Object).Elem()).Interface().(client.Object)
	obj.GetObjectKind().SetGroupVersionKind(c.t.kind.GroupVersionKind)
	return obj
}
