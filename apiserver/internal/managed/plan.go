package managed

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// A plan is a Go type with its schema, prepared for comparing two values of it. The library compares
// any two values by asking the schema and the types anew at each step, which costs ten times what the
// rest of a write does.
type plan struct {
	kind planKind
	typ  reflect.Type // what a pointer points to
	// fields are those of a structPlan, sorted by name; all are also those that nobody manages.
	fields []fieldPlan
	all    []fieldReader
	// elem are the elements of a mapPlan, listPlan or setPlan.
	elem *plan
	// keys tell the items of a listPlan apart, sorted by name.
	keys []keyPlan
	// marshals tells that values have a JSON form of their own.
	marshals bool
	// unnamed tells that nobody manages the field as such, only what is in it.
	unnamed bool
}

type planKind int

const (
	leafPlan   planKind = iota // scalars, and what is replaced as a whole
	structPlan                 // fields are managed one by one
	mapPlan                    // keys are managed one by one
	listPlan                   // items are told apart by keys
	setPlan                    // items are scalars and told apart by themselves
)

type fieldPlan struct {
	*plan
	reader fieldReader
	name   string // "f:spec", quoted
}

type keyPlan struct {
	reader fieldReader
	name   string
	def    any // stands in for a key that is left out, nil for none
}

// unmanaged are the fields that nobody manages, as apimachinery's field managers have them.
var unmanaged = []string{
	"apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.creationTimestamp", "metadata.selfLink",
	"metadata.uid", "metadata.generation", "metadata.managedFields", "metadata.resourceVersion",
}

// planner makes plans for the types of one schema.
type planner struct {
	schema *schema.Schema
	made   map[planKey]*plan
	skip   []string
}

type planKey struct {
	typ  reflect.Type
	name string
}

// newPlan returns the plan for a Go type that leaves out the given fields, such as "status" or
// "metadata.labels". The error tells that the type has parts that only the library can compare.
func newPlan(t reflect.Type, p *typed.ParseableType, skip []string) (*plan, error) {
	c := planner{schema: p.Schema, made: map[planKey]*plan{}, skip: append(slices.Clone(unmanaged), skip...)}
	return c.plan(t, p.TypeRef, "")
}

func (c *planner) plan(t reflect.Type, ref schema.TypeRef, path string) (*plan, error) {
	atom, ok := c.schema.Resolve(ref)
	if !ok {
		return nil, fmt.Errorf("%s has no schema", path)
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	// What is left out depends on the path near the root, and types of the same name may be made
	// atomic where they are used.
	shared := ref.NamedType != nil && ref.ElementRelationship == nil && strings.Count(path, ".") > 1
	if shared {
		if p := c.made[planKey{t, *ref.NamedType}]; p != nil {
			return p, nil
		}
	}
	p := &plan{typ: t, marshals: value.TypeReflectEntryOf(t).CanConvertToUnstructured(), unnamed: path == "metadata"}
	if shared {
		c.made[planKey{t, *ref.NamedType}] = p
	}
	return p, c.fill(p, atom, path)
}

func (c *planner) fill(p *plan, atom schema.Atom, path string) error {
	switch {
	case p.marshals && (atom.Map == nil || atom.Map.ElementRelationship == schema.Atomic || atom.Scalar != nil):
		return nil
	case p.marshals || p.typ == reflect.TypeFor[unstructured.Unstructured]() || p.typ.Kind() == reflect.Interface:
		return fmt.Errorf("%s has no Go type", path)
	case p.typ.Kind() == reflect.Struct && atom.Map != nil:
		if atom.Map.ElementRelationship == schema.Atomic {
			return nil
		}
		return c.fields(p, atom.Map, path)
	case p.typ.Kind() == reflect.Map && atom.Map != nil:
		if atom.Map.ElementRelationship == schema.Atomic {
			return nil
		}
		var err error
		p.kind = mapPlan
		p.elem, err = c.plan(p.typ.Elem(), atom.Map.ElementType, path+".*")
		return err
	case p.typ.Kind() == reflect.Slice && atom.List != nil:
		if atom.List.ElementRelationship == schema.Atomic {
			return nil
		}
		return c.items(p, atom.List, path)
	case atom.Scalar != nil:
		return nil
	}
	return fmt.Errorf("%s is a %s, which its schema does not fit", path, p.typ)
}

func (c *planner) fields(p *plan, m *schema.Map, path string) error {
	p.kind = structPlan
	for _, entry := range value.TypeReflectEntryOf(p.typ).OrderedFields() {
		reader := newFieldReader(p.typ, entry)
		p.all = append(p.all, reader)
		at := strings.TrimPrefix(path+"."+entry.JsonName, ".")
		if slices.Contains(c.skip, at) {
			continue
		}
		field, ok := m.FindField(entry.JsonName)
		if !ok {
			return fmt.Errorf("%s is not in the schema", at)
		}
		child, err := c.plan(reader.of(reflect.New(p.typ).Elem()).Type(), field.Type, at)
		if err != nil {
			return err
		}
		p.fields = append(p.fields, fieldPlan{plan: child, reader: reader, name: `"f:` + entry.JsonName + `"`})
	}
	return nil
}

func (c *planner) items(p *plan, l *schema.List, path string) error {
	var err error
	p.kind = setPlan
	if p.elem, err = c.plan(p.typ.Elem(), l.ElementType, path+".*"); err != nil {
		return err
	}
	if len(l.Keys) == 0 {
		if p.elem.kind != leafPlan || p.elem.typ.Kind() != reflect.String || p.typ.Elem().Kind() == reflect.Pointer {
			return fmt.Errorf("%s is a set of %s", path, p.typ.Elem())
		}
		return nil
	}
	p.kind = listPlan
	item, ok := c.schema.Resolve(l.ElementType)
	if !ok || item.Map == nil || p.elem.typ.Kind() != reflect.Struct || p.typ.Elem().Kind() == reflect.Pointer {
		return fmt.Errorf("%s has items that are no structs", path)
	}
	entries := value.TypeReflectEntryOf(p.elem.typ).Fields()
	for _, name := range slices.Sorted(slices.Values(l.Keys)) {
		field, _ := item.Map.FindField(name)
		if entries[name] == nil {
			return fmt.Errorf("%s has no key %s", path, name)
		}
		p.keys = append(p.keys, keyPlan{reader: newFieldReader(p.elem.typ, entries[name]), name: name, def: field.Default})
	}
	return nil
}
