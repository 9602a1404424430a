package check

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// IntOrPercent asks for a number that is not below zero, or a percentage.
func (l *List) IntOrPercent(path *field.Path, v intstr.IntOrString) {
	if v.Type == intstr.String {
		l.Messages(path, v, validation.IsValidPercent(v.StrVal))
		return
	}
	l.NonNegative(path, int64(v.IntValue()))
}

// AtMost100Percent refuses a percentage above 100.
func (l *List) AtMost100Percent(path *field.Path, v intstr.IntOrString) {
	if n, ok := percentOf(v); ok && n > 100 {
		l.Invalid(path, v, "must not be greater than 100%")
	}
}

// Number returns the value whatever its unit: zero is zero.
func Number(v intstr.IntOrString) int {
	if n, ok := percentOf(v); ok {
		return n
	}
	return v.IntValue()
}

func percentOf(v intstr.IntOrString) (int, bool) {
	if v.Type != intstr.String || len(validation.IsValidPercent(v.StrVal)) > 0 {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(v.StrVal, "%"))
	return n, err == nil
}
