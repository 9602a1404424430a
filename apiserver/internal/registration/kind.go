package registration

import (
	"fmt"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// Kind is what kinds differ in.
type Kind struct {
	Name, Resource string
	Object         client.Object
	List           runtime.Object
	Default        func(obj client.Object)
	Validate       func(obj, old client.Object) field.ErrorList
	// Warnings are those besides the one for reserved names; nil has none.
	Warnings func(obj, old client.Object) []string
	// Columns are those of the table between name and age, Cells what an object has in them.
	Columns []metav1.TableColumnDefinition
	Cells   func(obj client.Object) []any
}

// Row returns the row of a kind of admissionregistration.k8s.io/v1.
func (k Kind) Row() apiserver.Kind {
	columns := []metav1.TableColumnDefinition{{Name: "Name", Type: "string", Format: "name", Description: "Name of the object, unique among those of its kind."}}
	columns = append(columns, k.Columns...)
	columns = append(columns, metav1.TableColumnDefinition{Name: "Age", Type: "string", Description: "Time since the object was created."})
	return apiserver.Kind{
		GroupVersionKind: admissionregistrationv1.SchemeGroupVersion.WithKind(k.Name),
		Resource:         k.Resource, Singular: strings.ToLower(k.Name), Categories: []string{"api-extensions"},
		Object: k.Object, List: k.List, Generation: true, ConditionalUpdate: true,
		Default: k.Default,
		Validate: func(obj, old client.Object) field.ErrorList {
			errs := k.Validate(obj, old)
			if name := obj.GetName(); old == nil && strings.HasSuffix(name, reservedSuffix) {
				errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), name, reservedText))
			}
			return errs
		},
		Warnings: func(obj, old client.Object) []string {
			var out []string
			if old != nil && strings.HasSuffix(obj.GetName(), reservedSuffix) {
				out = append(out, "metadata.name: "+reservedText)
			}
			if k.Warnings != nil {
				out = append(out, k.Warnings(obj, old)...)
			}
			return out
		},
		Columns: columns,
		Row: func(obj client.Object, now time.Time) []any {
			age := "<unknown>"
			if t := obj.GetCreationTimestamp(); !t.IsZero() {
				age = duration.HumanDuration(now.Sub(t.Time))
			}
			return append(append([]any{obj.GetName()}, k.Cells(obj)...), age)
		},
	}
}

// reservedSuffix ends the names of what a kube-apiserver reads from files.
const reservedSuffix = ".static.k8s.io"

var reservedText = fmt.Sprintf("names ending with %q are reserved for static manifest-based configurations and cannot be managed via the API", reservedSuffix)

// Fill sets what a client left out.
func Fill[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}
