package podspec

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

func (c *checker) podSecurityContext(path *field.Path) {
	s := c.spec.SecurityContext
	if s == nil || s.Size() == 0 { // nothing is in it, as in what pods get by default
		return
	}
	c.GroupID(path.Child("fsGroup"), s.FSGroup)
	c.UserID(path.Child("runAsUser"), s.RunAsUser)
	c.GroupID(path.Child("runAsGroup"), s.RunAsGroup)
	for i := range s.SupplementalGroups {
		c.GroupID(path.Child("supplementalGroups").Index(i), &s.SupplementalGroups[i])
	}
	c.sysctls(s.Sysctls, path.Child("sysctls"))
	if p := s.FSGroupChangePolicy; p != nil {
		check.Supported(&c.List, path.Child("fsGroupChangePolicy"), *p, corev1.FSGroupChangeAlways, corev1.FSGroupChangeOnRootMismatch)
	}
	c.seccomp(s.SeccompProfile, path.Child("seccompProfile"))
	c.appArmor(s.AppArmorProfile, path.Child("appArmorProfile"))
	if p := s.SupplementalGroupsPolicy; p != nil {
		check.Supported(&c.List, path.Child("supplementalGroupsPolicy"), *p, corev1.SupplementalGroupsPolicyMerge, corev1.SupplementalGroupsPolicyStrict)
	}
	if p := s.SELinuxChangePolicy; p != nil {
		check.Supported(&c.List, path.Child("seLinuxChangePolicy"), *p, corev1.SELinuxChangePolicyMountOption, corev1.SELinuxChangePolicyRecursive)
	}
}

const (
	sysctlMaxLength = 253
	sysctlSegment   = `[a-z0-9]([-_a-z0-9]*[a-z0-9])?`
)

var sysctlPattern = check.Pattern(`^(` + sysctlSegment + `[\./])*` + sysctlSegment + `$`)

func (c *checker) sysctls(list []corev1.Sysctl, path *field.Path) {
	seen := map[string]bool{}
	for i, s := range list {
		p := path.Index(i).Child("name")
		switch {
		case s.Name == "":
			c.Required(p, "")
		case len(s.Name) > sysctlMaxLength || !sysctlPattern().MatchString(s.Name):
			c.Invalid(p, s.Name, fmt.Sprintf("must have at most %d characters and match regex %s", sysctlMaxLength, sysctlPattern()))
		case seen[s.Name]:
			c.Add(field.Duplicate(p, s.Name))
		}
		seen[s.Name] = true
		switch name := strings.ReplaceAll(s.Name, "/", "."); {
		case c.spec.HostNetwork && strings.HasPrefix(name, "net."):
			c.Invalid(p, s.Name, "may not be specified when 'hostNetwork' is true")
		case c.spec.HostIPC && isIPCSysctl(name):
			c.Invalid(p, s.Name, "may not be specified when 'hostIPC' is true")
		}
	}
}

func isIPCSysctl(name string) bool {
	return name == "kernel.sem" || strings.HasPrefix(name, "kernel.shm") || strings.HasPrefix(name, "kernel.msg") || strings.HasPrefix(name, "fs.mqueue.")
}

func (c *checker) securityContext(s *corev1.SecurityContext, path *field.Path) {
	if s == nil {
		return
	}
	c.UserID(path.Child("runAsUser"), s.RunAsUser)
	c.GroupID(path.Child("runAsGroup"), s.RunAsGroup)
	if p := s.ProcMount; p != nil {
		check.Supported(&c.List, path.Child("procMount"), *p, corev1.DefaultProcMount, corev1.UnmaskedProcMount)
		hostUsers := c.spec.HostUsers == nil || *c.spec.HostUsers
		if hostUsers && *p == corev1.UnmaskedProcMount {
			c.Invalid(path.Child("procMount"), *p, "`hostUsers` must be false to use `Unmasked`")
		}
	}
	c.seccomp(s.SeccompProfile, path.Child("seccompProfile"))
	if s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation {
		if s.Privileged != nil && *s.Privileged {
			c.Invalid(path, s, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
		}
		if s.Capabilities != nil && slices.Contains(s.Capabilities.Add, "CAP_SYS_ADMIN") {
			c.Invalid(path, s, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN")
		}
	}
	c.appArmor(s.AppArmorProfile, path.Child("appArmorProfile"))
}

func (c *checker) seccomp(p *corev1.SeccompProfile, path *field.Path) {
	if p == nil {
		return
	}
	if p.Type == "" {
		c.Required(path.Child("type"), "type is required when seccompProfile is set")
	} else {
		check.Supported(&c.List, path.Child("type"), p.Type,
			corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)
	}
	switch local := p.LocalhostProfile; {
	case p.Type == corev1.SeccompProfileTypeLocalhost && local == nil:
		c.Required(path.Child("localhostProfile"), "must be set when seccomp type is Localhost")
	case p.Type == corev1.SeccompProfileTypeLocalhost:
		c.relativePath(*local, path.Child("localhostProfile"))
	case local != nil:
		c.Invalid(path.Child("localhostProfile"), p, "can only be set when seccomp type is Localhost")
	}
}

func (c *checker) appArmor(p *corev1.AppArmorProfile, path *field.Path) {
	if p == nil {
		return
	}
	const needed = "must be set when AppArmor type is Localhost"
	local := path.Child("localhostProfile")
	switch p.Type {
	case corev1.AppArmorProfileTypeLocalhost:
		switch v := p.LocalhostProfile; {
		case v == nil:
			c.Required(local, needed)
		case strings.TrimSpace(*v) != *v:
			c.Invalid(local, *v, "must not be padded with whitespace")
		case *v == "":
			c.Required(local, needed)
		}
		if v := p.LocalhostProfile; v != nil && len(*v) > 4095 {
			c.Add(field.TooLong(local, "", 4095))
		}
	case corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined:
		if p.LocalhostProfile != nil {
			c.Invalid(local, p.LocalhostProfile, "can only be set when AppArmor type is Localhost")
		}
	case "":
		c.Required(path.Child("type"), "type is required when appArmorProfile is set")
	default:
		check.Supported(&c.List, path.Child("type"), p.Type,
			corev1.AppArmorProfileTypeLocalhost, corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined)
	}
}
