package core

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// ServiceAccount returns the row of ServiceAccount.
func ServiceAccount() apiserver.Kind {
	k := newKind("ServiceAccount", "serviceaccounts", "serviceaccount", "sa")
	k.ReturnDeleted = true
	k.Object, k.List = &corev1.ServiceAccount{}, &corev1.ServiceAccountList{}
	k.Prepare = row.Pair(func(o, _ *corev1.ServiceAccount) {
		for i, s := range o.Secrets { // only names mean anything
			o.Secrets[i] = corev1.ObjectReference{Name: s.Name}
		}
	})
	k.Warnings = row.Warn(serviceAccountWarnings)
	k.Columns = row.Columns("Name", "Age")
	k.Row = row.Cells(func(o *corev1.ServiceAccount, now time.Time) []any {
		return []any{o.Name, row.Age(o.CreationTimestamp, now)}
	})
	return k
}
