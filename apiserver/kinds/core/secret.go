package core

import (
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Secret returns the row of Secret.
func Secret() apiserver.Kind {
	k := newKind("Secret", "secrets", "secret")
	k.Object, k.List = &corev1.Secret{}, &corev1.SecretList{}
	k.Default = row.Of(defaultSecret)
	k.Prepare = row.Pair(prepareSecret)
	k.Validate = row.Check(validateSecret)
	k.Warnings = row.Warn(secretWarnings)
	k.Fields = row.Fields(map[string]func(*corev1.Secret) string{
		"type": func(o *corev1.Secret) string { return string(o.Type) },
	})
	k.Columns = row.Columns("Name", "Type", "Data", "Age")
	k.Row = row.Cells(func(o *corev1.Secret, now time.Time) []any {
		return []any{o.Name, string(o.Type), int64(len(o.Data)), row.Age(o.CreationTimestamp, now)}
	})
	return k
}

func defaultSecret(o *corev1.Secret) {
	if o.Type == "" {
		o.Type = corev1.SecretTypeOpaque
	}
	// stringData is write-only: it is merged into data and never stored.
	if len(o.StringData) == 0 {
		o.StringData = nil
		return
	}
	data := make(map[string][]byte, len(o.Data)+len(o.StringData))
	maps.Copy(data, o.Data)
	for k, v := range o.StringData {
		data[k] = []byte(v)
	}
	o.Data, o.StringData = data, nil
}
