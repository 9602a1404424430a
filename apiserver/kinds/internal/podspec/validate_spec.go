package podspec

import (
	"fmt"
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// podSpec checks in the order in which Kubernetes does, as messages list errors in that order.
func (c *checker) podSpec(path *field.Path) {
	s, at := c.spec, pathsIn(path)
	if s.TerminationGracePeriodSeconds == nil {
		c.Required(at.terminationGrace, "")
	}
	c.checkVolumes(at.volumes)
	c.resourceClaims(at.resourceClaims)
	c.containers(at.containers)
	c.initContainers(at.initContainers)
	c.ephemeralContainers(at.ephemeralContainers)
	c.podResources(at.resources)
	c.hostNetworkPorts(at.containers)
	check.Enum(&c.List, at.restartPolicy, s.RestartPolicy,
		corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)
	check.Enum(&c.List, at.dnsPolicy, s.DNSPolicy,
		corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)
	c.Add(metavalidation.ValidateLabels(s.NodeSelector, at.nodeSelector)...)
	c.podSecurityContext(at.securityContext)
	if s.ShareProcessNamespace != nil && *s.ShareProcessNamespace && s.HostPID {
		c.Invalid(path.Child("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled")
	}
	c.affinity(s.Affinity, at.affinity)
	c.dnsConfig(at.dnsConfig)
	for i, g := range s.ReadinessGates {
		c.QualifiedName(path.Child("readinessGates").Index(i).Child("conditionType"), string(g.ConditionType))
	}
	c.schedulingGates(at.schedulingGates)
	c.topologySpread(s.TopologySpreadConstraints, at.topologySpread)
	c.userNamespace(path)
	c.hostnameOverride(at.hostnameOverride)
	c.names(path)
	c.tolerations(s.Tolerations, at.tolerations)
	c.hostAliases(at.hostAliases)
	c.classes(path)
	c.os(path)
	c.fileKeyRefs(path)
	c.schedulingGroup(at.schedulingGroup)
}

func (c *checker) schedulingGroup(path *field.Path) {
	g := c.spec.SchedulingGroup
	switch {
	case g == nil:
	case g.PodGroupName == nil:
		c.Invalid(path.Child("podGroupName"), g.PodGroupName, "must specify one of: `podGroupName`")
	default:
		c.Subdomain(path.Child("podGroupName"), *g.PodGroupName)
	}
}

func (c *checker) hostNetworkPorts(path *field.Path) {
	if !c.spec.HostNetwork {
		return
	}
	for i, ctr := range c.spec.Containers {
		for j, p := range ctr.Ports {
			if (c.meta != nil || p.HostPort != 0) && p.HostPort != p.ContainerPort {
				c.Invalid(path.Index(i).Child("ports").Index(j).Child("hostPort"), p.HostPort,
					"must match `containerPort` when `hostNetwork` is true")
			}
		}
	}
}

func (c *checker) dnsConfig(path *field.Path) {
	d := c.spec.DNSConfig
	if c.spec.DNSPolicy == corev1.DNSNone {
		if d == nil {
			c.Required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
			return
		}
		if len(d.Nameservers) == 0 {
			c.Required(path.Child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None")
			return
		}
	}
	if d == nil {
		return
	}
	if len(d.Nameservers) > 3 {
		c.Invalid(path.Child("nameservers"), d.Nameservers, "must not have more than 3 nameservers")
	}
	for i, ns := range d.Nameservers {
		c.IP(path.Child("nameservers").Index(i), ns)
	}
	if len(d.Searches) > 32 {
		c.Invalid(path.Child("searches"), d.Searches, "must not have more than 32 search paths")
	}
	if len(strings.Join(d.Searches, " ")) > 2048 {
		c.Invalid(path.Child("searches"), d.Searches, "must not have more than 2048 characters (including spaces) in the search list")
	}
	for i, s := range d.Searches {
		if s != "." {
			s = strings.TrimSuffix(s, ".")
			c.Messages(path.Child("searches").Index(i), s, validation.IsDNS1123SubdomainWithUnderscore(s))
		}
	}
	for i, o := range d.Options {
		if o.Name == "" {
			c.Required(path.Child("options").Index(i), "must not be empty")
		}
	}
}

func (c *checker) schedulingGates(path *field.Path) {
	seen := map[string]bool{}
	for i, g := range c.spec.SchedulingGates {
		c.QualifiedName(path.Index(i), g.Name)
		if seen[g.Name] {
			c.Add(field.Duplicate(path.Index(i), g.Name))
		}
		seen[g.Name] = true
	}
}

func (c *checker) userNamespace(path *field.Path) {
	s := c.spec
	if s.HostUsers == nil || *s.HostUsers {
		return
	}
	const detail = "when `hostUsers` is false"
	if s.HostNetwork {
		c.Forbidden(path.Child("hostNetwork"), detail)
	}
	if s.HostPID {
		c.Forbidden(path.Child("HostPID"), detail)
	}
	if s.HostIPC {
		c.Forbidden(path.Child("HostIPC"), detail)
	}
	c.eachContainer(path, func(ctr *corev1.Container, path *field.Path) {
		if len(ctr.VolumeDevices) > 0 {
			c.Forbidden(path.Child("volumeDevices"), detail)
		}
	})
}

func (c *checker) hostnameOverride(path *field.Path) {
	s := c.spec
	if s.HostnameOverride == nil {
		return
	}
	if s.SetHostnameAsFQDN != nil && *s.SetHostnameAsFQDN {
		c.Forbidden(path, "may not be specified when setHostnameAsFQDN is true")
	}
	if s.HostNetwork {
		c.Forbidden(path, "may not be specified when hostNetwork is true")
	}
	if len(*s.HostnameOverride) > 64 {
		c.Add(field.TooLong(path, "", 64))
	}
	c.Subdomain(path, *s.HostnameOverride)
}

func (c *checker) names(path *field.Path) {
	s := c.spec
	if s.ServiceAccountName != "" {
		c.Messages(path.Child("serviceAccountName"), s.ServiceAccountName, apivalidation.ValidateServiceAccountName(s.ServiceAccountName, false))
	}
	if s.DeprecatedServiceAccount != s.ServiceAccountName {
		c.Invalid(path.Child("deprecatedServiceAccount"), s.DeprecatedServiceAccount,
			fmt.Sprintf("must be the same as serviceAccountName: %q", s.ServiceAccountName))
	}
	if s.NodeName != "" {
		c.Subdomain(path.Child("nodeName"), s.NodeName)
	}
	if d := s.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > math.MaxInt32) {
		c.Invalid(path.Child("activeDeadlineSeconds"), *d, validation.InclusiveRangeError(1, math.MaxInt32))
	}
	if s.Hostname != "" {
		c.Label(path.Child("hostname"), s.Hostname)
	}
	if s.Subdomain != "" {
		c.Label(path.Child("subdomain"), s.Subdomain)
	}
}

func (c *checker) hostAliases(path *field.Path) {
	for i, a := range c.spec.HostAliases {
		c.IP(path.Index(i).Child("ip"), a.IP)
		for j, h := range a.Hostnames {
			c.Subdomain(path.Index(i).Child("hostnames").Index(j), h)
		}
	}
}

func (c *checker) classes(path *field.Path) {
	s := c.spec
	if s.PriorityClassName != "" {
		c.Subdomain(path.Child("priorityClassName"), s.PriorityClassName)
	}
	if s.RuntimeClassName != nil {
		c.Subdomain(path.Child("runtimeClassName"), *s.RuntimeClassName)
	}
	if s.PreemptionPolicy != nil {
		check.Enum(&c.List, path.Child("preemptionPolicy"), *s.PreemptionPolicy, corev1.PreemptLowerPriority, corev1.PreemptNever)
	}
	if s.Overhead != nil {
		c.requirements(&corev1.ResourceRequirements{Limits: s.Overhead}, path.Child("overhead"), c.ContainerResourceName)
	}
}

// eachContainer calls f for each container with its path: init, ordinary, ephemeral.
func (c *checker) eachContainer(path *field.Path, f func(*corev1.Container, *field.Path)) {
	for i := range c.spec.InitContainers {
		f(&c.spec.InitContainers[i], path.Child("initContainers").Index(i))
	}
	for i := range c.spec.Containers {
		f(&c.spec.Containers[i], path.Child("containers").Index(i))
	}
	for i := range c.spec.EphemeralContainers {
		e := (*corev1.Container)(&c.spec.EphemeralContainers[i].EphemeralContainerCommon)
		f(e, path.Child("ephemeralContainers").Index(i))
	}
}
