package podspec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// NameWarnings returns a warning about a name that becomes a host name and does not fit; use tells
// what it is used in.
func NameWarnings(name, use string) []string {
	messages := validation.IsDNS1123Label(name)
	if len(messages) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("metadata.name: this is used in %s, which can result in surprising behavior; a DNS label is recommended: %v", use, messages)}
}

// Warnings returns what is likely a mistake in the specification of new pods, at path.
func Warnings(s *corev1.PodSpec, path *field.Path) []string {
	var out []string
	c := &checker{spec: s}
	c.eachContainer(path, func(ctr *corev1.Container, path *field.Path) {
		out = append(out, fractions(ctr.Resources.Limits, path.Child("resources", "limits"))...)
		out = append(out, fractions(ctr.Resources.Requests, path.Child("resources", "requests"))...)
		out = append(out, hiddenVariables(ctr.Env, path.Child("env"))...)
	})
	return out
}

// fractions warns of parts of a byte, as in memory: 100m, which was to be 100M.
func fractions(list corev1.ResourceList, path *field.Path) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if name != corev1.ResourceMemory && name != corev1.ResourceEphemeralStorage {
			continue
		}
		if q := list[name]; q.MilliValue()%1000 != 0 {
			out = append(out, fmt.Sprintf("%s: fractional byte value %q is invalid, must be an integer", path.Key(string(name)), q.String()))
		}
	}
	return out
}

func hiddenVariables(vars []corev1.EnvVar, path *field.Path) []string {
	var out []string
	seen := map[string]bool{}
	for i, v := range vars {
		// A value made from the one before, as in PATH=$(PATH):/more, is meant.
		ref := "$(" + v.Name + ")"
		if seen[v.Name] && (v.Value == ref || !strings.Contains(v.Value, ref)) {
			out = append(out, fmt.Sprintf("%s: hides previous definition of %q, which may be dropped when using apply", path.Index(i), v.Name))
		}
		seen[v.Name] = true
	}
	return out
}
