package apiserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	helper "k8s.io/component-helpers/resource"

	"github.com/inboard/inboard/apiserver/client"
)

var limitRangesResource = corev1.SchemeGroupVersion.WithResource("limitranges")

// limitRanges returns the LimitRanges that a write has to keep to: new pods, resized pods, claims.
func limitRanges(r *AdmissionRequest) ([]*corev1.LimitRange, error) {
	switch r.Object.(type) {
	case *corev1.Pod:
		if (r.Operation != Create || r.Ref.Subresource != "") && (r.Operation != Update || r.Ref.Subresource != "resize") {
			return nil, nil
		}
	case *corev1.PersistentVolumeClaim:
		if r.Ref.Subresource != "" {
			return nil, nil
		}
	default:
		return nil, nil
	}
	if r.Old != nil && r.Old.GetDeletionTimestamp() != nil {
		return nil, nil
	}
	all, err := r.List(client.Ref{GroupVersionResource: limitRangesResource, Namespace: r.Ref.Namespace})
	if err != nil {
		return nil, err
	}
	out := make([]*corev1.LimitRange, 0, len(all))
	for _, obj := range all {
		if l, ok := obj.(*corev1.LimitRange); ok {
			out = append(out, l)
		}
	}
	return out, nil
}

// limitDefaults gives the containers of pods the requests and limits that the namespace's LimitRanges
// have for containers that name none.
func limitDefaults(_ context.Context, r *AdmissionRequest) error {
	pod, ok := r.Object.(*corev1.Pod)
	if !ok {
		return nil
	}
	ranges, err := limitRanges(r)
	if err != nil {
		return err
	}
	for _, l := range ranges {
		applyLimitDefaults(pod, l)
	}
	return nil
}

// limitedBy is the annotation that tells what LimitRanges set.
const limitedBy = "kubernetes.io/limit-ranger"

func applyLimitDefaults(pod *corev1.Pod, l *corev1.LimitRange) {
	requests, limits := corev1.ResourceList{}, corev1.ResourceList{}
	for _, item := range l.Spec.Limits {
		if item.Type == corev1.LimitTypeContainer {
			maps.Copy(requests, item.DefaultRequest)
			maps.Copy(limits, item.Default)
		}
	}
	var set []string
	tell := func(names []string, what, of string, c *corev1.Container) {
		if len(names) > 0 {
			slices.Sort(names)
			set = append(set, fmt.Sprintf("%s %s for %s %s", strings.Join(names, ", "), what, of, c.Name))
		}
	}
	for _, group := range []struct {
		of   string
		list []corev1.Container
	}{{"container", pod.Spec.Containers}, {"init container", pod.Spec.InitContainers}} {
		for i := range group.list {
			c := &group.list[i]
			tell(addMissing(&c.Resources.Requests, requests), "request", group.of, c)
			tell(addMissing(&c.Resources.Limits, limits), "limit", group.of, c)
		}
	}
	if len(set) > 0 {
		if pod.Annotations == nil {
			pod.Annotations = map[string]string{}
		}
		pod.Annotations[limitedBy] = "LimitRanger plugin set: " + strings.Join(set, "; ")
	}
}

// addMissing adds to list what only defaults has, and returns the names of that.
func addMissing(list *corev1.ResourceList, defaults corev1.ResourceList) []string {
	var added []string
	for name, q := range defaults {
		if _, ok := (*list)[name]; ok {
			continue
		}
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[name] = q.DeepCopy()
		added = append(added, string(name))
	}
	return added
}

// limitBounds refuses what is outside the bounds of the namespace's LimitRanges.
func limitBounds(_ context.Context, r *AdmissionRequest) error {
	ranges, err := limitRanges(r)
	if err != nil {
		return err
	}
	for _, l := range ranges {
		var errs []error
		switch obj := r.Object.(type) {
		case *corev1.Pod:
			errs = podBounds(obj, l)
		case *corev1.PersistentVolumeClaim:
			errs = claimBounds(obj, l)
		}
		if len(errs) > 0 {
			return errors.New(utilerrors.NewAggregate(errs).Error())
		}
	}
	return nil
}

func podBounds(pod *corev1.Pod, l *corev1.LimitRange) (errs []error) {
	for i := range l.Spec.Limits {
		item := &l.Spec.Limits[i]
		switch item.Type {
		case corev1.LimitTypeContainer:
			for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
				errs = append(errs, itemBounds(item, c.Resources.Requests, c.Resources.Limits)...)
			}
		case corev1.LimitTypePod:
			var opts helper.PodResourcesOptions
			spec := &corev1.Pod{Spec: *pod.Spec.DeepCopy()}
			spec.Spec.Overhead = nil // overhead does not count here
			errs = append(errs, itemBounds(item, helper.PodRequests(spec, opts), helper.PodLimits(spec, opts))...)
		}
	}
	return errs
}

