package row

import (
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/inboard/inboard/apiserver/client"
)

// Columns makes column definitions from specifications "Name", "Name:type" and, for the columns
// that only -o wide shows, "Name:type:wide". The type is string when none is given. Name has the
// name format that kubectl aligns by, as in the API's own tables.
func Columns(specs ...string) []metav1.TableColumnDefinition {
	out := make([]metav1.TableColumnDefinition, len(specs))
	for i, spec := range specs {
		parts := strings.Split(spec, ":")
		c := metav1.TableColumnDefinition{Name: parts[0], Type: "string", Description: describe(parts[0])}
		if c.Name == "Name" {
			c.Format = "name"
		}
		if len(parts) > 1 && parts[1] != "" {
			c.Type = parts[1]
		}
		if len(parts) > 2 {
			c.Priority = 1
		}
		out[i] = c
	}
	return out
}

func describe(column string) string {
	switch column {
	case "Name":
		return "Name of the object, unique among those of its kind in its namespace."
	case "Age":
		return "Time since the object was created."
	}
	return column + " of the object."
}

// Age tells how long ago t was, as kubectl prints ages.
func Age(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

// MicroAge is Age for a MicroTime.
func MicroAge(t metav1.MicroTime, now time.Time) string { return Age(metav1.Time(t), now) }

// Or returns s, or none when s is empty.
func Or(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

// None returns s, or "<none>" when s is empty.
func None(s string) string { return Or(s, "<none>") }

// Labels prints a set of labels as kubectl does: "a=1,b=2", or "<none>".
func Labels(m map[string]string) string {
	if len(m) == 0 {
		return "<none>"
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k+"="+m[k])
	}
	sort.Strings(keys)
	return strings.Join(keys, ",")
}

// Selector prints a label selector as kubectl does.
func Selector(s *metav1.LabelSelector) string {
	sel, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return "<error>"
	}
	return SelectorText(sel)
}

// SelectorText prints a parsed selector; one that selects everything is "<none>".
func SelectorText(s labels.Selector) string { return None(s.String()) }

// Plain returns the columns and the row of kinds that have no table of their own: name and time of
// creation.
func Plain() ([]metav1.TableColumnDefinition, func(client.Object, time.Time) []any) {
	return Columns("Name", "Created At:date"), func(obj client.Object, _ time.Time) []any {
		return []any{obj.GetName(), obj.GetCreationTimestamp().UTC().Format(time.RFC3339)}
	}
}

// Containers returns the names and the images of containers as two cells.
func Containers(cs []corev1.Container) (names, images string) {
	n, i := make([]string, len(cs)), make([]string, len(cs))
	for x, c := range cs {
		n[x], i[x] = c.Name, c.Image
	}
	return strings.Join(n, ","), strings.Join(i, ",")
}
