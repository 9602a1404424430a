package apiserver

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	listvalidation "k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// selector is what a list or watch asks for: a range of keys, and conditions on the objects in it.
type selector struct {
	res, as  *resource // the stored version, and the one asked for
	key, end string    // end is empty when only one object can match
	labels   labels.Selector
	fields   []fieldCondition // on objects in the stored version
}

type fieldCondition struct {
	name  string // tells fields apart, also of different versions
	get   func(client.Object) string
	value string
	not   bool
	// scope tells that the range of keys has the condition in it already.
	scope bool
}

// newSelector reads the selectors of a list or watch.
func (rq *request) newSelector(opts *metav1.ListOptions) (*selector, error) {
	res := rq.res
	sel := &selector{res: res, as: rq.served(), labels: labels.Everything(), key: res.scope(rq.ref.Namespace)}
	if opts.LabelSelector != "" {
		l, err := labels.Parse(opts.LabelSelector)
		if err != nil {
			return nil, badRequest("%v", err)
		}
		sel.labels = l
	}
	namespace, name := rq.ref.Namespace, rq.ref.Name
	if opts.FieldSelector != "" {
		f, err := fields.ParseSelector(opts.FieldSelector)
		if err != nil {
			return nil, badRequest("%v", err)
		}
		for _, r := range f.Requirements() {
			if err := sel.require(r); err != nil {
				return nil, err
			}
			if r.Operator == selection.NotEquals {
				continue
			}
			switch {
			case r.Field == "metadata.name" && name == "":
				name = r.Value
			case r.Field == "metadata.namespace" && namespace == "" && res.Namespaced && r.Value != "":
				namespace, sel.key = r.Value, res.scope(r.Value)
			}
		}
	}
	if name != "" && (namespace != "" || !res.Namespaced) {
		sel.key = res.key(namespace, name)
		return sel, nil
	}
	sel.end = store.PrefixEnd(sel.key)
	return sel, nil
}

// require adds a condition on a field.
func (sel *selector) require(r fields.Requirement) error {
	get := sel.field(r.Field)
	if get == nil {
		if sel.res.Fields == nil {
			return badRequest("%q is not a known field selector: only %q, %q", r.Field, "metadata.name", "metadata.namespace")
		}
		return badRequest("field label not supported: %s", r.Field)
	}
	name := "field " + sel.as.Version + " " + r.Field
	sel.fields = append(sel.fields, fieldCondition{name: name, get: get, value: r.Value, not: r.Operator == selection.NotEquals, scope: r.Field == "metadata.namespace"})
	return nil
}

// field returns the function that reads a field of stored objects: one of those that Kubernetes selects by, or any
// other scalar one in the version asked for. It is nil when there is none.
func (sel *selector) field(name string) func(client.Object) string {
	if get := sel.res.field(sel.as.label(name)); get != nil {
		return get
	}
	if name == "metadata.name" || name == "metadata.namespace" || sel.res.Custom != nil {
		return nil // where Kubernetes has no such field, it is to be refused
	}
	get := scalarField(sel.as.typ, name)
	if get == nil || sel.as.version == nil {
		return get
	}
	return func(obj client.Object) string {
		shown, err := sel.as.shown(obj)
		if err != nil {
			return ""
		}
		return get(shown)
	}
}

// field returns the function that reads a field that Kubernetes' field selectors may name, nil when there is none.
func (r *resource) field(name string) func(client.Object) string {
	switch {
	case name == "metadata.name":
		return func(o client.Object) string { return o.GetName() }
	case name == "metadata.namespace" && (r.Namespaced || r.Fields == nil):
		return func(o client.Object) string { return o.GetNamespace() }
	}
	return r.Fields[name]
}

// all tells that every object in the range matches.
func (sel *selector) all() bool { return len(sel.fields) == 0 && sel.labels.Empty() }

// selects is matches for an object that may not be decoded, and need not be when all are asked for.
func (sel *selector) selects(f *found) (bool, error) {
	if sel.all() {
		return true, nil
	}
	if len(sel.fields) == 0 && f.obj == nil && f.state != nil {
		l, err := sel.res.labelsOf(f.state)
		if err != nil {
			return false, asStatus(err)
		}
		return sel.labels.Matches(l), nil
	}
	obj, err := f.object()
	return err == nil && sel.matches(obj), err
}

// matches tells whether an object is asked for.
func (sel *selector) matches(obj client.Object) bool {
	for i := range sel.fields {
		f := &sel.fields[i]
		if (f.get(obj) == f.value) == f.not {
			return false
		}
	}
	return sel.labels.Empty() || sel.labels.Matches(labels.Set(obj.GetLabels()))
}

// checkListOptions refuses combinations of options that Kubernetes refuses.
func checkListOptions(opts *metav1.ListOptions, watch bool) error {
	// A selector that can't be read is told first.
	if _, err := labels.Parse(opts.LabelSelector); err != nil {
		return badRequest("%v", err)
	}
	internal := &internalversion.ListOptions{
		Watch: watch, Limit: opts.Limit, Continue: opts.Continue,
		ResourceVersion: opts.ResourceVersion, ResourceVersionMatch: opts.ResourceVersionMatch,
		SendInitialEvents: opts.SendInitialEvents, AllowWatchBookmarks: opts.AllowWatchBookmarks,
	}
	internalversion.SetListOptionsDefaults(internal, true)
	if errs := listvalidation.ValidateListOptions(internal, true); len(errs) > 0 {
		return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "ListOptions"}, "", errs)
	}
	return nil
}

// listKind returns the kind of a resource's lists.
func (r *resource) listKind() metav1.TypeMeta {
	apiVersion, kind := r.GroupVersionKind.ToAPIVersionAndKind()
	if r.Custom != nil {
		return metav1.TypeMeta{APIVersion: apiVersion, Kind: r.Custom.ListKind}
	}
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind + "List"}
}
