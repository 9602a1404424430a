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

// converter is what the field managers need of a scheme, for one kind in its versions.
type converter struct{ t *Type }

// typeOf returns the version that an object is in: that of its Go type, or for an unstructured one what
// it says.
func (c converter) typeOf(obj runtime.Object) *Type {
	kind := obj.GetObjectKind().GroupVersionKind()
	for _, t := range c.t.family.members {
		if reflect.TypeOf(t.kind.Object) == reflect.TypeOf(obj) || t.kind.GroupVersionKind == kind {
			return t
		}
	}
	return c.t
}

// ObjectToTyped gives an object its version's schema.
func (c converter) ObjectToTyped(obj runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	t, err := c.typeOf(obj).parseable()
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

// ConvertToVersion returns an object as the Go type of a version. Versions that are not served are not
// registered, so that fields managed in them are forgotten.
func (c converter) ConvertToVersion(in runtime.Object, to runtime.GroupVersioner) (runtime.Object, error) {
	target := c.target(to)
	if target == nil {
		return nil, runtime.NewNotRegisteredErrForTarget("inboard", reflect.TypeOf(in), to)
	}
	from := c.typeOf(in)
	obj, ok := in.(client.Object)
	if u, is := in.(*unstructured.Unstructured); is {
		obj, ok = from.empty(), true
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.UnstructuredContent(), obj); err != nil {
			return nil, fmt.Errorf("unable to convert unstructured object to %v: %w", from.kind.GroupVersionKind, err)
		}
	}
	if !ok {
		return nil, fmt.Errorf("a %T has no metadata", in)
	}
	return from.convert(obj, target)
}

func (c converter) target(to runtime.GroupVersioner) *Type {
	for _, t := range c.t.family.members {
		// A GroupVersion also takes other versions of its group, by way of conversion.
		if gvk, ok := to.KindForGroupVersionKinds([]schema.GroupVersionKind{t.kind.GroupVersionKind}); ok && gvk == t.kind.GroupVersionKind {
			return t
		}
	}
	return nil
}

// convert returns an object of the type as one of another of the family.
func (t *Type) convert(obj client.Object, to *Type) (client.Object, error) {
	if t == to {
		return obj, nil
	}
	if t.kind.ToHub != nil {
		hub := t.family.members[0].empty()
		if err := t.kind.ToHub(obj, hub); err != nil {
			return nil, err
		}
		obj = hub
	}
	if to.kind.FromHub == nil {
		return obj, nil
	}
	out := to.empty()
	if err := to.kind.FromHub(obj, out); err != nil {
		return nil, err
	}
	out.GetObjectKind().SetGroupVersionKind(to.kind.GroupVersionKind)
	return out, nil
}

// Convert and ConvertFieldLabel complete runtime.ObjectConvertor; field managers call neither.
func (c converter) Convert(in, out, _ any) error {
	return fmt.Errorf("no conversion from %T to %T", in, out)
}

func (c converter) ConvertFieldLabel(_ schema.GroupVersionKind, label, _ string) (string, string, error) {
	return "", "", fmt.Errorf("no conversion of the field label %s", label)
}

// Default fills in the defaults of the version that an object is in.
func (c converter) Default(in runtime.Object) {
	obj, ok := in.(client.Object)
	if t := c.typeOf(in); ok && t.kind.Default != nil {
		t.kind.Default(obj)
	}
}

// New returns an empty object of the kind.
func (c converter) New(schema.GroupVersionKind) (runtime.Object, error) { return c.t.empty(), nil }

func (t *Type) empty() client.Object {
	obj := reflect.New(reflect.TypeOf(t.kind.Object).Elem()).Interface().(client.Object)
	obj.GetObjectKind().SetGroupVersionKind(t.kind.GroupVersionKind)
	return obj
}
