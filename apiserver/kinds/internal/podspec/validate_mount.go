package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

func (c *checker) mounts(ctr *corev1.Container, path *field.Path) {
	taken := map[string]bool{}
	for i := range ctr.VolumeMounts {
		m, p := &ctr.VolumeMounts[i], path.Index(i)
		c.needed(m.Name, p.Child("name"))
		if c.volumes[m.Name] == nil {
			c.Add(field.NotFound(p.Child("name"), m.Name))
		}
		c.needed(m.MountPath, p.Child("mountPath"))
		if taken[m.MountPath] {
			c.Invalid(p.Child("mountPath"), m.MountPath, "must be unique")
		}
		taken[m.MountPath] = true
		c.notADevice(ctr, m, p)
		// Kubernetes names the list here, not the element.
		if m.SubPath != "" {
			c.relativePath(m.SubPath, path.Child("subPath"))
		}
		if m.SubPathExpr != "" {
			if m.SubPath != "" {
				c.Invalid(p.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive")
			}
			c.relativePath(m.SubPathExpr, path.Child("subPathExpr"))
		}
		c.mountPropagation(ctr, m, path.Child("mountPropagation"))
		c.recursiveReadOnly(m, path.Child("recursiveReadOnly"))
	}
}

func (c *checker) notADevice(ctr *corev1.Container, m *corev1.VolumeMount, path *field.Path) {
	name, devicePath := false, false
	for _, d := range ctr.VolumeDevices {
		name = name || d.Name == m.Name
		devicePath = devicePath || d.DevicePath == m.MountPath
	}
	if name {
		c.Invalid(path.Child("name"), m.Name, "must not already exist in volumeDevices")
	}
	if devicePath {
		c.Invalid(path.Child("mountPath"), m.MountPath, "must not already exist as a path in volumeDevices")
	}
}

func (c *checker) mountPropagation(ctr *corev1.Container, m *corev1.VolumeMount, path *field.Path) {
	if m.MountPropagation == nil {
		return
	}
	check.Supported(&c.List, path, *m.MountPropagation,
		corev1.MountPropagationBidirectional, corev1.MountPropagationHostToContainer, corev1.MountPropagationNone)
	s := ctr.SecurityContext
	privileged := s != nil && s.Privileged != nil && *s.Privileged
	if *m.MountPropagation == corev1.MountPropagationBidirectional && !privileged {
		c.Forbidden(path, "Bidirectional mount propagation is available only to privileged containers")
	}
}

func (c *checker) recursiveReadOnly(m *corev1.VolumeMount, path *field.Path) {
	if m.RecursiveReadOnly == nil {
		return
	}
	switch *m.RecursiveReadOnly {
	case corev1.RecursiveReadOnlyDisabled:
	case corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible:
		if !m.ReadOnly {
			c.Forbidden(path, "may only be specified when readOnly is true")
		}
		if m.MountPropagation != nil && *m.MountPropagation != corev1.MountPropagationNone {
			c.Forbidden(path, "may only be specified when mountPropagation is None or not specified")
		}
	default:
		check.Supported(&c.List, path, *m.RecursiveReadOnly,
			corev1.RecursiveReadOnlyDisabled, corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible)
	}
}

func (c *checker) devices(ctr *corev1.Container, path *field.Path) {
	names, paths := map[string]bool{}, map[string]bool{}
	for i, d := range ctr.VolumeDevices {
		p, source := path.Index(i), c.volumes[d.Name]
		c.needed(d.Name, p.Child("name"))
		if names[d.Name] {
			c.Invalid(p.Child("name"), d.Name, "must be unique")
		}
		if source == nil {
			c.Add(field.NotFound(p.Child("name"), d.Name))
		} else if source.PersistentVolumeClaim == nil && source.Ephemeral == nil {
			c.Invalid(p.Child("name"), d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode")
		}
		c.needed(d.DevicePath, p.Child("devicePath"))
		if paths[d.DevicePath] {
			c.Invalid(p.Child("devicePath"), d.DevicePath, "must be unique")
		}
		if hasBackstep(d.DevicePath) {
			c.Invalid(p.Child("devicePath"), d.DevicePath, "can not contain backsteps ('..')")
		} else {
			paths[d.DevicePath] = true
		}
		for _, m := range ctr.VolumeMounts {
			if m.Name == d.Name {
				c.Invalid(p.Child("name"), d.Name, "must not already exist in volumeMounts")
			}
			if m.MountPath == d.DevicePath {
				c.Invalid(p.Child("devicePath"), d.DevicePath, "must not already exist as a path in volumeMounts")
			}
		}
		names[d.Name] = d.Name != ""
	}
}
