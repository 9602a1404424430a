package storage

import (
	"fmt"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/nodelabel"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// StorageClass returns the row of StorageClass.
func StorageClass() apiserver.Kind {
	k := newKind("StorageClass", "storageclasses", "storageclass", "sc")
	k.Object, k.List = &storagev1.StorageClass{}, &storagev1.StorageClassList{}
	k.Default = row.Of(func(o *storagev1.StorageClass) {
		fill.Nil(&o.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete)
		fill.Nil(&o.VolumeBindingMode, storagev1.VolumeBindingImmediate)
	})
	k.Validate = row.Check(validateStorageClass)
	k.Warnings = row.Warn(func(o, _ *storagev1.StorageClass) (out []string) {
		for i, topology := range o.AllowedTopologies {
			for j, e := range topology.MatchLabelExpressions {
				if text := nodelabel.Deprecated(e.Key); text != "" {
					path := field.NewPath("allowedTopologies").Index(i).Child("matchLabelExpressions").Index(j).Child("key")
					out = append(out, fmt.Sprintf("%s: %s", path, text))
				}
			}
		}
		return out
	})
	k.Columns = row.Columns("Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age")
	k.Row = row.Cells(func(o *storagev1.StorageClass, now time.Time) []any {
		return []any{o.Name, o.Provisioner, string(ptr.Deref(o.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete)),
			string(ptr.Deref(o.VolumeBindingMode, storagev1.VolumeBindingImmediate)), ptr.Deref(o.AllowVolumeExpansion, false),
			row.Age(o.CreationTimestamp, now)}
	})
	return k
}

func validateStorageClass(o, old *storagev1.StorageClass) field.ErrorList {
	var l check.List
	provisioner(&l, field.NewPath("provisioner"), o.Provisioner)
	parameters(&l, field.NewPath("parameters"), o.Parameters)
	if p := ptr.Deref(o.ReclaimPolicy, ""); p != "" {
		check.Supported(&l, field.NewPath("reclaimPolicy"), p, corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain)
	}
	if path := field.NewPath("volumeBindingMode"); o.VolumeBindingMode == nil {
		l.Required(path, "")
	} else {
		check.Supported(&l, path, *o.VolumeBindingMode, storagev1.VolumeBindingImmediate, storagev1.VolumeBindingWaitForFirstConsumer)
	}
	topologies(&l, field.NewPath("allowedTopologies"), o.AllowedTopologies)
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(o.Parameters, old.Parameters, field.NewPath("parameters"))...)
		l.Add(apivalidation.ValidateImmutableField(o.Provisioner, old.Provisioner, field.NewPath("provisioner"))...)
		l.Add(apivalidation.ValidateImmutableField(o.ReclaimPolicy, old.ReclaimPolicy, field.NewPath("reclaimPolicy"))...)
		l.Add(apivalidation.ValidateImmutableField(o.VolumeBindingMode, old.VolumeBindingMode, field.NewPath("volumeBindingMode"))...)
	}
	return l.Errors()
}

// topologies checks where volumes of a class may be; no two terms may say the same.
func topologies(l *check.List, path *field.Path, terms []corev1.TopologySelectorTerm) {
	var before []map[string]map[string]bool
	for i, t := range terms {
		term := topologyTerm(l, path.Index(i).Child("matchLabelExpressions"), t.MatchLabelExpressions)
		if len(term) == 0 {
			// As Kubernetes does, which compares with an empty term for each place in the list.
			for range terms {
				l.Add(field.Duplicate(path.Index(i).Child("matchLabelExpressions"), ""))
			}
		}
		for _, other := range before {
			if reflect.DeepEqual(term, other) {
				l.Add(field.Duplicate(path.Index(i).Child("matchLabelExpressions"), ""))
			}
		}
		before = append(before, term)
	}
}

// topologyTerm checks one term and returns its values by key.
func topologyTerm(l *check.List, path *field.Path, list []corev1.TopologySelectorLabelRequirement) map[string]map[string]bool {
	term := map[string]map[string]bool{}
	for i, r := range list {
		p := path.Index(i)
		values := map[string]bool{}
		if len(r.Values) == 0 {
			l.Required(p.Child("values"), "")
		}
		for j, v := range r.Values {
			if values[v] {
				l.Add(field.Duplicate(p.Child("values").Index(j), v))
			}
			values[v] = true
		}
		l.LabelName(p.Child("key"), r.Key)
		if _, twice := term[r.Key]; twice {
			l.Add(field.Duplicate(p.Child("key"), r.Key))
		}
		term[r.Key] = values
	}
	return term
}

// VolumeAttributesClass returns the row of VolumeAttributesClass.
func VolumeAttributesClass() apiserver.Kind {
	k := newKind("VolumeAttributesClass", "volumeattributesclasses", "volumeattributesclass", "vac")
	k.Object, k.List = &storagev1.VolumeAttributesClass{}, &storagev1.VolumeAttributesClassList{}
	k.Validate = row.Check(validateAttributesClass)
	k.Columns = row.Columns("Name", "DriverName", "Age")
	k.Row = row.Cells(func(o *storagev1.VolumeAttributesClass, now time.Time) []any {
		return []any{o.Name, o.DriverName, row.Age(o.CreationTimestamp, now)}
	})
	return k
}

func validateAttributesClass(o, old *storagev1.VolumeAttributesClass) field.ErrorList {
	var l check.List
	if old != nil {
		for _, f := range []struct {
			name     string
			now, was any
		}{{"driverName", o.DriverName, old.DriverName}, {"parameters", o.Parameters, old.Parameters}} {
			if !reflect.DeepEqual(f.now, f.was) {
				l.Forbidden(field.NewPath(f.name), fmt.Sprintf("updates to %s are forbidden.", f.name))
			}
		}
	}
	provisioner(&l, field.NewPath("driverName"), o.DriverName)
	parameters(&l, field.NewPath("parameters"), o.Parameters)
	if len(o.Parameters) == 0 {
		l.Required(field.NewPath("parameters"), "must contain at least one key/value pair")
	}
	return l.Errors()
}
