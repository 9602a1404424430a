package networking

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

const maxController = 250

func validateIngress(o, old *networkingv1.Ingress) field.ErrorList {
	var l check.List
	s := &o.Spec
	if len(s.Rules) == 0 && s.DefaultBackend == nil {
		l.Invalid(specPath, s.Rules, "either `defaultBackend` or `rules` must be specified")
	}
	if s.DefaultBackend != nil {
		backend(&l, specPath.Child("defaultBackend"), s.DefaultBackend)
	}
	anyWildcard := old != nil && hadBadWildcard(old)
	for i := range s.Rules {
		ingressRule(&l, specPath.Child("rules").Index(i), &s.Rules[i], anyWildcard)
	}
	anySecret := old != nil && hadBadSecret(old)
	for i, t := range s.TLS {
		p := specPath.Child("tls").Index(i)
		for j, h := range t.Hosts {
			host(&l, p.Child("hosts").Index(j), h)
		}
		if t.SecretName != "" && !anySecret {
			l.Subdomain(p.Child("secretName"), t.SecretName)
		}
	}
	if s.IngressClassName != nil {
		l.Subdomain(specPath.Child("ingressClassName"), *s.IngressClassName)
	}
	if class, ok := o.Annotations[classAnnotation]; ok && old == nil && s.IngressClassName != nil && class != *s.IngressClassName {
		l.Invalid(field.NewPath("annotations").Child(classAnnotation), class, "must match `ingressClassName` when both are specified")
	}
	return l.Errors()
}

// hadBadSecret tells whether a secret of the old ingress has a name that none can have.
func hadBadSecret(old *networkingv1.Ingress) bool {
	for _, t := range old.Spec.TLS {
		if t.SecretName != "" && len(validation.IsDNS1123Subdomain(t.SecretName)) > 0 {
			return true
		}
	}
	return false
}

// hadBadWildcard tells whether a rule of the old ingress about a wildcard is wrong: once those were not
// looked at.
func hadBadWildcard(old *networkingv1.Ingress) bool {
	for i := range old.Spec.Rules {
		var l check.List
		if r := &old.Spec.Rules[i]; strings.Contains(r.Host, "*") {
			if paths(&l, nil, r.HTTP); len(l) > 0 {
				return true
			}
		}
	}
	return false
}

func host(l *check.List, path *field.Path, h string) {
	if strings.Contains(h, "*") {
		l.Messages(path, h, validation.IsWildcardDNS1123Subdomain(h))
		return
	}
	l.Subdomain(path, h)
}

func ingressRule(l *check.List, path *field.Path, r *networkingv1.IngressRule, anyWildcard bool) {
	if r.Host != "" {
		if netutils.ParseIPSloppy(r.Host) != nil {
			l.Invalid(path.Child("host"), r.Host, "must be a DNS name, not an IP address")
		}
		host(l, path.Child("host"), r.Host)
	}
	if !anyWildcard || !strings.Contains(r.Host, "*") {
		paths(l, path.Child("http"), r.HTTP)
	}
}

func paths(l *check.List, path *field.Path, http *networkingv1.HTTPIngressRuleValue) {
	if http == nil {
		return
	}
	if len(http.Paths) == 0 {
		l.Required(path.Child("paths"), "")
	}
	for i := range http.Paths {
		p, at := &http.Paths[i], path.Child("paths").Index(i)
		if p.PathType == nil {
			l.Required(at.Child("pathType"), "pathType must be specified")
			continue
		}
		httpPath(l, at, *p.PathType, p.Path)
		backend(l, at.Child("backend"), &p.Backend)
	}
}

func httpPath(l *check.List, at *field.Path, t networkingv1.PathType, path string) {
	exact := t == networkingv1.PathTypeExact || t == networkingv1.PathTypePrefix
	check.Supported(l, at.Child("pathType"), t, networkingv1.PathTypeExact, networkingv1.PathTypeImplementationSpecific, networkingv1.PathTypePrefix)
	if !exact && (t != networkingv1.PathTypeImplementationSpecific || path == "") {
		return
	}
	at = at.Child("path")
	if !strings.HasPrefix(path, "/") {
		l.Invalid(at, path, "must be an absolute path")
	}
	if !exact {
		return
	}
	for _, part := range []string{"//", "/./", "/../", "%2f", "%2F"} {
		if strings.Contains(path, part) {
			l.Invalid(at, path, fmt.Sprintf("must not contain '%s'", part))
		}
	}
	for _, end := range []string{"/..", "/."} {
		if strings.HasSuffix(path, end) {
			l.Invalid(at, path, fmt.Sprintf("cannot end with '%s'", end))
		}
	}
}

