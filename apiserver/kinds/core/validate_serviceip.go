package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

const fixed = "may not change once set"

// clusterIPs checks that addresses, families and the policy for them fit together.
func (c *serviceChecker) clusterIPs() {
	s, path := c.s, specPath.Child("clusterIPs")
	if s.Type == corev1.ServiceTypeExternalName {
		return
	}
	switch n := len(s.ClusterIPs); {
	case s.ClusterIP == "" && n > 0:
		c.Invalid(path, s.ClusterIPs, "must be empty when `clusterIP` is not specified")
	case s.ClusterIP != "" && n == 0:
		c.Required(path, "")
	case s.ClusterIP != "" && s.ClusterIPs[0] != s.ClusterIP:
		c.Invalid(path, s.ClusterIPs, "first value must match `clusterIP`")
	}
	c.families()
	if !c.validIPs(path) {
		return
	}
	if len(s.ClusterIPs) > 1 {
		if dual, err := netutils.IsDualStackIPStrings(s.ClusterIPs); err != nil || !dual {
			c.Invalid(path, s.ClusterIPs, "may specify no more than one IP for each IP family")
		}
	}
	if isHeadless(s) {
		return
	}
	for i, ip := range s.ClusterIPs {
		if i < len(s.IPFamilies) && s.IPFamilies[i] == otherFamily(familyOf(ip)) {
			c.Invalid(path.Index(i), ip, fmt.Sprintf("expected an %s value as indicated by `ipFamilies[%v]`", s.IPFamilies[i], i))
		}
	}
}

func (c *serviceChecker) families() {
	seen := map[corev1.IPFamily]bool{}
	for i, f := range c.s.IPFamilies {
		path := specPath.Child("ipFamilies").Index(i)
		check.Supported(&c.List, path, f, corev1.IPv4Protocol, corev1.IPv6Protocol)
		if seen[f] {
			c.Add(field.Duplicate(path, f))
		}
		seen[f] = true
	}
	if p := c.s.IPFamilyPolicy; p != nil {
		check.Supported(&c.List, specPath.Child("ipFamilyPolicy"), *p,
			corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack)
	}
}

func (c *serviceChecker) validIPs(path *field.Path) bool {
	s, ok := c.s, true
	var old []string
	if c.was != nil {
		old = c.was.ClusterIPs
	}
	for i, ip := range s.ClusterIPs {
		if i == 0 && ip == corev1.ClusterIPNone {
			if len(s.ClusterIPs) > 1 {
				c.Invalid(path, s.ClusterIPs, "'None' must be the first and only value")
				ok = false
			}
			continue
		}
		before := len(c.List)
		c.IP(path.Index(i), ip, old...)
		ok = ok && len(c.List) == before
	}
	if len(s.ClusterIPs) > 2 {
		c.Invalid(path, s.ClusterIPs, "may only hold up to 2 values")
	}
	return ok
}

// sameClusterIPs lets a second address come and go, and keeps the first.
func (c *serviceChecker) sameClusterIPs() {
	now, before, path := c.s.ClusterIPs, c.was.ClusterIPs, specPath.Child("clusterIPs")
	if isHeadless(c.s) && isHeadless(c.was) {
		return
	}
	if len(now) == len(before) {
		for i := range before {
			if now[i] != before[i] {
				c.Invalid(path.Index(i), now, fixed)
			}
		}
		return
	}
	if len(now) < len(before) && len(now) == 0 {
		c.Invalid(path.Index(0), now, "primary clusterIP can not be unset")
	}
	if len(before) > 0 && len(now) > 0 && now[0] != before[0] {
		c.Invalid(path.Index(0), now, fixed)
	}
	if len(now) < len(before) && len(now) == 1 {
		c.asksForSingle("must be set to 'SingleStack' when releasing the secondary clusterIP")
	}
}

func (c *serviceChecker) sameFamilies() {
	now, before, path := c.s.IPFamilies, c.was.IPFamilies, specPath.Child("ipFamilies")
	if isHeadless(c.s) || isHeadless(c.was) || len(now) == 0 {
		return // a missing list is filled in with what was there
	}
	if len(now) == len(before) {
		for i := range before {
			if known := now[i] == corev1.IPv4Protocol || now[i] == corev1.IPv6Protocol; known && now[i] != before[i] {
				c.Invalid(path.Index(0), now, fixed)
			}
		}
		return
	}
	if len(before) > 0 && now[0] != before[0] {
		c.Invalid(path.Index(0), c.s.ClusterIPs, fixed)
	}
	if len(now) < len(before) && len(now) == 1 {
		c.asksForSingle("must be set to 'SingleStack' when releasing the secondary ipFamily")
	}
}

func (c *serviceChecker) asksForSingle(detail string) {
	if p := c.s.IPFamilyPolicy; p == nil || *p != corev1.IPFamilyPolicySingleStack {
		c.Invalid(specPath.Child("ipFamilyPolicy"), p, detail)
	}
}

func validateServiceStatus(o, old *corev1.Service) field.ErrorList {
	var l check.List
	path := field.NewPath("status", "loadBalancer", "ingress")
	list := o.Status.LoadBalancer.Ingress
	if o.Spec.Type != corev1.ServiceTypeLoadBalancer && len(list) > 0 {
		l.Forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")
		return l.Errors()
	}
	var before []string
	for _, in := range old.Status.LoadBalancer.Ingress {
		before = append(before, in.IP)
	}
	for i, in := range list {
		p := path.Index(i)
		if in.IP != "" {
			l.IP(p.Child("ip"), in.IP, before...)
		}
		switch {
		case in.IPMode == nil && in.IP != "":
			l.Required(p.Child("ipMode"), "must be specified when `ip` is set")
		case in.IPMode != nil && in.IP == "":
			l.Forbidden(p.Child("ipMode"), "may not be specified when `ip` is not set")
		case in.IPMode != nil:
			check.Supported(&l, p.Child("ipMode"), *in.IPMode, corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP)
		}
		if in.Hostname == "" {
			continue
		}
		l.Subdomain(p.Child("hostname"), in.Hostname)
		if netutils.ParseIPSloppy(in.Hostname) != nil {
			l.Invalid(p.Child("hostname"), in.Hostname, "must be a DNS name, not an IP address")
		}
	}
	return l.Errors()
}
