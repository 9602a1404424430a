package check

import (
	"context"

	"k8s.io/apimachinery/pkg/api/operation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// format is a rule of the kind that Kubernetes declares beside its Go types, in package validate.
type format[T ~string] func(context.Context, operation.Operation, *field.Path, *T, *T) field.ErrorList

// Declared asks for a format that is declared beside the API's Go types. An empty value is a missing one.
func Declared[T ~string](l *List, path *field.Path, v T, f format[T]) {
	if v == "" {
		l.Required(path, "")
		return
	}
	Formatted(l, path, v, f)
}

// Formatted is Declared for a value that is there.
func Formatted[T ~string](l *List, path *field.Path, v T, f format[T]) {
	l.Add(f(context.Background(), operation.Operation{}, path, &v, nil)...)
}

// Each asks for at most most elements, and looks at each. A list that is
// too long is not looked at any further.
func Each[T any](l *List, path *field.Path, list []T, most int, one func(*T, *field.Path)) bool {
	if len(list) > most {
		l.Add(field.TooMany(path, len(list), most))
		return false
	}
	for i := range list {
		one(&list[i], path.Index(i))
	}
	return true
}

// Unique is Each for a list whose elements differ in their keys.
func Unique[T any, K comparable](l *List, path *field.Path, list []T, most int, key func(*T) K, one func(*T, *field.Path)) {
	if !Each(l, path, list, most, one) {
		return
	}
	seen := map[K]bool{}
	for i := range list {
		if k := key(&list[i]); seen[k] {
			l.Add(field.Duplicate(path.Index(i), k))
		} else {
			seen[k] = true
		}
	}
}
