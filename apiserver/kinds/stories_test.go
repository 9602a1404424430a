package kinds_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/cockroachdb/datadriven"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
)

// now is when the stories happen.
var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// TestStories runs scripts of manifests: what a manifest becomes, what is wrong with it, how it is
// listed.
//
//	defaults KIND       prints the manifest with its defaults
//	create KIND         prints the manifest as it is stored, or the errors as kubectl tells them
//	update KIND         the same for the second manifest, in the place of the first
//	warnings KIND       prints what kubectl warns of when the manifest is new
//	get KIND [wide]     prints the table of the manifests
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			k := kindNamed(t, d.CmdArgs[0].Key)
			docs := strings.Split(d.Input, "\n===\n")
			switch d.Cmd {
			case "defaults":
				obj := parse(t, k, docs[0])
				setDefaults(k, obj)
				return text(t, obj)
			case "create":
				obj := parse(t, k, docs[0])
				return outcome(t, obj, create(k, obj))
			case "update":
				old, obj := parse(t, k, docs[0]), parse(t, k, docs[1])
				if errs := create(k, old); len(errs) > 0 {
					t.Fatalf("the first manifest is invalid: %v", errs)
				}
				return outcome(t, obj, update(k, obj, old))
			case "warnings":
				return strings.Join(append(k.Warnings(parse(t, k, docs[0]), nil), ""), "\n")
			case "get":
				return table(t, k, docs, d.HasArg("wide"))
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}

func kindNamed(t *testing.T, name string) apiserver.Kind {
	t.Helper()
	for _, k := range kinds.All() {
		if k.Kind == name {
			return k
		}
	}
	t.Fatalf("no kind %q", name)
	return apiserver.Kind{}
}

func empty(k apiserver.Kind) client.Object {
	return reflect.New(reflect.TypeOf(k.Object).Elem()).Interface().(client.Object)
}

func parse(t *testing.T, k apiserver.Kind, manifest string) client.Object {
	t.Helper()
	obj := empty(k)
	if err := yaml.UnmarshalStrict([]byte(manifest), obj); err != nil {
		t.Fatalf("%v in\n%s", err, manifest)
	}
	return obj
}

func setDefaults(k apiserver.Kind, obj client.Object) {
	if k.Default != nil {
		k.Default(obj)
	}
}

func create(k apiserver.Kind, obj client.Object) field.ErrorList { return update(k, obj, nil) }

// update does what the server does with an object before it is stored; old nil makes a new one.
func update(k apiserver.Kind, obj, old client.Object) field.ErrorList {
	setDefaults(k, obj)
	if k.Prepare != nil {
		k.Prepare(obj, old)
	}
	if k.Validate == nil {
		return nil
	}
	return k.Validate(obj, old)
}

func outcome(t *testing.T, obj client.Object, errs field.ErrorList) string {
	if len(errs) == 0 {
		return text(t, obj)
	}
	var b strings.Builder
	for _, e := range errs {
		message, _, _ := strings.Cut(e.Error(), "\n")
		fmt.Fprintf(&b, "* %s\n", message)
	}
	return b.String()
}

func text(t *testing.T, obj client.Object) string {
	out, err := yaml.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func table(t *testing.T, k apiserver.Kind, manifests []string, wide bool) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	line := func(cell func(i int) string) {
		var cells []string
		for i, c := range k.Columns {
			if wide || c.Priority == 0 {
				cells = append(cells, cell(i))
			}
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	line(func(i int) string { return strings.ToUpper(k.Columns[i].Name) })
	for _, m := range manifests {
		row := k.Row(parse(t, k, m), now)
		line(func(i int) string { return fmt.Sprint(row[i]) })
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
