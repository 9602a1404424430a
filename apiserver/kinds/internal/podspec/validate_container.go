package podspec

import (
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

func (c *checker) containers(path *field.Path) {
	if len(c.spec.Containers) == 0 {
		c.Required(path, "")
		return
	}
	names := map[string]bool{}
	for i := range c.spec.Containers {
		ctr, p := &c.spec.Containers[i], path.Index(i)
		c.container(ctr, p)
		if names[ctr.Name] {
			c.Add(field.Duplicate(p.Child("name"), ctr.Name))
		}
		names[ctr.Name] = true
		c.lifecycle(ctr, p)
		c.probes(ctr, p)
		c.restartRules(ctr, true, p)
	}
	c.uniqueHostPorts(c.spec.Containers, path)
}

func isSidecar(ctr *corev1.Container) bool {
	return ctr.RestartPolicy != nil && *ctr.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

func (c *checker) initContainers(path *field.Path) {
	names := map[string]bool{}
	for i := range c.spec.Containers {
		names[c.spec.Containers[i].Name] = true
	}
	for i := range c.spec.InitContainers {
		ctr, p := &c.spec.InitContainers[i], path.Index(i)
		c.container(ctr, p)
		c.restartRules(ctr, false, p)
		if names[ctr.Name] {
			c.Add(field.Duplicate(p.Child("name"), ctr.Name))
		} else if ctr.Name != "" {
			names[ctr.Name] = true
		}
		c.uniqueHostPorts(c.spec.InitContainers[i:i+1], path)
		if isSidecar(ctr) {
			c.lifecycle(ctr, p)
			c.probes(ctr, p)
			continue
		}
		c.onlySidecars(ctr, p)
	}
}

// onlySidecars refuses what makes sense only for containers that run beside the ordinary ones.
func (c *checker) onlySidecars(ctr *corev1.Container, path *field.Path) {
	const detail = "may not be set for init containers without restartPolicy=Always"
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"lifecycle", ctr.Lifecycle != nil},
		{"livenessProbe", ctr.LivenessProbe != nil},
		{"readinessProbe", ctr.ReadinessProbe != nil},
		{"startupProbe", ctr.StartupProbe != nil},
	} {
		if f.set {
			c.Forbidden(path.Child(f.name), detail)
		}
	}
	for j, r := range ctr.ResizePolicy {
		if r.RestartPolicy == corev1.RestartContainer {
			c.Invalid(path.Child("resizePolicy").Index(j).Child("restartPolicy"), r.RestartPolicy,
				"must not be set to 'RestartContainer' for non-sidecar initContainers")
		}
	}
}

// notForEphemeral are the fields that ephemeral containers have in Go but not in fact.
var notForEphemeral = []string{
	"Ports", "Resources", "LivenessProbe", "ReadinessProbe", "StartupProbe", "Lifecycle", "RestartPolicy",
	"ResizePolicy", "RestartPolicyRules",
}

func (c *checker) ephemeralContainers(path *field.Path) {
	others, names := map[string]bool{}, map[string]bool{}
	for _, cs := range [][]corev1.Container{c.spec.Containers, c.spec.InitContainers} {
		for i := range cs {
			others[cs[i].Name], names[cs[i].Name] = true, true
		}
	}
	for i := range c.spec.EphemeralContainers {
		e, p := &c.spec.EphemeralContainers[i], path.Index(i)
		ctr := (*corev1.Container)(&e.EphemeralContainerCommon)
		c.container(ctr, p)
		c.trimmedImage(ctr, p)
		if names[e.Name] {
			c.Add(field.Duplicate(p.Child("name"), e.Name))
		}
		names[e.Name] = true
		if e.TargetContainerName != "" && !others[e.TargetContainerName] {
			c.Add(field.NotFound(p.Child("targetContainerName"), e.TargetContainerName))
		}
		c.ephemeralFields(e, p)
	}
}

func (c *checker) ephemeralFields(e *corev1.EphemeralContainer, path *field.Path) {
	const detail = "cannot be set for an Ephemeral Container"
	v := reflect.ValueOf(&e.EphemeralContainerCommon).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if slices.Contains(notForEphemeral, name) && !v.Field(i).IsZero() {
			c.Forbidden(path.Child(strings.ToLower(name[:1])+name[1:]), detail)
		}
	}
	for i, m := range e.VolumeMounts {
		if m.SubPath != "" {
			c.Forbidden(path.Child("volumeMounts").Index(i).Child("subPath"), detail)
		}
		if m.SubPathExpr != "" {
			c.Forbidden(path.Child("volumeMounts").Index(i).Child("subPathExpr"), detail)
		}
	}
}

// container checks what all containers have.
func (c *checker) container(ctr *corev1.Container, path *field.Path) {
	if ctr.Name == "" {
		c.Required(path.Child("name"), "")
	} else {
		c.Label(path.Child("name"), ctr.Name)
	}
	if ctr.Image == "" {
		c.Required(path.Child("image"), "")
	}
	check.Enum(&c.List, path.Child("terminationMessagePolicy"), ctr.TerminationMessagePolicy,
		corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)
	c.ports(ctr.Ports, path.Child("ports"))
	c.env(ctr.Env, path.Child("env"))
	if len(ctr.EnvFrom) > 0 {
		c.envFrom(ctr.EnvFrom, path.Child("envFrom"))
	}
	if len(ctr.VolumeMounts) > 0 {
		c.mounts(ctr, path.Child("volumeMounts"))
	}
	if len(ctr.VolumeDevices) > 0 {
		c.devices(ctr, path.Child("volumeDevices"))
	}
	c.pullPolicy(ctr.ImagePullPolicy, path.Child("imagePullPolicy"))
	c.containerResources(&ctr.Resources, path.Child("resources"))
	if len(ctr.ResizePolicy) > 0 {
		c.resizePolicy(ctr.ResizePolicy, path.Child("resizePolicy"))
	}
	if ctr.SecurityContext != nil {
		c.securityContext(ctr.SecurityContext, path.Child("securityContext"))
	}
}

func (c *checker) pullPolicy(p corev1.PullPolicy, path *field.Path) {
	check.Enum(&c.List, path, p, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
}

func (c *checker) ports(ports []corev1.ContainerPort, path *field.Path) {
	names := map[string]bool{}
	for i, p := range ports {
		path := path.Index(i)
		if messages := validation.IsValidPortName(p.Name); p.Name != "" && len(messages) > 0 {
			c.Messages(path.Child("name"), p.Name, messages)
		} else if p.Name != "" && names[p.Name] {
			c.Add(field.Duplicate(path.Child("name"), p.Name))
		}
		names[p.Name] = true
		if p.ContainerPort == 0 {
			c.Required(path.Child("containerPort"), "")
		} else {
			c.Port(path.Child("containerPort"), p.ContainerPort)
		}
		if p.HostPort != 0 {
			c.Port(path.Child("hostPort"), p.HostPort)
		}
		check.Enum(&c.List, path.Child("protocol"), p.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)
	}
}

func (c *checker) uniqueHostPorts(cs []corev1.Container, path *field.Path) {
	taken := map[string]bool{}
	for i := range cs {
		for j := range cs[i].Ports {
			p := &cs[i].Ports[j]
			if p.HostPort == 0 {
				continue
			}
			key := hostPortKey(p)
			if taken[key] {
				c.Add(field.Duplicate(path.Index(i).Child("ports").Index(j).Child("hostPort"), key))
			}
			taken[key] = true
		}
	}
}
