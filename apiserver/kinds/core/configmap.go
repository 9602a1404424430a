package core

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// ConfigMap returns the row of ConfigMap.
func ConfigMap() apiserver.Kind {
	k := newKind("ConfigMap", "configmaps", "configmap", "cm")
	k.Object, k.List = &corev1.ConfigMap{}, &corev1.ConfigMapList{}
	k.Validate = row.Check(validateConfigMap)
	k.Columns = row.Columns("Name", "Data", "Age")
	k.Row = row.Cells(func(o *corev1.ConfigMap, now time.Time) []any {
		return []any{o.Name, int64(len(o.Data) + len(o.BinaryData)), row.Age(o.CreationTimestamp, now)}
	})
	return k
}
