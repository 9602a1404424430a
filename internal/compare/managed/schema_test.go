package managed

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/openapi"
)

// upstream returns the schema that client-go's apply configurations are made from. It stands as text in
// an internal package.
func upstream(t *testing.T) *schema.Schema {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/client-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(strings.TrimSpace(string(dir)), "applyconfigurations/internal/internal.go")
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var text string
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && v.Names[0].Name == "schemaYAML" {
			ast.Inspect(v, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					s, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					text += s
				}
				return true
			})
		}
		return true
	})
	p, err := typed.NewParser(typed.YAMLObject(text))
	if err != nil {
		t.Fatal(err)
	}
	return &p.Schema
}

// comparison walks two schemas side by side.
type comparison struct {
	ours, theirs *schema.Schema
	seen         map[string]bool
	found        []string
}

func (c *comparison) add(path, format string, args ...any) {
	c.found = append(c.found, path+": "+fmt.Sprintf(format, args...))
}

func (c *comparison) refs(path string, a, b schema.TypeRef) {
	if b.NamedType != nil {
		key := *b.NamedType + fmt.Sprint(b.ElementRelationship != nil)
		if c.seen[key] {
			return
		}
		c.seen[key] = true
		path = *b.NamedType
	}
	ours, ok := c.ours.Resolve(a)
	if !ok {
		c.add(path, "not in ours")
		return
	}
	theirs, ok := c.theirs.Resolve(b)
	if !ok {
		c.add(path, "not in theirs")
		return
	}
	c.atoms(path, ours, theirs)
}

// untyped tells that an atom takes scalars of any type; the forms of both schemas differ in what else
// they take, which no object has.
func untyped(a schema.Atom) bool { return a.Scalar != nil && *a.Scalar == schema.Untyped }

func (c *comparison) atoms(path string, a, b schema.Atom) {
	switch {
	case untyped(a) && untyped(b):
	case (a.Scalar == nil) != (b.Scalar == nil) || (a.Map == nil) != (b.Map == nil) || (a.List == nil) != (b.List == nil):
		c.add(path, "ours is %s, theirs %s", form(a), form(b))
	case a.Scalar != nil && *a.Scalar != *b.Scalar:
		c.add(path, "ours is %s, theirs %s", *a.Scalar, *b.Scalar)
	case a.List != nil:
		c.lists(path, a.List, b.List)
	case a.Map != nil:
		c.maps(path, a.Map, b.Map)
	}
}

func form(a schema.Atom) string {
	switch {
	case untyped(a):
		return "untyped"
	case a.Map != nil:
		return "a map"
	case a.List != nil:
		return "a list"
	}
	return "a scalar"
}

func (c *comparison) lists(path string, a, b *schema.List) {
	if a.ElementRelationship != b.ElementRelationship || !slices.Equal(a.Keys, b.Keys) {
		c.add(path, "ours is %s by %v, theirs %s by %v", a.ElementRelationship, a.Keys, b.ElementRelationship, b.Keys)
		return
	}
	for _, key := range a.Keys {
		if x, y := defaultOf(c.ours, a, key), defaultOf(c.theirs, b, key); fmt.Sprint(x) != fmt.Sprint(y) {
			c.add(path, "the key %s is %v by default in ours, %v in theirs", key, x, y)
		}
	}
	c.refs(path+"[]", a.ElementType, b.ElementType)
}

func defaultOf(s *schema.Schema, l *schema.List, key string) any {
	item, ok := s.Resolve(l.ElementType)
	if !ok || item.Map == nil {
		return nil
	}
	f, _ := item.Map.FindField(key)
	return f.Default
}

func relationship(m *schema.Map) schema.ElementRelationship {
	if m.ElementRelationship == "" {
		return schema.Separable
	}
	return m.ElementRelationship
}

func (c *comparison) maps(path string, a, b *schema.Map) {
	if relationship(a) != relationship(b) {
		c.add(path, "ours is %s, theirs %s", relationship(a), relationship(b))
		return
	}
	for _, f := range b.Fields {
		own, ok := a.FindField(f.Name)
		if !ok {
			c.add(path, "ours lacks %s", f.Name)
			continue
		}
		c.refs(path+"."+f.Name, own.Type, f.Type)
	}
	for _, f := range a.Fields {
		if _, ok := b.FindField(f.Name); !ok {
			c.add(path, "theirs lacks %s", f.Name)
		}
	}
	if _, ok := c.theirs.Resolve(b.ElementType); ok && len(b.Fields) == 0 {
		c.refs(path+".*", a.ElementType, b.ElementType)
	}
}

// samples returns empty objects of the kinds that are served, and of all others that are stable in
// Kubernetes, served or not yet.
func samples() []client.Object {
	var out []client.Object
	for _, k := range kinds.All() {
		out = append(out, k.Object)
	}
	stable := regexp.MustCompile(`^v\d+$`)
	for gvk, typ := range scheme.Scheme.AllKnownTypes() {
		obj, ok := reflect.New(typ).Interface().(client.Object)
		if ok && stable.MatchString(gvk.Version) {
			out = append(out, obj)
		}
	}
	return out
}

// Objects of every kind are merged by the schema that Kubernetes has.
func TestSchema(t *testing.T) {
	theirs := upstream(t)
	c := comparison{theirs: theirs, seen: map[string]bool{}}
	served := map[reflect.Type]bool{}
	for _, k := range kinds.All() {
		served[reflect.TypeOf(k.Object)] = k.Review == nil
	}
	for _, obj := range samples() {
		typ, err := openapi.ParseableType(obj)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := theirs.Resolve(typ.TypeRef); !ok && !served[reflect.TypeOf(obj)] {
			continue // such as reviews, which are not stored: nobody applies one
		}
		c.ours = typ.Schema
		c.refs(fmt.Sprintf("%T", obj), typ.TypeRef, typ.TypeRef)
	}
	if len(c.seen) < 100 {
		t.Errorf("only %d types were compared", len(c.seen))
	}
	slices.Sort(c.found)
	for _, f := range slices.Compact(c.found) {
		t.Error(f)
	}
}
