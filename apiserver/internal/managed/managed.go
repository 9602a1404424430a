// Package managed keeps metadata.managedFields: it tells who set which field of an object, for every
// write, and merges what is applied on the server's side. The rules are those of apimachinery's field
// managers, over schemas made from the Go types.
package managed

import (
	"errors"
	"reflect"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/openapi"
)

// Kind is a kind of objects whose fields have managers.
type Kind struct {
	schema.GroupVersionKind
	// Object is an empty sample of the Go type.
	Object client.Object
	// Default fills in defaults, in place; nil has none.
	Default func(client.Object)
	// ToHub and FromHub convert to and from the first kind of the family; nil for that one.
	ToHub, FromHub func(in, out client.Object) error
	// Custom is what a kind without a Go type has, whose Object is a *unstructured.Unstructured.
	Custom *Custom
}

// Custom is what tells the fields of a kind without a Go type. It is a family of its own.
type Custom struct {
	// Types are the schemas of all versions, Versions their names.
	Types    func() (managedfields.TypeConverter, error)
	Versions []schema.GroupVersion
	// Convert returns an object in one of Versions; it leaves obj alone.
	Convert func(obj *unstructured.Unstructured, to schema.GroupVersion) (*unstructured.Unstructured, error)
}

// Family is one kind in all its versions, whose fields are managed together: every entry is in the
// version that its manager wrote in.
type Family struct{ members []*Type }

// NewFamily returns the family of some kinds, which are versions of each other. The first is the one by
// way of which the others are converted.
func NewFamily(kinds []Kind) *Family {
	f := &Family{}
	for _, k := range kinds {
		f.members = append(f.members, &Type{kind: k, family: f})
	}
	return f
}

// Member returns the type of the family's kind number i.
func (f *Family) Member(i int) *Type { return f.members[i] }

// Type holds the schema of a kind, made when it is first needed and shared by the managers of the
// object and its subresources.
type Type struct {
	kind   Kind
	family *Family
	once   sync.Once
	typ    *typed.ParseableType
	err    error
}

// NewType returns the type of a kind. It builds nothing.
func NewType(kind Kind) *Type { return NewFamily([]Kind{kind}).Member(0) }

func (t *Type) parseable() (*typed.ParseableType, error) {
	t.once.Do(func() { t.typ, t.err = openapi.ParseableType(t.kind.Object) })
	return t.typ, t.err
}

// Manager keeps the managed fields of one kind, as one of its subresources or the object itself writes
// them. It is safe for concurrent use.
type Manager struct {
	typ         *Type
	apiVersion  string
	subresource string
	reset       []string
	filter      fieldpath.Filter
	sets        sets

	fields func() (*managedfields.FieldManager, error)
	plan   func() (*plan, error)
}

// NewManager returns the manager of writes to a subresource, or with "" to the object. Reset names
// fields that such writes have no effect on, so that nobody comes to own them: "status", or
// "metadata.labels".
func NewManager(t *Type, subresource string, reset ...string) *Manager {
	m := &Manager{typ: t, apiVersion: t.kind.GroupVersion().String(), subresource: subresource, reset: reset}
	if len(reset) > 0 {
		set := fieldpath.NewSet()
		for _, path := range reset {
			var p fieldpath.Path
			for name := range strings.SplitSeq(path, ".") {
				p = append(p, fieldpath.PathElement{FieldName: &name})
			}
			set.Insert(p)
		}
		m.filter = fieldpath.NewExcludeSetFilter(set)
	}
	m.fields = sync.OnceValues(m.newFields)
	m.plan = sync.OnceValues(m.newPlan)
	return m
}

// errPart keeps writes of parts off the short way: they are rare.
var errPart = errors.New("the manager is of a part")

// NewPartManager returns the manager of writes to a subresource by which only some fields can be written:
// "spec.containers.*.resources" are those of all elements of a list.
func NewPartManager(t *Type, subresource string, only ...string) *Manager {
	m := &Manager{typ: t, apiVersion: t.kind.GroupVersion().String(), subresource: subresource}
	matchers := make([]*fieldpath.SetMatcher, len(only))
	for i, path := range only {
		var parts []any
		for name := range strings.SplitSeq(path, ".") {
			if name == "*" {
				parts = append(parts, fieldpath.MatchAnyPathElement())
			} else {
				parts = append(parts, name)
			}
		}
		matchers[i] = fieldpath.MakePrefixMatcherOrDie(parts...)
	}
	m.filter = fieldpath.NewIncludeMatcherFilter(matchers...)
	m.fields = sync.OnceValues(m.newFields)
	m.plan = func() (*plan, error) { return nil, errPart }
	return m
}

// TypeConverter gives objects the schema of the kind that the manager is of.
func (m *Manager) TypeConverter() managedfields.TypeConverter { return converter{m.typ} }

func (m *Manager) newFields() (*managedfields.FieldManager, error) {
	if m.typ.kind.Custom != nil {
		return m.newCustomFields()
	}
	c := converter{m.typ}
	var reset map[fieldpath.APIVersion]fieldpath.Filter
	if m.filter != nil {
		reset = map[fieldpath.APIVersion]fieldpath.Filter{}
		for _, t := range m.typ.family.members {
			reset[fieldpath.APIVersion(t.kind.GroupVersion().String())] = m.filter
		}
	}
	kind := m.typ.kind.GroupVersionKind
	hub := m.typ.family.members[0].kind.GroupVersion()
	return managedfields.NewDefaultFieldManager(c, c, c, c, kind, hub, m.subresource, reset)
}

func (m *Manager) newPlan() (*plan, error) {
	if m.typ.kind.Custom != nil {
		return nil, errCustom
	}
	t, err := m.typ.parseable()
	if err != nil {
		return nil, err
	}
	return newPlan(reflect.TypeOf(m.typ.kind.Object), t, m.reset)
}

// Update sets obj's managed fields to what they are after manager made live into obj; live is empty for
// a new object. Managed fields that obj brings along count as in Kubernetes: none are live's, an empty
// list resets them.
func (m *Manager) Update(live, obj client.Object, manager string) error {
	if m.quick(live, obj, manager) {
		return nil
	}
	f, err := m.fields()
	if err != nil {
		return err
	}
	_, err = f.Update(live, obj, manager)
	return err
}

// Apply merges what manager applies into live, and returns the result with its managed fields. The
// error is a *StatusError: a Conflict when others manage a field and force is false, else a BadRequest.
func (m *Manager) Apply(live client.Object, applied runtime.Object, manager string, force bool) (client.Object, error) {
	f, err := m.fields()
	if err != nil {
		return nil, err
	}
	if m.typ.kind.Custom != nil {
		live = live.DeepCopyObject().(client.Object) // parts of it become the result's
	}
	out, err := f.Apply(live, applied, manager, force)
	if err != nil {
		return nil, err
	}
	return out.(client.Object), nil
}