func backend(l *check.List, path *field.Path, b *networkingv1.IngressBackend) {
	switch {
	case b.Resource != nil && b.Service != nil:
		l.Invalid(path, "", "cannot set both resource and service backends")
	case b.Resource != nil:
		typedReference(l, path.Child("resource"), b.Resource.APIGroup, b.Resource.Kind, b.Resource.Name)
	case b.Service != nil:
		serviceBackend(l, path, b.Service)
	default:
		l.Invalid(path, "", "resource or service backend is required")
	}
}

func serviceBackend(l *check.List, path *field.Path, s *networkingv1.IngressServiceBackend) {
	if name := path.Child("service", "name"); s.Name == "" {
		l.Required(name, "")
	} else {
		l.Label(name, s.Name)
	}
	port := path.Child("service", "port")
	switch named, numbered := s.Port.Name != "", s.Port.Number != 0; {
	case named && numbered:
		l.Invalid(path, "", "cannot set both port name & port number")
	case named:
		l.Messages(port.Child("name"), s.Port.Name, validation.IsValidPortName(s.Port.Name))
	case numbered:
		l.Port(port.Child("number"), s.Port.Number)
	default:
		l.Required(path, "port name or number is required")
	}
}

func typedReference(l *check.List, path *field.Path, group *string, kind, name string) {
	if group != nil {
		l.Subdomain(path.Child("apiGroup"), *group)
	}
	for _, f := range []struct{ field, value string }{{"kind", kind}, {"name", name}} {
		if f.value == "" {
			l.Required(path.Child(f.field), "")
			continue
		}
		l.Messages(path.Child(f.field), f.value, content.IsPathSegmentName(f.value))
	}
}

func validateIngressStatus(o, old *networkingv1.Ingress) field.ErrorList {
	var l check.List
	var before []string
	for _, in := range old.Status.LoadBalancer.Ingress {
		before = append(before, in.IP)
	}
	for i, in := range o.Status.LoadBalancer.Ingress {
		p := field.NewPath("status", "loadBalancer", "ingress").Index(i)
		if in.IP != "" {
			l.IP(p.Child("ip"), in.IP, before...)
		}
		if in.Hostname != "" {
			l.Subdomain(p.Child("hostname"), in.Hostname)
			if netutils.ParseIPSloppy(in.Hostname) != nil {
				l.Invalid(p.Child("hostname"), in.Hostname, "must be a DNS name, not an IP address")
			}
		}
	}
	return l.Errors()
}

func validateClass(o, old *networkingv1.IngressClass) field.ErrorList {
	var l check.List
	controller := specPath.Child("controller")
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(o.Spec.Controller, old.Spec.Controller, controller)...)
	}
	if len(o.Spec.Controller) > maxController {
		l.Add(field.TooLong(controller, "", maxController))
	}
	l.Add(validation.IsDomainPrefixedPath(controller, o.Spec.Controller)...)
	p, path := o.Spec.Parameters, specPath.Child("parameters")
	if p == nil {
		return l.Errors()
	}
	typedReference(&l, path, p.APIGroup, p.Kind, p.Name)
	if p.Scope == nil {
		l.Required(path.Child("scope"), "")
		return l.Errors()
	}
	const cluster, namespace = networkingv1.IngressClassParametersReferenceScopeCluster, networkingv1.IngressClassParametersReferenceScopeNamespace
	check.Supported(&l, path.Child("scope"), *p.Scope, cluster, namespace)
	switch scope := *p.Scope; {
	case scope == namespace && p.Namespace == nil:
		l.Required(path.Child("namespace"), "`parameters.scope` is set to 'Namespace'")
	case scope == namespace:
		l.Messages(path.Child("namespace"), *p.Namespace, apivalidation.ValidateNamespaceName(*p.Namespace, false))
	case scope == cluster && p.Namespace != nil:
		l.Forbidden(path.Child("namespace"), "`parameters.scope` is set to 'Cluster'")
	}
	return l.Errors()
}

// protocols are those that a policy can name.
var protocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}

func policyProtocol(l *check.List, path *field.Path, p *corev1.Protocol) {
	if p != nil {
		check.Supported(l, path, ptr.Deref(p, ""), protocols...)
	}
}
