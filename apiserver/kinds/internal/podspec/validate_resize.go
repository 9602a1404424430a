package podspec

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateResize returns what is wrong with a change of what a pod that runs asks for.
func ValidateResize(p, old *corev1.Pod) field.ErrorList {
	nothing := field.NewPath("")
	if _, ok := old.Annotations[corev1.MirrorPodAnnotationKey]; ok {
		return field.ErrorList{field.Forbidden(nothing, "static pods cannot be resized")}
	}
	if old.Spec.OS != nil && old.Spec.OS.Name == corev1.Windows {
		return field.ErrorList{field.Forbidden(nothing, "windows pods cannot be resized")}
	}
	c := &checker{spec: &p.Spec, meta: &p.ObjectMeta}
	c.pod(p)
	was := old.Status.QOSClass
	if was == "" {
		was = QOS(&old.Spec)
	}
	if was != QOS(&p.Spec) {
		c.Invalid(specPath, p.Status.QOSClass, "Pod QOS Class may not change as a result of resizing")
	}
	if !reportsResources(old) {
		c.Forbidden(specPath, "Pod running on node without support for resize")
	}
	s := p.Spec.DeepCopy()
	if asksAsWhole(&old.Spec) || asksAsWhole(s) {
		c.resizeWhole(s, &old.Spec)
	}
	ordered := c.sameOrder(s.Containers, old.Spec.Containers, "containers")
	if !c.sameOrder(s.InitContainers, old.Spec.InitContainers, "initContainers") || !ordered {
		return c.Errors()
	}
	c.resizeContainers(s, &old.Spec)
	if !equality.Semantic.DeepEqual(s.Volumes, old.Spec.Volumes) {
		c.Forbidden(specPath.Child("volumes"), "volumes are immutable on resize when InPlacePodVerticalScalingMemoryBackedVolumes feature gate is disabled")
	}
	if len(c.List) == 0 && !equality.Semantic.DeepEqual(*s, old.Spec) {
		c.Forbidden(specPath, "only cpu and memory resources are mutable")
	}
	return c.Errors()
}

// reportsResources tells whether the pod's kubelet tells what its containers have: older ones can't resize.
func reportsResources(p *corev1.Pod) bool {
	for i := range p.Status.ContainerStatuses {
		if s := &p.Status.ContainerStatuses[i]; s.State.Running != nil {
			return s.Resources != nil
		}
	}
	return true
}

func asksAsWhole(s *corev1.PodSpec) bool {
	return s.Resources != nil && len(s.Resources.Requests)+len(s.Resources.Limits) > 0
}

// resizeWhole checks what the pod as a whole asks for, and puts back what may change.
func (c *checker) resizeWhole(s, old *corev1.PodSpec) {
	path := specPath.Child("resources")
	if old.Resources != nil && s.Resources == nil {
		c.Forbidden(path, "pod-level resources cannot be removed")
		return
	}
	before := corev1.ResourceRequirements{}
	if old.Resources != nil {
		before = *old.Resources
		if removed(s.Resources.Requests, before.Requests) {
			c.Forbidden(path.Child("requests"), "pod-level resource requests cannot be removed")
		}
		if removed(s.Resources.Limits, before.Limits) {
			c.Forbidden(path.Child("limits"), "pod-level resource limits cannot be removed")
		}
	}
	r := s.Resources
	r.Requests, r.Limits = putBack(r.Requests, before.Requests), putBack(r.Limits, before.Limits)
	if old.Resources == nil && len(r.Requests)+len(r.Limits)+len(r.Claims) == 0 {
		s.Resources = nil
	}
	if !equality.Semantic.DeepEqual(s.Resources, old.Resources) {
		c.Forbidden(specPath, "only cpu and memory resources are mutable at pod-level")
	}
}

func (c *checker) sameOrder(now, before []corev1.Container, name string) bool {
	path := specPath.Child(name)
	if len(now) != len(before) {
		c.Forbidden(path, name+" may not be added or removed on resize")
		return false
	}
	same := true
	for i := range now {
		if now[i].Name != before[i].Name {
			c.Forbidden(path.Index(i).Child("name"), name+" may not be renamed or reordered on resize")
			same = false
		}
	}
	return same
}

// resizeContainers checks what containers ask for, and puts back what may change.
func (c *checker) resizeContainers(s, old *corev1.PodSpec) {
	for _, l := range []struct {
		name        string
		now, before []corev1.Container
	}{{"initContainers", s.InitContainers, old.InitContainers}, {"containers", s.Containers, old.Containers}} {
		for i := range l.now {
			path := specPath.Child(l.name).Index(i).Child("resources")
			if removed(l.now[i].Resources.Requests, l.before[i].Resources.Requests) {
				c.Forbidden(path.Child("requests"), "resource requests cannot be removed")
			}
			if removed(l.now[i].Resources.Limits, l.before[i].Resources.Limits) {
				c.Forbidden(path.Child("limits"), "resource limits cannot be removed")
			}
		}
	}
	for i := range s.Containers {
		if !onlyResized(&s.Containers[i], &old.Containers[i]) {
			c.Forbidden(specPath, "only cpu and memory resources are mutable")
		}
	}
	for i := range s.InitContainers {
		now, path := &s.InitContainers[i], specPath.Child("initContainers").Index(i)
		changed := !equality.Semantic.DeepEqual(*now, old.InitContainers[i])
		if !onlyResized(now, &old.InitContainers[i]) {
			c.Forbidden(path, "only cpu and memory resources for init or sidecar containers are mutable")
		}
		if !changed || isSidecar(now) {
			continue
		}
		for _, p := range now.ResizePolicy {
			if p.RestartPolicy == corev1.RestartContainer {
				c.Forbidden(path, "non-sidecar init containers with a resize policy of RestartContainer cannot be resized")
			}
		}
	}
}

// onlyResized puts back the CPU and memory of a container, and tells whether that makes it what it was.
func onlyResized(now, before *corev1.Container) bool {
	now.Resources = corev1.ResourceRequirements{
		Limits:   putBack(now.Resources.Limits, before.Resources.Limits),
		Requests: putBack(now.Resources.Requests, before.Resources.Requests),
		Claims:   now.Resources.Claims,
	}
	return equality.Semantic.DeepEqual(*now, *before)
}

var resizable = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}

// putBack returns a list with the old amounts of what may be resized.
func putBack(list, old corev1.ResourceList) corev1.ResourceList {
	if list == nil && old == nil {
		return nil
	}
	out := corev1.ResourceList{}
	for name, q := range list {
		if !slices.Contains(resizable, name) {
			out[name] = q
		}
	}
	for _, name := range resizable {
		if q, ok := old[name]; ok {
			out[name] = q
		}
	}
	return out
}

// removed tells whether a list lacks something that the old one has.
func removed(list, old corev1.ResourceList) bool {
	for name := range old {
		if _, ok := list[name]; !ok {
			return true
		}
	}
	return false
}
