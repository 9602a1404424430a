package kubelet

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// parseResolvConf reads what a resolv.conf says; lines it does not know are left out.
func parseResolvConf(text string) DNSConfig {
	var d DNSConfig
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			d.Servers = append(d.Servers, f[1])
		case "search", "domain":
			d.Searches = slices.Clone(f[1:])
		case "options":
			d.Options = append(d.Options, f[1:]...)
		}
	}
	return d
}

// podDNS returns the content of a pod's resolv.conf after its dnsPolicy and dnsConfig.
func podDNS(pod *corev1.Pod, clusterDNS []string, domain string, host DNSConfig) DNSConfig {
	var d DNSConfig
	policy := pod.Spec.DNSPolicy
	switch {
	case policy == corev1.DNSNone:
	case policy == corev1.DNSDefault, len(clusterDNS) == 0,
		pod.Spec.HostNetwork && policy != corev1.DNSClusterFirstWithHostNet:
		d = DNSConfig{slices.Clone(host.Servers), slices.Clone(host.Searches), slices.Clone(host.Options)}
	default:
		d.Servers = slices.Clone(clusterDNS)
		d.Searches = append([]string{pod.Namespace + ".svc." + domain, "svc." + domain, domain}, host.Searches...)
		d.Options = []string{"ndots:5"}
	}
	if c := pod.Spec.DNSConfig; c != nil {
		d.Servers = union(d.Servers, c.Nameservers)
		d.Searches = union(d.Searches, c.Searches)
		d.Options = mergeOptions(d.Options, c.Options)
	}
	return d
}

func union(a, b []string) []string {
	for _, x := range b {
		if !slices.Contains(a, x) {
			a = append(a, x)
		}
	}
	return a
}

func mergeOptions(have []string, want []corev1.PodDNSConfigOption) []string {
	for _, o := range want {
		have = slices.DeleteFunc(have, func(h string) bool {
			name, _, _ := strings.Cut(h, ":")
			return name == o.Name
		})
		if o.Value != nil && *o.Value != "" {
			have = append(have, o.Name+":"+*o.Value)
		} else {
			have = append(have, o.Name)
		}
	}
	return have
}

// hostsFile returns the content of a pod's /etc/hosts.
func hostsFile(pod *corev1.Pod, ips []netip.Addr, domain string) string {
	var b strings.Builder
	b.WriteString("# Kubernetes-managed hosts file.\n" +
		"127.0.0.1\tlocalhost\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::0\tip6-localnet\n" +
		"fe00::0\tip6-mcastprefix\n" +
		"fe00::1\tip6-allnodes\n" +
		"fe00::2\tip6-allrouters\n")
	for _, ip := range ips {
		b.WriteString(ip.String())
		if fqdn := fqdnOf(pod, domain); fqdn != "" {
			b.WriteString("\t" + fqdn)
		}
		b.WriteString("\t" + hostnameOf(pod) + "\n")
	}
	writeAliases(&b, pod)
	return b.String()
}

// hostNetworkHosts returns /etc/hosts for a pod in the node's network: the node's own.
func hostNetworkHosts(pod *corev1.Pod) string {
	own, err := os.ReadFile("/etc/hosts")
	if err != nil {
		own = []byte("127.0.0.1\tlocalhost\n")
	}
	var b strings.Builder
	b.WriteString("# Kubernetes-managed hosts file (host network).\n")
	b.Write(own)
	writeAliases(&b, pod)
	return b.String()
}

func writeAliases(b *strings.Builder, pod *corev1.Pod) {
	if len(pod.Spec.HostAliases) == 0 {
		return
	}
	b.WriteString("\n# Entries added by HostAliases.\n")
	for _, a := range pod.Spec.HostAliases {
		fmt.Fprintf(b, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
	}
}
