package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateOverhead returns what is wrong with the resources that running a pod takes besides its own.
func ValidateOverhead(list corev1.ResourceList, path *field.Path) field.ErrorList {
	c := &checker{spec: &corev1.PodSpec{}}
	c.requirements(&corev1.ResourceRequirements{Limits: list}, path, c.ContainerResourceName)
	return c.Errors()
}

// ValidateTolerations returns what is wrong with tolerations outside of a pod.
func ValidateTolerations(list []corev1.Toleration, path *field.Path) field.ErrorList {
	c := &checker{}
	c.tolerations(list, path)
	return c.Errors()
}
