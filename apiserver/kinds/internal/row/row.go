// Package row adapts functions on one Go type to the columns of apiserver.Kind, which work on
// client.Object.
package row

import (
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/client"
)

// Of adapts a function of one object.
func Of[T client.Object](f func(T)) func(client.Object) {
	return func(obj client.Object) { f(obj.(T)) }
}

// Value adapts a function that reads one value from an object.
func Value[T client.Object, V any](f func(T) V) func(client.Object) V {
	return func(obj client.Object) V { return f(obj.(T)) }
}

// Pair adapts a function of a new and an old object; old is T's zero value when there is none.
func Pair[T client.Object](f func(obj, old T)) func(obj, old client.Object) {
	return func(obj, old client.Object) { f(obj.(T), as[T](old)) }
}

// Check adapts a validation function; old is T's zero value when there is none.
func Check[T client.Object](f func(obj, old T) field.ErrorList) func(obj, old client.Object) field.ErrorList {
	return func(obj, old client.Object) field.ErrorList { return f(obj.(T), as[T](old)) }
}

// Warn adapts a function that returns warnings; old is T's zero value when there is none.
func Warn[T client.Object](f func(obj, old T) []string) func(obj, old client.Object) []string {
	return func(obj, old client.Object) []string { return f(obj.(T), as[T](old)) }
}

// Cells adapts a function that makes a table row.
func Cells[T client.Object](f func(T, time.Time) []any) func(client.Object, time.Time) []any {
	return func(obj client.Object, now time.Time) []any { return f(obj.(T), now) }
}

// Fields adapts the functions behind field selectors.
func Fields[T client.Object](fs map[string]func(T) string) map[string]func(client.Object) string {
	out := make(map[string]func(client.Object) string, len(fs))
	for name, f := range fs {
		out[name] = Value(f)
	}
	return out
}

func as[T client.Object](obj client.Object) T {
	var zero T
	if obj == nil {
		return zero
	}
	return obj.(T)
}
