package resource

import (
	"slices"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
)

// defaultTaint notes when a taint began, by the server's clock, as in Kubernetes.
func defaultTaint(t *resourcev1.DeviceTaint) {
	fill.Nil(&t.TimeAdded, metav1.Time{Time: time.Now().Truncate(time.Second)})
}

func defaultClaim(s *resourcev1.ResourceClaimSpec) {
	for i := range s.Devices.Requests {
		r := &s.Devices.Requests[i]
		if r.Exactly != nil {
			defaultMode(&r.Exactly.AllocationMode, &r.Exactly.Count)
			defaultTolerations(r.Exactly.Tolerations)
		}
		for j := range r.FirstAvailable {
			defaultMode(&r.FirstAvailable[j].AllocationMode, &r.FirstAvailable[j].Count)
			defaultTolerations(r.FirstAvailable[j].Tolerations)
		}
	}
}

func defaultMode(mode *resourcev1.DeviceAllocationMode, count *int64) {
	fill.Empty(mode, resourcev1.DeviceAllocationModeExactCount)
	if *mode == resourcev1.DeviceAllocationModeExactCount {
		fill.Empty(count, 1)
	}
}

func defaultTolerations(list []resourcev1.DeviceToleration) {
	for i := range list {
		fill.Empty(&list[i].Operator, resourcev1.DeviceTolerationOpEqual)
	}
}

// prepareTaintRule lets a taint that has another effect begin anew, unless the client says when it began.
func prepareTaintRule(o, old *resourcev1.DeviceTaintRule) {
	if old == nil {
		return
	}
	now, was := &o.Spec.Taint, &old.Spec.Taint
	if now.Effect != was.Effect && now.TimeAdded.Equal(was.TimeAdded) {
		now.TimeAdded = &metav1.Time{Time: time.Now().Truncate(time.Second)}
	}
}

// dropDerived drops what Kubernetes has behind a gate that is off by default.
func dropDerived(s *resourcev1.ResourceClaimSpec) {
	for i := range s.Devices.Requests {
		r := &s.Devices.Requests[i]
		if r.Exactly != nil {
			r.Exactly.DerivedAttributes = nil
		}
		for j := range r.FirstAvailable {
			r.FirstAvailable[j].DerivedAttributes = nil
		}
	}
}

// prepareSlice drops what Kubernetes has behind gates that are off by default.
func prepareSlice(o, _ *resourcev1.ResourceSlice) {
	o.Spec.PartitionTypeAttribute, o.Spec.SkipNodeOperations = nil, nil
	for i := range o.Spec.Devices {
		d := &o.Spec.Devices[i]
		d.NodeAllocatableResources = nil
		for j := range d.ConsumesCounters {
			d.ConsumesCounters[j].CompatibilityGroups = nil
		}
		for name, a := range d.Attributes {
			a.BoolValues, a.IntValues, a.StringValues, a.VersionValues = nil, nil, nil, nil
			d.Attributes[name] = a
		}
	}
}

// deviceID names an allocated device, or a share of one.
type deviceID struct{ driver, pool, device, share string }

func idOf(driver, pool, device string, share *types.UID) deviceID {
	id := deviceID{driver: driver, pool: pool, device: device}
	if share != nil {
		id.share = string(*share)
	}
	return id
}

func statusID(d *resourcev1.AllocatedDeviceStatus) deviceID {
	return idOf(d.Driver, d.Pool, d.Device, (*types.UID)(d.ShareID))
}

// allocated returns the devices that a claim has.
func allocated(s *resourcev1.ResourceClaimStatus) map[deviceID]bool {
	out := map[deviceID]bool{}
	if s.Allocation != nil {
		for _, r := range s.Allocation.Devices.Results {
			out[idOf(r.Driver, r.Pool, r.Device, r.ShareID)] = true
		}
	}
	return out
}

// prepareClaimStatus forgets what was said about devices that the claim has no more.
func prepareClaimStatus(o, old *resourcev1.ResourceClaim) {
	o.Labels, o.Annotations = old.Labels, old.Annotations
	if a := o.Status.Allocation; a != nil {
		for i := range a.Devices.Results {
			a.Devices.Results[i].SkipNodeOperations = nil
		}
	}
	was, has := allocated(&old.Status), allocated(&o.Status)
	o.Status.Devices = slices.DeleteFunc(o.Status.Devices, func(d resourcev1.AllocatedDeviceStatus) bool {
		return was[statusID(&d)] && !has[statusID(&d)]
	})
	if len(o.Status.Devices) == 0 {
		o.Status.Devices = nil
	}
}
