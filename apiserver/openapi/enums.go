package openapi

import (
	_ "embed"
	"reflect"
	"strings"
	"sync"
)

//go:generate go run ./internal/enums enums.txt

//go:embed enums.txt
var enumsText string

// enums are the possible values of strings of which only some are, by the names of their types.
var enums = sync.OnceValue(func() map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(enumsText) {
		name, values, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && name != "#" {
			out[name] = strings.Split(values, "|")
		}
	}
	return out
})

// enumOf returns the possible values of a type, nil for any.
func enumOf(t reflect.Type) []string {
	if t.Kind() != reflect.String || t.PkgPath() == "" {
		return nil
	}
	return enums()[modelName(t)]
}

// listed adds the possible values to a description, as kubectl explain shows it.
func listed(description string, values []string) string {
	if len(values) == 0 {
		return description
	}
	var b strings.Builder
	b.WriteString(description)
	b.WriteString("\n\nPossible enum values:")
	for _, v := range values {
		b.WriteString("\n - `\"" + v + "\"`")
	}
	return b.String()
}
