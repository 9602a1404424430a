package policy

import (
	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/dynamic-resource-allocation/cel"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// CheckSelectors returns rows that also check the CEL expressions by which DeviceClasses, ResourceClaims and
// ResourceClaimTemplates select devices, when they are new: that they compile, and what they may cost at most. The rows
// of apiserver/kinds/resource don't, so that they bring no CEL along. Other rows stay as they are.
func CheckSelectors(rows []apiserver.Kind) []apiserver.Kind {
	out := make([]apiserver.Kind, len(rows))
	for i, k := range rows {
		if k.Group == resourcev1.GroupName && selects(k.Object) {
			validate := k.Validate
			k.Validate = func(obj, old client.Object) field.ErrorList {
				return append(validate(obj, old), selectorErrors(obj, old)...)
			}
		}
		out[i] = k
	}
	return out
}

func selects(sample client.Object) bool {
	switch sample.(type) {
	case *resourcev1.DeviceClass, *resourcev1.ResourceClaim, *resourcev1.ResourceClaimTemplate:
		return true
	}
	return false
}

func selectorErrors(obj, old client.Object) field.ErrorList {
	switch o := obj.(type) {
	case *resourcev1.DeviceClass:
		if was, ok := old.(*resourcev1.DeviceClass); ok && apiequality.Semantic.DeepEqual(o.Spec.Selectors, was.Spec.Selectors) {
			return nil
		}
		return checkSelectors(o.Spec.Selectors, specPath.Child("selectors"))
	case *resourcev1.ResourceClaim:
		if old == nil { // It can't be changed.
			return checkRequests(o.Spec.Devices.Requests, specPath.Child("devices", "requests"))
		}
	case *resourcev1.ResourceClaimTemplate:
		if old == nil {
			return checkRequests(o.Spec.Spec.Devices.Requests, specPath.Child("spec", "devices", "requests"))
		}
	}
	return nil
}

func checkRequests(list []resourcev1.DeviceRequest, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, r := range list {
		switch {
		case len(r.FirstAvailable) > 0 && r.Exactly != nil:
		case r.Exactly != nil:
			errs = append(errs, checkSelectors(r.Exactly.Selectors, path.Index(i).Child("exactly", "selectors"))...)
		default:
			for j, sub := range r.FirstAvailable {
				errs = append(errs, checkSelectors(sub.Selectors, path.Index(i).Child("firstAvailable").Index(j).Child("selectors"))...)
			}
		}
	}
	return errs
}

func checkSelectors(list []resourcev1.DeviceSelector, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, s := range list {
		// What is empty or too long the row tells.
		if s.CEL == nil || s.CEL.Expression == "" || len(s.CEL.Expression) > resourcev1.CELSelectorExpressionMaxLength {
			continue
		}
		errs = append(errs, checkSelector(s.CEL.Expression, path.Index(i).Child("cel", "expression"))...)
	}
	return errs
}

func checkSelector(expression string, path *field.Path) field.ErrorList {
	isNew := environment.NewExpressions
	// These are the features that Kubernetes has on by default.
	result := cel.GetCompiler(cel.Features{EnableConsumableCapacity: true}).CompileCELExpression(expression, cel.Options{EnvType: &isNew})
	switch {
	case result.Error == nil && result.MaxCost > resourcev1.CELSelectorExpressionMaxCost:
		return field.ErrorList{field.Forbidden(path, "too complex, exceeds cost limit")}
	case result.Error == nil:
		return nil
	case result.Error.Type == apiservercel.ErrorTypeInvalid:
		return field.ErrorList{field.Invalid(path, expression, result.Error.Detail)}
	}
	return field.ErrorList{field.InternalError(path, result.Error)}
}
