package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// setField is a field of some operating system, and whether it is set.
type setField struct {
	name string
	set  bool
}

func (c *checker) forbidSet(path *field.Path, detail string, fields ...setField) {
	for _, f := range fields {
		if f.set {
			c.Forbidden(path.Child(f.name), detail)
		}
	}
}

// os refuses fields of another operating system than the pod's.
func (c *checker) os(path *field.Path) {
	os := c.spec.OS
	if os == nil {
		return
	}
	switch os.Name {
	case corev1.Linux:
		c.linux(path)
	case corev1.Windows:
		c.windows(path)
	case "":
		c.Required(path.Child("os", "name"), "")
	default:
		c.Add(field.NotSupported(path.Child("os"), os.Name, []corev1.OSName{corev1.Linux, corev1.Windows}))
	}
}

func (c *checker) linux(path *field.Path) {
	const detail = "windows options cannot be set for a linux pod"
	if s := c.spec.SecurityContext; s != nil {
		c.forbidSet(path.Child("securityContext"), detail, setField{"windowsOptions", s.WindowsOptions != nil})
	}
	c.eachContainer(path, func(ctr *corev1.Container, path *field.Path) {
		if s := ctr.SecurityContext; s != nil {
			c.forbidSet(path.Child("securityContext"), detail, setField{"windowsOptions", s.WindowsOptions != nil})
		}
	})
}

func (c *checker) windows(path *field.Path) {
	const detail = "cannot be set for a windows pod"
	spec := c.spec
	if s := spec.SecurityContext; s != nil {
		c.forbidSet(path.Child("securityContext"), detail,
			setField{"appArmorProfile", s.AppArmorProfile != nil}, setField{"seLinuxOptions", s.SELinuxOptions != nil},
			setField{"seccompProfile", s.SeccompProfile != nil}, setField{"fsGroup", s.FSGroup != nil},
			setField{"fsGroupChangePolicy", s.FSGroupChangePolicy != nil}, setField{"sysctls", len(s.Sysctls) > 0},
			setField{"runAsUser", s.RunAsUser != nil}, setField{"runAsGroup", s.RunAsGroup != nil},
			setField{"supplementalGroups", s.SupplementalGroups != nil},
			setField{"supplementalGroupsPolicy", s.SupplementalGroupsPolicy != nil},
			setField{"seLinuxChangePolicy", s.SELinuxChangePolicy != nil})
	}
	c.forbidSet(path, detail, setField{"hostUsers", spec.HostUsers != nil}, setField{"hostPID", spec.HostPID},
		setField{"hostIPC", spec.HostIPC}, setField{"shareProcessNamespace", spec.ShareProcessNamespace != nil})
	c.eachContainer(path, func(ctr *corev1.Container, path *field.Path) {
		s := ctr.SecurityContext
		if s == nil {
			return
		}
		c.forbidSet(path.Child("securityContext"), detail,
			setField{"appArmorProfile", s.AppArmorProfile != nil}, setField{"seLinuxOptions", s.SELinuxOptions != nil},
			setField{"seccompProfile", s.SeccompProfile != nil}, setField{"capabilities", s.Capabilities != nil},
			setField{"readOnlyRootFilesystem", s.ReadOnlyRootFilesystem != nil}, setField{"privileged", s.Privileged != nil},
			setField{"allowPrivilegeEscalation", s.AllowPrivilegeEscalation != nil}, setField{"procMount", s.ProcMount != nil},
			setField{"runAsUser", s.RunAsUser != nil}, setField{"runAsGroup", s.RunAsGroup != nil})
	})
}
