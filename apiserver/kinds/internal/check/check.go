// Package check gathers field errors in the API's words: its functions add to a List what is wrong
// with one value, and nothing when it is right.
package check

import (
	"slices"
	"strings"

	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/internal/plain"
)

// List is a list of field errors under construction.
type List field.ErrorList

// Errors returns the list as validation functions return it.
func (l List) Errors() field.ErrorList { return field.ErrorList(l) }

// Add appends errors, leaving out nil ones.
func (l *List) Add(errs ...*field.Error) {
	for _, err := range errs {
		if err != nil {
			*l = append(*l, err)
		}
	}
}

// Required says that a value is missing.
func (l *List) Required(path *field.Path, detail string) { l.Add(field.Required(path, detail)) }

// Invalid says what is wrong with a value.
func (l *List) Invalid(path *field.Path, value any, detail string) {
	l.Add(field.Invalid(path, value, detail))
}

// Forbidden says that a value may not be there.
func (l *List) Forbidden(path *field.Path, detail string) { l.Add(field.Forbidden(path, detail)) }

// Messages adds an Invalid error for each message.
func (l *List) Messages(path *field.Path, value any, messages []string) {
	for _, m := range messages {
		l.Invalid(path, value, m)
	}
}

// Enum asks for one of some values. An empty value is a missing one.
func Enum[T ~string](l *List, path *field.Path, v T, values ...T) {
	if v == "" {
		l.Required(path, "")
		return
	}
	Supported(l, path, v, values...)
}

// Supported asks for one of some values; an empty value is as wrong as any other.
func Supported[T ~string](l *List, path *field.Path, v T, values ...T) {
	if !slices.Contains(values, v) {
		l.Add(field.NotSupported(path, v, values))
	}
}

// Label asks for a DNS label.
func (l *List) Label(path *field.Path, v string) {
	if !plain.Label(v) {
		l.Messages(path, v, validation.IsDNS1123Label(v))
	}
}

// Subdomain asks for a DNS subdomain.
func (l *List) Subdomain(path *field.Path, v string) {
	if !plain.Subdomain(v) {
		l.Messages(path, v, validation.IsDNS1123Subdomain(v))
	}
}

// QualifiedName asks for a name with an optional prefix, as in example.com/name.
func (l *List) QualifiedName(path *field.Path, v string) {
	if !plain.LabelKey(v) {
		l.Messages(path, v, validation.IsQualifiedName(v))
	}
}

// LabelValue asks for a value that a label may have.
func (l *List) LabelValue(path *field.Path, v string) {
	if !plain.LabelValue(v) {
		l.Messages(path, v, validation.IsValidLabelValue(v))
	}
}

// NonNegative asks for a number that is not below zero.
func (l *List) NonNegative(path *field.Path, v int64) {
	if v < 0 {
		l.Invalid(path, v, "must be greater than or equal to 0")
	}
}

// NonNegativePointer is NonNegative for a number that may be missing.
func (l *List) NonNegativePointer(path *field.Path, v *int32) {
	if v != nil {
		l.NonNegative(path, int64(*v))
	}
}

// Positive asks for a number above zero.
func (l *List) Positive(path *field.Path, v int64) {
	if v <= 0 {
		l.Invalid(path, v, "must be greater than zero")
	}
}

// Port asks for a port number.
func (l *List) Port(path *field.Path, v int32) {
	l.Messages(path, v, validation.IsValidPortNum(int(v)))
}

// PortOrName asks for a port by number or by name.
func (l *List) PortOrName(path *field.Path, v intstr.IntOrString) {
	if v.Type == intstr.String {
		l.Messages(path, v.StrVal, validation.IsValidPortName(v.StrVal))
		return
	}
	l.Messages(path, v.IntValue(), validation.IsValidPortNum(v.IntValue()))
}

// ConfigKey asks for a name that a file can have, such as the keys of a ConfigMap.
func (l *List) ConfigKey(path *field.Path, v string) {
	l.Messages(path, v, validation.IsConfigMapKey(v))
}

// UserID asks for a user id, if there is one.
func (l *List) UserID(path *field.Path, v *int64) {
	if v != nil {
		l.Messages(path, *v, validation.IsValidUserID(*v))
	}
}

// GroupID asks for a group id, if there is one.
func (l *List) GroupID(path *field.Path, v *int64) {
	if v != nil {
		l.Messages(path, *v, validation.IsValidGroupID(*v))
	}
}

// IP asks for an IP address; one that is among old is right.
func (l *List) IP(path *field.Path, v string, old ...string) {
	l.Add(validation.IsValidIPForLegacyField(path, v, false, old)...)
}

// CIDR asks for an address range; one that is among old is right.
func (l *List) CIDR(path *field.Path, v string, old ...string) {
	l.Add(validation.IsValidCIDRForLegacyField(path, v, false, old)...)
}

// LabelName asks for a name that a label may have.
func (l *List) LabelName(path *field.Path, v string) {
	if !plain.LabelKey(v) {
		l.Add(metavalidation.ValidateLabelName(v, path)...)
	}
}

// CSIDriver asks for the name of a CSI driver: a DNS subdomain of at most 63 letters, whose case
// does not matter.
func (l *List) CSIDriver(path *field.Path, v string) {
	if v == "" {
		l.Required(path, "")
		return
	}
	if len(v) > validation.DNS1123LabelMaxLength {
		l.Add(field.TooLong(path, "", validation.DNS1123LabelMaxLength))
	}
	l.Messages(path, v, validation.IsDNS1123Subdomain(strings.ToLower(v)))
}
