package check

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Quantity asks for an amount that the named resource can have.
func (l *List) Quantity(path *field.Path, name corev1.ResourceName, q resource.Quantity) {
	if q.Sign() < 0 {
		l.Invalid(path, q.String(), "must be greater than or equal to 0")
	}
	if isWhole(name) && q.MilliValue()%1000 != 0 {
		l.Invalid(path, q, "must be an integer")
	}
}

// ResourceName asks for the name of a resource: one of the API's own or one with a prefix. It tells
// whether the name is right.
func (l *List) ResourceName(path *field.Path, name corev1.ResourceName) bool {
	if messages := validation.IsQualifiedName(string(name)); len(messages) > 0 {
		l.Messages(path, name, messages)
		return false
	}
	if !strings.Contains(string(name), "/") && !isStandard(name) {
		l.Invalid(path, name, "must be a standard resource type or fully qualified")
		return false
	}
	return true
}

// ContainerResourceName asks for the name of a resource that containers can have.
func (l *List) ContainerResourceName(path *field.Path, name corev1.ResourceName) {
	l.ResourceName(path, name)
	switch {
	case !strings.Contains(string(name), "/"):
		if !forContainers[name] && !IsHugePages(name) {
			l.Invalid(path, name, "must be a standard resource for containers")
		}
	case !IsNative(name) && !isExtended(name):
		l.Invalid(path, name, "doesn't follow extended resource name standard")
	}
}

var forContainers = map[corev1.ResourceName]bool{
	corev1.ResourceCPU: true, corev1.ResourceMemory: true, corev1.ResourceEphemeralStorage: true,
}

var standard = map[corev1.ResourceName]bool{
	corev1.ResourceCPU: true, corev1.ResourceMemory: true, corev1.ResourceEphemeralStorage: true,
	corev1.ResourceRequestsCPU: true, corev1.ResourceRequestsMemory: true, corev1.ResourceRequestsEphemeralStorage: true,
	corev1.ResourceLimitsCPU: true, corev1.ResourceLimitsMemory: true, corev1.ResourceLimitsEphemeralStorage: true,
	corev1.ResourceStorage: true, corev1.ResourceRequestsStorage: true,
}

// counted are resources that are numbers of objects.
var counted = map[corev1.ResourceName]bool{
	corev1.ResourcePods: true, corev1.ResourceQuotas: true, corev1.ResourceServices: true,
	corev1.ResourceReplicationControllers: true, corev1.ResourceSecrets: true, corev1.ResourceConfigMaps: true,
	corev1.ResourcePersistentVolumeClaims: true, corev1.ResourceServicesNodePorts: true,
	corev1.ResourceServicesLoadBalancers: true,
}

func isStandard(name corev1.ResourceName) bool {
	return standard[name] || counted[name] || IsHugePages(name) ||
		strings.HasPrefix(string(name), corev1.ResourceRequestsHugePagesPrefix)
}

func isWhole(name corev1.ResourceName) bool { return counted[name] || isExtended(name) }

// IsHugePages tells whether the resource is huge pages of some size.
func IsHugePages(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

// IsNative tells whether the resource is one of Kubernetes' own.
func IsNative(name corev1.ResourceName) bool {
	return !strings.Contains(string(name), "/") || strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

func isExtended(name corev1.ResourceName) bool {
	if IsNative(name) || strings.HasPrefix(string(name), corev1.DefaultResourceRequestsPrefix) {
		return false
	}
	return len(validation.IsQualifiedName(corev1.DefaultResourceRequestsPrefix+string(name))) == 0
}

// CanOvercommit tells whether a limit of the resource may be above its request.
func CanOvercommit(name corev1.ResourceName) bool { return IsNative(name) && !IsHugePages(name) }

// HugePagesFit tells whether q is made of whole huge pages of the resource's size.
func HugePagesFit(name corev1.ResourceName, q resource.Quantity) bool {
	size, err := resource.ParseQuantity(strings.TrimPrefix(string(name), corev1.ResourceHugePagesPrefix))
	if err != nil || size.Sign() <= 0 || size.MilliValue()%1000 != 0 || size.Value() == 0 {
		return false
	}
	return q.Value()%size.Value() == 0
}

// IsQuota tells whether the resource is one of Kubernetes' own that a quota can limit.
func IsQuota(name corev1.ResourceName) bool {
	return isStandard(name) && name != corev1.ResourceStorage
}
