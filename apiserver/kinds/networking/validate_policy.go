package networking

import (
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// policyChecker checks a policy with what the old one excuses.
type policyChecker struct {
	check.List
	selectors metavalidation.LabelSelectorValidationOptions
	ranges    []string
}

// policyWarnings tells of blocks of addresses in unusual forms.
func policyWarnings(o, _ *networkingv1.NetworkPolicy) (out []string) {
	of := func(peers []networkingv1.NetworkPolicyPeer, path *field.Path) {
		for i, p := range peers {
			if p.IPBlock == nil {
				continue
			}
			at := path.Index(i).Child("ipBlock")
			out = append(out, validation.GetWarningsForCIDR(at.Child("cidr"), p.IPBlock.CIDR)...)
			for j, cidr := range p.IPBlock.Except {
				out = append(out, validation.GetWarningsForCIDR(at.Child("except").Index(j), cidr)...)
			}
		}
	}
	path := field.NewPath("spec")
	for i := range o.Spec.Ingress {
		of(o.Spec.Ingress[i].From, path.Child("ingress").Index(i).Child("from"))
	}
	for i := range o.Spec.Egress {
		of(o.Spec.Egress[i].To, path.Child("egress").Index(i).Child("to"))
	}
	return out
}

func validatePolicy(o, old *networkingv1.NetworkPolicy) field.ErrorList {
	c := &policyChecker{}
	if old != nil {
		c.selectors.AllowInvalidLabelValueInSelector = len(metavalidation.ValidateLabelSelector(&old.Spec.PodSelector, c.selectors, nil)) > 0
		c.ranges = ranges(&old.Spec)
	}
	s := &o.Spec
	c.selector(&s.PodSelector, specPath.Child("podSelector"))
	for i := range s.Ingress {
		p := specPath.Child("ingress").Index(i)
		c.rule(s.Ingress[i].Ports, s.Ingress[i].From, p, p.Child("from"))
	}
	for i := range s.Egress {
		p := specPath.Child("egress").Index(i)
		c.rule(s.Egress[i].Ports, s.Egress[i].To, p, p.Child("to"))
	}
	types := specPath.Child("policyTypes")
	if len(s.PolicyTypes) > 2 {
		c.Invalid(types, &s.PolicyTypes, "may not specify more than two policyTypes")
		return c.Errors()
	}
	for i, t := range s.PolicyTypes {
		check.Supported(&c.List, types.Index(i), t, networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress)
	}
	return c.Errors()
}

// ranges are the address ranges that a policy names.
func ranges(s *networkingv1.NetworkPolicySpec) []string {
	var out []string
	add := func(peers []networkingv1.NetworkPolicyPeer) {
		for _, p := range peers {
			if p.IPBlock != nil {
				out = append(append(out, p.IPBlock.CIDR), p.IPBlock.Except...)
			}
		}
	}
	for i := range s.Ingress {
		add(s.Ingress[i].From)
	}
	for i := range s.Egress {
		add(s.Egress[i].To)
	}
	return out
}

func (c *policyChecker) rule(ports []networkingv1.NetworkPolicyPort, peers []networkingv1.NetworkPolicyPeer, path, peersPath *field.Path) {
	for i := range ports {
		c.port(&ports[i], path.Child("ports").Index(i))
	}
	for i := range peers {
		c.peer(&peers[i], peersPath.Index(i))
	}
}

func (c *policyChecker) selector(s *metav1.LabelSelector, path *field.Path) {
	c.Add(metavalidation.ValidateLabelSelector(s, c.selectors, path)...)
}

func (c *policyChecker) port(p *networkingv1.NetworkPolicyPort, path *field.Path) {
	policyProtocol(&c.List, path.Child("protocol"), p.Protocol)
	end := path.Child("endPort")
	switch {
	case p.Port == nil:
		if p.EndPort != nil {
			c.Invalid(end, *p.EndPort, "may not be specified when `port` is not specified")
		}
	case p.Port.Type == intstr.Int:
		c.Port(path.Child("port"), p.Port.IntVal)
		if p.EndPort != nil {
			if *p.EndPort < p.Port.IntVal {
				c.Invalid(end, *p.EndPort, "must be greater than or equal to `port`")
			}
			c.Port(end, *p.EndPort)
		}
	default:
		if p.EndPort != nil {
			c.Invalid(end, *p.EndPort, "may not be specified when `port` is non-numeric")
		}
		c.Messages(path.Child("port"), p.Port.StrVal, validation.IsValidPortName(p.Port.StrVal))
	}
}

func (c *policyChecker) peer(p *networkingv1.NetworkPolicyPeer, path *field.Path) {
	selects := p.PodSelector != nil || p.NamespaceSelector != nil
	if p.PodSelector != nil {
		c.selector(p.PodSelector, path.Child("podSelector"))
	}
	if p.NamespaceSelector != nil {
		c.selector(p.NamespaceSelector, path.Child("namespaceSelector"))
	}
	if p.IPBlock != nil {
		c.block(p.IPBlock, path.Child("ipBlock"))
	}
	switch {
	case !selects && p.IPBlock == nil:
		c.Required(path, "must specify a peer")
	case selects && p.IPBlock != nil:
		c.Forbidden(path, "may not specify both ipBlock and another peer")
	}
}

func (c *policyChecker) block(b *networkingv1.IPBlock, path *field.Path) {
	if b.CIDR == "" {
		c.Required(path.Child("cidr"), "")
		return
	}
	c.CIDR(path.Child("cidr"), b.CIDR, c.ranges...)
	_, whole, err := netutils.ParseCIDRSloppy(b.CIDR)
	if err != nil {
		return
	}
	bits, _ := whole.Mask.Size()
	for i, e := range b.Except {
		p := path.Child("except").Index(i)
		c.CIDR(p, e, c.ranges...)
		_, part, err := netutils.ParseCIDRSloppy(e)
		if err != nil {
			continue
		}
		if own, _ := part.Mask.Size(); !whole.Contains(part.IP) || bits >= own {
			c.Invalid(p, e, "must be a strict subset of `cidr`")
		}
	}
}
