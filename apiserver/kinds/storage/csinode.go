package storage

import (
	"fmt"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/nodelabel"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// CSINode returns the row of CSINode. All that its status can hold, the health of storage, is off in
// Kubernetes by default and off here: what is sent of it is dropped.
func CSINode() apiserver.Kind {
	k := newKind("CSINode", "csinodes", "csinode")
	k.Object, k.List = &storagev1.CSINode{}, &storagev1.CSINodeList{}
	k.ConditionalUpdate = true
	k.Status = true
	k.StatusResets = []string{"metadata"}
	k.PrepareStatus = row.Pair(func(o, old *storagev1.CSINode) {
		o.Status.StorageHealth = nil
		o.Labels, o.Annotations = old.Labels, old.Annotations
	})
	k.Validate = row.Check(validateNode)
	k.Columns = row.Columns("Name", "Drivers:integer", "Age")
	k.Row = row.Cells(func(o *storagev1.CSINode, now time.Time) []any {
		return []any{o.Name, int64(len(o.Spec.Drivers)), row.Age(o.CreationTimestamp, now)}
	})
	return k
}

func validateNode(o, old *storagev1.CSINode) field.ErrorList {
	var l check.List
	path, seen := specPath.Child("drivers"), map[string]bool{}
	for i := range o.Spec.Drivers {
		d, p := &o.Spec.Drivers[i], path.Index(i)
		nodeDriver(&l, p, d)
		if seen[d.Name] {
			l.Add(field.Duplicate(p.Child("name"), d.Name))
		}
		seen[d.Name] = true
		topologyKeys(&l, p, d.TopologyKeys)
	}
	if old != nil {
		driversStay(&l, path, o.Spec.Drivers, old.Spec.Drivers)
	}
	return l.Errors()
}

func nodeDriver(l *check.List, path *field.Path, d *storagev1.CSINodeDriver) {
	l.CSIDriver(path.Child("name"), d.Name)
	switch {
	case d.NodeID == "":
		l.Required(path.Child("nodeID"), "")
	case len(d.NodeID) > maxNodeID:
		l.Invalid(path.Child("nodeID"), d.NodeID, fmt.Sprintf("must be %d characters or less", maxNodeID))
	}
	if d.Allocatable != nil {
		l.NonNegativePointer(path.Child("allocatable", "count"), d.Allocatable.Count)
	}
}

func topologyKeys(l *check.List, path *field.Path, keys []string) {
	seen := map[string]bool{}
	for _, k := range keys {
		if k == "" {
			l.Required(path, "")
		}
		if seen[k] {
			l.Add(field.Duplicate(path, k))
		}
		seen[k] = true
		l.QualifiedName(path, k)
	}
}

// driversStay refuses changes of a driver that was there, besides that of how many volumes it takes.
func driversStay(l *check.List, path *field.Path, now, before []storagev1.CSINodeDriver) {
	for _, was := range before {
		for _, is := range now {
			if is.Name == was.Name {
				is.Allocatable, was.Allocatable = nil, nil
				l.Add(apivalidation.ValidateImmutableField(is, was, path)...)
			}
		}
	}
}

// CSIStorageCapacity returns the row of CSIStorageCapacity.
func CSIStorageCapacity() apiserver.Kind {
	k := newKind("CSIStorageCapacity", "csistoragecapacities", "csistoragecapacity")
	k.Object, k.List = &storagev1.CSIStorageCapacity{}, &storagev1.CSIStorageCapacityList{}
	k.Namespaced = true
	k.ReturnDeleted = false
	k.ConditionalUpdate = true
	k.Validate = row.Check(validateCapacity)
	k.Columns, k.Row = row.Plain()
	k.Warnings = row.Warn(func(o, _ *storagev1.CSIStorageCapacity) []string {
		return nodelabel.Selector(o.NodeTopology, field.NewPath("nodeTopology"))
	})
	return k
}

func validateCapacity(o, old *storagev1.CSIStorageCapacity) field.ErrorList {
	var l check.List
	strict := metavalidation.LabelSelectorValidationOptions{}
	l.Add(metavalidation.ValidateLabelSelector(o.NodeTopology, metavalidation.LabelSelectorValidationOptions{
		AllowInvalidLabelValueInSelector: old != nil && len(metavalidation.ValidateLabelSelector(old.NodeTopology, strict, nil)) > 0,
	}, field.NewPath("nodeTopology"))...)
	l.Subdomain(field.NewPath("storageClassName"), o.StorageClassName)
	if o.Capacity != nil && o.Capacity.Sign() < 0 {
		l.Invalid(field.NewPath("capacity"), o.Capacity.String(), "must be greater than or equal to 0")
	}
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(o.NodeTopology, old.NodeTopology, field.NewPath("nodeTopology"))...)
		l.Add(apivalidation.ValidateImmutableField(o.StorageClassName, old.StorageClassName, field.NewPath("storageClassName"))...)
	}
	return l.Errors()
}
