package apiserver

import (
	"errors"
	"fmt"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	kjson "sigs.k8s.io/json"

	"github.com/inboard/inboard/apiserver/client"
)

// AdmissionVersion is one of the versions that what is admitted can be looked at in.
type AdmissionVersion struct {
	Resource schema.GroupVersionResource
	// Kind is that of Object, Old and Body.
	Kind schema.GroupVersionKind
}

// Version returns the version that the request is in.
func (r *AdmissionRequest) Version() AdmissionVersion { return r.version(r.request.served()) }

// Versions returns all versions that the resource is served in.
func (r *AdmissionRequest) Versions() []AdmissionVersion {
	var out []AdmissionVersion
	for _, as := range r.request.res.all {
		out = append(out, r.version(as))
	}
	return out
}

func (r *AdmissionRequest) version(as *resource) AdmissionVersion {
	v := AdmissionVersion{as.gvr, as.GroupVersionKind}
	switch {
	case r.Body != nil:
		v.Kind = r.Body.GetObjectKind().GroupVersionKind()
	case r.Ref.Subresource == "scale" && as.Scale != nil:
		v.Kind = scaleKind
	}
	return v
}

// Target returns what is admitted: Object or Body, nil for Delete.
func (r *AdmissionRequest) Target() runtime.Object {
	switch {
	case r.Object != nil:
		return r.Object
	case r.Body != nil:
		return r.Body
	}
	return nil
}

// Options returns the options of the write as those of its operation, such as *metav1.UpdateOptions for a patch of
// what exists; nil for Connect.
func (r *AdmissionRequest) Options() runtime.Object {
	var dryRun []string
	manager, validation := "", ""
	switch o := r.request.options.(type) {
	case *metav1.CreateOptions:
		dryRun, manager, validation = o.DryRun, o.FieldManager, o.FieldValidation
	case *metav1.UpdateOptions:
		dryRun, manager, validation = o.DryRun, o.FieldManager, o.FieldValidation
	case *metav1.PatchOptions:
		dryRun, manager, validation = o.DryRun, o.FieldManager, o.FieldValidation
	case *metav1.DeleteOptions:
		if r.Operation == Delete {
			own := o.DeepCopy()
			own.SetGroupVersionKind(optionsKind("DeleteOptions"))
			return own
		}
	}
	switch r.Operation {
	case Create:
		o := &metav1.CreateOptions{DryRun: dryRun, FieldManager: manager, FieldValidation: validation}
		o.SetGroupVersionKind(optionsKind("CreateOptions"))
		return o
	case Update:
		o := &metav1.UpdateOptions{DryRun: dryRun, FieldManager: manager, FieldValidation: validation}
		o.SetGroupVersionKind(optionsKind("UpdateOptions"))
		return o
	case Delete:
		o := &metav1.DeleteOptions{DryRun: dryRun}
		o.SetGroupVersionKind(optionsKind("DeleteOptions"))
		return o
	}
	return nil
}

func optionsKind(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "meta.k8s.io", Version: "v1", Kind: kind}
}

// As returns Object, Old or Body as one of the kinds of Versions. The result is shared and read-only.
func (r *AdmissionRequest) As(obj runtime.Object, kind schema.GroupVersionKind) (runtime.Object, error) {
	if obj.GetObjectKind().GroupVersionKind() == kind {
		return obj, nil
	}
	as, err := r.servedAs(kind)
	if err != nil {
		return nil, err
	}
	o, ok := obj.(client.Object)
	if !ok {
		return nil, unknownConversion(obj, kind)
	}
	return as.shown(o)
}

func unknownConversion(obj runtime.Object, kind schema.GroupVersionKind) error {
	from := obj.GetObjectKind().GroupVersionKind()
	return fmt.Errorf("converting (%s.%s) to (%s.%s): unknown conversion", from.GroupVersion(), from.Kind, kind.GroupVersion(), kind.Kind)
}

// servedAs returns the resource in the version that has a kind.
func (r *AdmissionRequest) servedAs(kind schema.GroupVersionKind) (*resource, error) {
	for _, as := range r.request.res.all {
		if as.GroupVersionKind == kind {
			return as, nil
		}
	}
	return nil, fmt.Errorf("%s has no version of the kind %s", r.request.res.gr, kind)
}

// Decode returns what a JSON document describes, which is to be of one of the kinds of Versions. Unknown fields
// are dropped.
func (r *AdmissionRequest) Decode(data []byte, kind schema.GroupVersionKind) (runtime.Object, error) {
	target := r.Target()
	if target == nil {
		return nil, errors.New("there is no object")
	}
	into := emptyLike(target)
	if target.GetObjectKind().GroupVersionKind() != kind {
		as, err := r.servedAs(kind)
		if err != nil {
			return nil, err
		}
		into = as.new()
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, into); err != nil {
		return nil, err
	}
	switch got := into.GetObjectKind().GroupVersionKind(); got {
	case kind:
	case schema.GroupVersionKind{}:
		into.GetObjectKind().SetGroupVersionKind(kind)
	default:
		return nil, unknownConversion(into, kind)
	}
	return into, nil
}

// Replace makes Object, or Body, what obj says, which is of one of the kinds of Versions, and fills in defaults.
// Only Admit may do that. obj becomes the request's.
func (r *AdmissionRequest) Replace(obj runtime.Object) error {
	target := r.Target()
	if target == nil {
		return errors.New("there is no object")
	}
	if r.Object != nil && r.Ref.Subresource != "scale" {
		as, err := r.servedAs(obj.GetObjectKind().GroupVersionKind())
		if err != nil {
			return err
		}
		o, ok := obj.(client.Object)
		if !ok {
			return unknownConversion(obj, as.GroupVersionKind)
		}
		if o, err = as.stored(o); err != nil {
			return err
		}
		if r.request.res.Default != nil {
			r.request.res.Default(o)
		}
		obj = o
	}
	if reflect.TypeOf(obj) != reflect.TypeOf(target) {
		return unknownConversion(obj, target.GetObjectKind().GroupVersionKind())
	}
	reflect.ValueOf(target).Elem().Set(reflect.ValueOf(obj).Elem())
	r.replaced = true
	return nil
}

// Reinvoke asks for all plugins' Admit to be called once more, as the object was changed in a way that they may want
// to look at. It does nothing in the second round.
func (r *AdmissionRequest) Reinvoke() { r.again = true }

// Reinvoked tells that the plugins are asked once more.
func (r *AdmissionRequest) Reinvoked() bool { return r.round > 0 }

// Value returns what a plugin has kept under a key, nil for nothing.
func (r *AdmissionRequest) Value(key any) any { return r.values[key] }

// SetValue keeps something for a plugin until the request ends. Keys are like those of a context.
func (r *AdmissionRequest) SetValue(key, value any) {
	if r.values == nil {
		r.values = map[any]any{}
	}
	r.values[key] = value
}

func managedFieldsOf(obj client.Object) []metav1.ManagedFieldsEntry {
	if obj == nil {
		return nil
	}
	return obj.GetManagedFields()
}

// keepManagedFields takes managed fields back that admission broke, as kube-apiserver does.
func (r *AdmissionRequest) keepManagedFields(before []metav1.ManagedFieldsEntry) {
	if r.Object == nil {
		return
	}
	if err := managedfields.ValidateManagedFields(r.Object.GetManagedFields()); err != nil {
		r.Object.SetManagedFields(before)
		r.Warn(fmt.Sprintf(".metadata.managedFields was in an invalid state after admission; this could be caused by an "+
			"outdated mutating admission controller; please fix your requests: %v", err))
	}
}
