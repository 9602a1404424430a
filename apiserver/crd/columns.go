package crd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/util/jsonpath"

	"github.com/inboard/inboard/apiserver/client"
)

// ageColumn is what kinds without columns of their own have.
var ageColumn = apiextensionsv1.CustomResourceColumnDefinition{
	Name: "Age", Type: "date", Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"], JSONPath: ".metadata.creationTimestamp",
}

// columns returns the columns of a version, and what makes a row of an object.
func columns(defined []apiextensionsv1.CustomResourceColumnDefinition) ([]metav1.TableColumnDefinition, func(client.Object, time.Time) []any) {
	if len(defined) == 0 {
		defined = []apiextensionsv1.CustomResourceColumnDefinition{ageColumn}
	}
	head := []metav1.TableColumnDefinition{{Name: "Name", Type: "string", Format: "name", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"]}}
	for i, c := range defined {
		if _, err := parsePath(c.JSONPath); err != nil {
			defined = defined[:i] // the rest is not shown, as in Kubernetes
			break
		}
		about := c.Description
		if about == "" {
			about = "Custom resource definition column (in JSONPath format): " + c.JSONPath
		}
		head = append(head, metav1.TableColumnDefinition{Name: c.Name, Type: c.Type, Format: c.Format, Description: about, Priority: c.Priority})
	}
	return head, func(obj client.Object, now time.Time) []any {
		cells := []any{obj.GetName()}
		for _, c := range defined {
			cells = append(cells, cell(obj.(*unstructured.Unstructured), c, now))
		}
		return cells
	}
}

// parsePath reads a JSON path. What comes of it keeps state while it is used, and so is made anew each time.
func parsePath(path string) (*jsonpath.JSONPath, error) {
	p := jsonpath.New("path").AllowMissingKeys(true)
	return p, p.Parse(fmt.Sprintf("{%s}", path))
}

// cell returns what a column shows of an object, nil for nothing.
func cell(u *unstructured.Unstructured, c apiextensionsv1.CustomResourceColumnDefinition, now time.Time) any {
	p, err := parsePath(c.JSONPath)
	if err != nil {
		return nil
	}
	found, err := p.FindResults(u.Object)
	if err != nil || len(found) == 0 || len(found[0]) == 0 {
		return nil
	}
	value := found[0][0].Interface()
	if c.Type != "string" {
		return cellOf(c.Type, value, now)
	}
	var b bytes.Buffer
	if p.PrintResults(&b, []reflect.Value{reflect.ValueOf(value)}) != nil {
		return nil
	}
	return b.String()
}

// cellOf returns a value as the type of its column, nil when it is none of it.
func cellOf(typ string, value any, now time.Time) any {
	switch typ {
	case "integer":
		switch v := value.(type) {
		case int64:
			return v
		case float64:
			return int64(v)
		case json.Number:
			if n, err := v.Int64(); err == nil {
				return n
			}
		}
	case "number":
		switch v := value.(type) {
		case int64:
			return float64(v)
		case float64:
			return v
		case json.Number:
			if n, err := v.Float64(); err == nil {
				return n
			}
		}
	case "boolean":
		if v, ok := value.(bool); ok {
			return v
		}
	case "date":
		if v, ok := value.(string); ok {
			return age(v, now)
		}
	}
	return nil
}

func age(text string, now time.Time) string {
	var t metav1.Time
	if t.UnmarshalQueryParameter(text) != nil {
		return "<invalid>"
	}
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

// selectableFields returns what reads the fields that selectors may name. It is not nil, as other names are refused
// in the words for kinds that have some.
func selectableFields(defined []apiextensionsv1.SelectableField) map[string]func(client.Object) string {
	out := map[string]func(client.Object) string{}
	for _, f := range defined {
		out[strings.TrimPrefix(f.JSONPath, ".")] = func(obj client.Object) string {
			p, err := parsePath(f.JSONPath)
			if err != nil {
				return ""
			}
			found, err := p.FindResults(obj.(*unstructured.Unstructured).Object)
			if err != nil || len(found) != 1 || len(found[0]) != 1 {
				return ""
			}
			if v := found[0][0].Interface(); v != nil {
				return fmt.Sprint(v)
			}
			return ""
		}
	}
	return out
}
