package kubelet

import (
	"fmt"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// sandboxConfig derives a pod's sandbox.
func sandboxConfig(pod *corev1.Pod, attempt uint32, logDir string, dns DNSConfig) SandboxConfig {
	cfg := SandboxConfig{
		Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID), Attempt: attempt,
		Hostname: hostnameOf(pod), LogDir: logDir,
		HostNetwork: pod.Spec.HostNetwork, HostPID: pod.Spec.HostPID, HostIPC: pod.Spec.HostIPC,
		DNS: dns, QOSClass: strings.ToLower(string(qosClass(pod))), Resources: podResources(pod),
	}
	if sc := pod.Spec.SecurityContext; sc != nil {
		for _, s := range sc.Sysctls {
			if cfg.Sysctls == nil {
				cfg.Sysctls = map[string]string{}
			}
			cfg.Sysctls[s.Name] = s.Value
		}
	}
	if pod.Spec.HostNetwork {
		return cfg // its ports are the node's own already
	}
	for _, c := range eachContainer(pod) {
		for _, p := range c.Ports {
			if p.HostPort == 0 {
				continue
			}
			proto := string(p.Protocol)
			if proto == "" {
				proto = string(corev1.ProtocolTCP)
			}
			cfg.HostPorts = append(cfg.HostPorts, PortMapping{Protocol: proto, HostIP: p.HostIP,
				HostPort: uint16(p.HostPort), ContainerPort: uint16(p.ContainerPort)})
		}
	}
	return cfg
}

// hostnameOf returns the pod's host name: spec.hostname or the pod's name, cut to 63 characters.
func hostnameOf(pod *corev1.Pod) string {
	if o := pod.Spec.HostnameOverride; o != nil && *o != "" {
		return *o
	}
	h := pod.Spec.Hostname
	if h == "" {
		h = pod.Name
	}
	if len(h) > 63 {
		h = strings.TrimRight(h[:63], "-.")
	}
	return h
}

// fqdnOf returns the pod's fully qualified name, when it has a subdomain.
func fqdnOf(pod *corev1.Pod, domain string) string {
	if pod.Spec.Subdomain == "" {
		return ""
	}
	return fmt.Sprintf("%s.%s.%s.svc.%s", hostnameOf(pod), pod.Spec.Subdomain, pod.Namespace, domain)
}

// podLogDir is where the logs of a pod's containers are, as the kubelet lays them out.
func podLogDir(base string, pod *corev1.Pod) string {
	return filepath.Join(base, fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, pod.UID))
}

// containerLogPath is the log file of one run of a container.
func containerLogPath(podLogs, container string, attempt uint32) string {
	return filepath.Join(podLogs, container, fmt.Sprintf("%d.log", attempt))
}

// securityOf merges the pod's and the container's security context.
func securityOf(pod *corev1.Pod, c *corev1.Container) SecurityContext {
	var out SecurityContext
	if p := pod.Spec.SecurityContext; p != nil {
		out.RunAsUser, out.RunAsGroup = p.RunAsUser, p.RunAsGroup
		out.RunAsNonRoot = p.RunAsNonRoot != nil && *p.RunAsNonRoot
		out.SupplementalGroups = append(out.SupplementalGroups, p.SupplementalGroups...)
		if p.FSGroup != nil {
			out.SupplementalGroups = append(out.SupplementalGroups, *p.FSGroup)
		}
		out.Seccomp = seccompOf(p.SeccompProfile)
	}
	s := c.SecurityContext
	if s == nil {
		return out
	}
	if s.RunAsUser != nil {
		out.RunAsUser = s.RunAsUser
	}
	if s.RunAsGroup != nil {
		out.RunAsGroup = s.RunAsGroup
	}
	if s.RunAsNonRoot != nil {
		out.RunAsNonRoot = *s.RunAsNonRoot
	}
	out.Privileged = s.Privileged != nil && *s.Privileged
	out.ReadOnlyRootFS = s.ReadOnlyRootFilesystem != nil && *s.ReadOnlyRootFilesystem
	out.NoNewPrivileges = s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation
	out.UnmaskedProc = s.ProcMount != nil && *s.ProcMount == corev1.UnmaskedProcMount
	if s.SeccompProfile != nil {
		out.Seccomp = seccompOf(s.SeccompProfile)
	}
	if s.Capabilities != nil {
		for _, x := range s.Capabilities.Add {
			out.CapAdd = append(out.CapAdd, string(x))
		}
		for _, x := range s.Capabilities.Drop {
			out.CapDrop = append(out.CapDrop, string(x))
		}
	}
	return out
}

func seccompOf(p *corev1.SeccompProfile) string {
	switch {
	case p == nil:
		return ""
	case p.Type == corev1.SeccompProfileTypeLocalhost && p.LocalhostProfile != nil:
		return *p.LocalhostProfile
	default:
		return string(p.Type)
	}
}

// nonRoot checks runAsNonRoot against the image's user, in the kubelet's words.
func nonRoot(pod *corev1.Pod, c *corev1.Container, sec SecurityContext, img Image) error {
	if !sec.RunAsNonRoot {
		return nil
	}
	if sec.RunAsUser != nil {
		if *sec.RunAsUser == 0 {
			return fmt.Errorf("container's runAsUser breaks non-root policy (pod: %q, container: %s)",
				pod.Name+"_"+pod.Namespace+"("+string(pod.UID)+")", c.Name)
		}
		return nil
	}
	user, _, _ := strings.Cut(img.User, ":")
	who := fmt.Sprintf("(pod: \"%s_%s(%s)\", container: %s)", pod.Name, pod.Namespace, pod.UID, c.Name)
	switch {
	case user == "" || user == "0" || user == "root":
		return fmt.Errorf("container has runAsNonRoot and image will run as root %s", who)
	case strings.Trim(user, "0123456789") != "":
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", user, who)
	}
	return nil
}
