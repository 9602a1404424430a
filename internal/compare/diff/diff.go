// Package diff has what the comparisons share: copies of JSON documents, and in what two texts differ.
package diff

import (
	"slices"
	"strings"
)

// Copy returns a copy of a JSON document; unlike apimachinery's, it takes numbers of any type.
func Copy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = Copy(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = Copy(v[i])
		}
		return out
	}
	return v
}

// Alone returns the lines of each text that the other has not.
func Alone(a, b string) (string, string) {
	left, right := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := 0; i < len(left); i++ {
		if j := slices.Index(right, left[i]); j >= 0 {
			left, right = slices.Delete(left, i, i+1), slices.Delete(right, j, j+1)
			i--
		}
	}
	return strings.Join(left, "\n"), strings.Join(right, "\n")
}

// Cut returns a text's first bytes, at most so many.
func Cut(s string, size int) string {
	if len(s) > size {
		return s[:size] + "..."
	}
	return s
}
