package storage

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

const (
	maxParameters      = 512
	maxParameterBytes  = 256 << 10
	maxAttachmentBytes = 256 << 10
	maxErrorMessage    = 1024
	maxNodeID          = 256
)

// provisioner asks for the name of what makes volumes; upper case letters are allowed in it.
func provisioner(l *check.List, path *field.Path, name string) {
	if name == "" {
		l.Required(path, "")
		return
	}
	lower := strings.ToLower(name)
	l.QualifiedName(path, lower)
}

func parameters(l *check.List, path *field.Path, m map[string]string) {
	if len(m) > maxParameters {
		l.Add(field.TooLong(path, "", maxParameters))
		return
	}
	size := 0
	for k, v := range m {
		size += len(k) + len(v)
	}
	if _, empty := m[""]; empty {
		l.Invalid(path, "", "field can not be empty.")
	}
	if size > maxParameterBytes {
		l.Add(field.TooLong(path, "", maxParameterBytes))
	}
}