func itemBounds(item *corev1.LimitRangeItem, requests, limits corev1.ResourceList) (errs []error) {
	kind := string(item.Type)
	each(item.Min, func(name corev1.ResourceName, bound apiresource.Quantity) {
		errs = append(errs, belowMin(kind, name, bound, requests, limits))
	})
	each(item.Max, func(name corev1.ResourceName, bound apiresource.Quantity) {
		errs = append(errs, aboveMax(kind, name, bound, requests, limits))
	})
	each(item.MaxLimitRequestRatio, func(name corev1.ResourceName, bound apiresource.Quantity) {
		errs = append(errs, aboveRatio(kind, name, bound, requests, limits))
	})
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// each calls f for the quantities of a list, ordered by name: Kubernetes has no order.
func each(list corev1.ResourceList, f func(corev1.ResourceName, apiresource.Quantity)) {
	for _, name := range slices.Sorted(maps.Keys(list)) {
		f(name, list[name])
	}
}

func claimBounds(claim *corev1.PersistentVolumeClaim, l *corev1.LimitRange) (errs []error) {
	for _, item := range l.Spec.Limits {
		if item.Type != corev1.LimitTypePersistentVolumeClaim {
			continue
		}
		requests := claim.Spec.Resources.Requests
		each(item.Min, func(name corev1.ResourceName, bound apiresource.Quantity) {
			errs = append(errs, belowMin(string(item.Type), name, bound, requests, nil))
		})
		each(item.Max, func(name corev1.ResourceName, bound apiresource.Quantity) {
			req, ok := requests[name]
			switch {
			case !ok:
				errs = append(errs, fmt.Errorf("maximum %s usage per %s is %s.  No request is specified", name, item.Type, bound.String()))
			case more(req, bound):
				errs = append(errs, fmt.Errorf("maximum %s usage per %s is %s, but request is %s", name, item.Type, bound.String(), req.String()))
			}
		})
	}
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// more tells whether a is more than b, as Kubernetes compares here: in thousandths where both fit.
func more(a, b apiresource.Quantity) bool {
	if a.Value() <= apiresource.MaxMilliValue && b.Value() <= apiresource.MaxMilliValue {
		return a.MilliValue() > b.MilliValue()
	}
	return a.Value() > b.Value()
}

func belowMin(kind string, name corev1.ResourceName, bound apiresource.Quantity, requests, limits corev1.ResourceList) error {
	req, hasReq := requests[name]
	lim, hasLim := limits[name]
	switch {
	case !hasReq:
		return fmt.Errorf("minimum %s usage per %s is %s.  No request is specified", name, kind, bound.String())
	case more(bound, req):
		return fmt.Errorf("minimum %s usage per %s is %s, but request is %s", name, kind, bound.String(), req.String())
	case hasLim && more(bound, lim):
		return fmt.Errorf("minimum %s usage per %s is %s, but limit is %s", name, kind, bound.String(), lim.String())
	}
	return nil
}

func aboveMax(kind string, name corev1.ResourceName, bound apiresource.Quantity, requests, limits corev1.ResourceList) error {
	req, hasReq := requests[name]
	lim, hasLim := limits[name]
	switch {
	case !hasLim:
		return fmt.Errorf("maximum %s usage per %s is %s.  No limit is specified", name, kind, bound.String())
	case more(lim, bound):
		return fmt.Errorf("maximum %s usage per %s is %s, but limit is %s", name, kind, bound.String(), lim.String())
	case hasReq && more(req, bound):
		return fmt.Errorf("maximum %s usage per %s is %s, but request is %s", name, kind, bound.String(), req.String())
	}
	return nil
}

func aboveRatio(kind string, name corev1.ResourceName, bound apiresource.Quantity, requests, limits corev1.ResourceList) error {
	req, lim := requests[name], limits[name]
	if req.IsZero() {
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but no request is specified or request is 0", name, kind, bound.String())
	}
	if lim.IsZero() {
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but no limit is specified or limit is 0", name, kind, bound.String())
	}
	if ratio := lim.AsApproximateFloat64() / req.AsApproximateFloat64(); ratio > bound.AsApproximateFloat64() {
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but provided ratio is %f", name, kind, bound.String(), ratio)
	}
	return nil
}
