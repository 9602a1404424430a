// Package networking has the rows of the kinds of networking.k8s.io/v1: Ingress, IngressClass,
// NetworkPolicy, IPAddress and ServiceCIDR.
package networking

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Kinds returns the rows of all kinds of the group. The slice is the caller's own.
func Kinds() []apiserver.Kind {
	return []apiserver.Kind{IngressClass(), Ingress(), NetworkPolicy(), IPAddress(), ServiceCIDR()}
}

var specPath = field.NewPath("spec")

// classAnnotation named an ingress's class before there was a field for it.
const classAnnotation = "kubernetes.io/ingress.class"

func newKind(kind, resource, singular string, shortNames ...string) apiserver.Kind {
	return apiserver.Kind{
		QualifiedFinalizers: true,
		GroupVersionKind:    networkingv1.SchemeGroupVersion.WithKind(kind),
		Resource:            resource,
		Singular:            singular,
		ShortNames:          shortNames,
		Generation:          true,
	}
}

// Ingress returns the row of Ingress.
func Ingress() apiserver.Kind {
	k := newKind("Ingress", "ingresses", "ingress", "ing")
	k.Namespaced = true
	k.Status = true
	k.Object, k.List = &networkingv1.Ingress{}, &networkingv1.IngressList{}
	k.Validate = row.Check(validateIngress)
	k.ValidateStatus = row.Check(validateIngressStatus)
	k.Warnings = row.Warn(func(o, old *networkingv1.Ingress) []string {
		if _, ok := o.Annotations[classAnnotation]; ok && old == nil && o.Spec.IngressClassName == nil {
			return []string{fmt.Sprintf("annotation %q is deprecated, please use 'spec.ingressClassName' instead", classAnnotation)}
		}
		return nil
	})
	k.StatusWarnings = row.Warn(func(o, _ *networkingv1.Ingress) (out []string) {
		for i, at := range o.Status.LoadBalancer.Ingress {
			if at.IP != "" {
				out = append(out, validation.GetWarningsForIP(field.NewPath("status", "loadBalancer", "ingress").Index(i), at.IP)...)
			}
		}
		return out
	})
	k.Columns = row.Columns("Name", "Class", "Hosts", "Address", "Ports", "Age")
	k.Row = row.Cells(func(o *networkingv1.Ingress, now time.Time) []any {
		ports := "80"
		if len(o.Spec.TLS) > 0 {
			ports = "80, 443"
		}
		return []any{o.Name, ptr.Deref(o.Spec.IngressClassName, "<none>"), hosts(o.Spec.Rules), addresses(o), ports, row.Age(o.CreationTimestamp, now)}
	})
	return k
}

// hosts lists the first three hosts.
func hosts(rules []networkingv1.IngressRule) string {
	const most = 3
	var list []string
	for _, r := range rules {
		if len(list) == most {
			return fmt.Sprintf("%s + %d more...", strings.Join(list, ","), len(rules)-most)
		}
		if r.Host != "" {
			list = append(list, r.Host)
		}
	}
	return row.Or(strings.Join(list, ","), "*")
}

func addresses(o *networkingv1.Ingress) string {
	names := map[string]bool{}
	for _, in := range o.Status.LoadBalancer.Ingress {
		if name := row.Or(in.IP, in.Hostname); name != "" {
			names[name] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ",")
}

// IngressClass returns the row of IngressClass.
func IngressClass() apiserver.Kind {
	k := newKind("IngressClass", "ingressclasses", "ingressclass")
	k.Object, k.List = &networkingv1.IngressClass{}, &networkingv1.IngressClassList{}
	k.Default = row.Of(func(o *networkingv1.IngressClass) {
		if p := o.Spec.Parameters; p != nil {
			fill.Nil(&p.Scope, networkingv1.IngressClassParametersReferenceScopeCluster)
		}
	})
	k.Validate = row.Check(validateClass)
	k.Columns = row.Columns("Name", "Controller", "Parameters", "Age")
	k.Row = row.Cells(func(o *networkingv1.IngressClass, now time.Time) []any {
		name, parameters := o.Name, "<none>"
		if o.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true" {
			name += " (default)"
		}
		if p := o.Spec.Parameters; p != nil {
			parameters = p.Kind
			if p.APIGroup != nil {
				parameters += "." + *p.APIGroup
			}
			parameters += "/" + p.Name
		}
		return []any{name, o.Spec.Controller, parameters, row.Age(o.CreationTimestamp, now)}
	})
	return k
}

// NetworkPolicy returns the row of NetworkPolicy.
func NetworkPolicy() apiserver.Kind {
	k := newKind("NetworkPolicy", "networkpolicies", "networkpolicy", "netpol")
	k.Namespaced = true
	k.Object, k.List = &networkingv1.NetworkPolicy{}, &networkingv1.NetworkPolicyList{}
	k.Default = row.Of(defaultPolicy)
	k.Validate = row.Check(validatePolicy)
	k.Warnings = row.Warn(policyWarnings)
	k.Columns = row.Columns("Name", "Pod-Selector", "Age")
	k.Row = row.Cells(func(o *networkingv1.NetworkPolicy, now time.Time) []any {
		return []any{o.Name, metav1.FormatLabelSelector(&o.Spec.PodSelector), row.Age(o.CreationTimestamp, now)}
	})
	return k
}

func defaultPolicy(o *networkingv1.NetworkPolicy) {
	s := &o.Spec
	if len(s.PolicyTypes) == 0 {
		s.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		if len(s.Egress) > 0 {
			s.PolicyTypes = append(s.PolicyTypes, networkingv1.PolicyTypeEgress)
		}
	}
	for _, ports := range policyPorts(s) {
		for i := range ports {
			fill.Nil(&ports[i].Protocol, corev1.ProtocolTCP)
		}
	}
}

// policyPorts returns the ports of each rule.
func policyPorts(s *networkingv1.NetworkPolicySpec) [][]networkingv1.NetworkPolicyPort {
	var out [][]networkingv1.NetworkPolicyPort
	for i := range s.Ingress {
		out = append(out, s.Ingress[i].Ports)
	}
	for i := range s.Egress {
		out = append(out, s.Egress[i].Ports)
	}
	return out
}
