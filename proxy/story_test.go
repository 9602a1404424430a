package proxy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestStories runs testdata/stories: Services and EndpointSlices are described, then rules are printed or
// packets sent through them.
//
//	config cluster-cidr=CIDR service-cidr=CIDR node-port-addresses=CIDR masquerade-all family=IPv6 instance=NAME
//	service NAME ip=A port=NAME:80/TCP [nodeport= type= lb= ranges= external= internal=Local external-policy=Local affinity=S]
//	endpoints NAME port=NAME:8080/TCP, then lines of: ADDRESS [NODE] [not-ready] [serving] [terminating]
//	rules [only=TEXT]
//	packet from=A to=A:PORT/tcp [seen=ENDPOINT]
//
// The node is called "here" and has the address 192.0.2.1.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		s := &story{services: map[string]*corev1.Service{}, slices: map[string][]*discoveryv1.EndpointSlice{}}
		datadriven.RunTest(t, path, s.run)
	})
}

type story struct {
	cfg      RenderConfig
	services map[string]*corev1.Service
	slices   map[string][]*discoveryv1.EndpointSlice
}

func (s *story) run(t *testing.T, d *datadriven.TestData) string {
	args := map[string]string{}
	name := ""
	for i, a := range d.CmdArgs {
		if len(a.Vals) == 0 && i == 0 {
			name = a.Key
		}
		args[a.Key] = strings.Join(a.Vals, ",")
	}
	switch d.Cmd {
	case "config":
		s.configure(args)
	case "service":
		s.service(name, args)
	case "endpoints":
		s.endpoints(name, args, d.Input)
	case "delete":
		delete(s.services, name)
	case "rules":
		return s.rules(args["only"])
	case "ports":
		return s.describe()
	case "packet":
		return s.packet(args)
	default:
		t.Fatalf("unknown command %q", d.Cmd)
	}
	return ""
}

func (s *story) configure(args map[string]string) {
	s.cfg = RenderConfig{Instance: args["instance"]}
	if args["family"] == "IPv6" {
		s.cfg.Family = IPv6
	}
	for _, c := range list(args["cluster-cidr"]) {
		s.cfg.ClusterCIDRs = append(s.cfg.ClusterCIDRs, netip.MustParsePrefix(c))
	}
	for _, c := range list(args["service-cidr"]) {
		s.cfg.ServiceCIDRs = append(s.cfg.ServiceCIDRs, netip.MustParsePrefix(c))
	}
	for _, c := range list(args["node-port-addresses"]) {
		s.cfg.NodePortAddresses = append(s.cfg.NodePortAddresses, netip.MustParsePrefix(c))
	}
	_, s.cfg.MasqueradeAll = args["masquerade-all"]
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// portSpec reads "name:80/TCP"; the name may be missing.
func portSpec(s string) (name string, port int32, proto corev1.Protocol) {
	rest, protocol, _ := strings.Cut(s, "/")
	if i := strings.Index(rest, ":"); i >= 0 {
		name, rest = rest[:i], rest[i+1:]
	}
	n, _ := strconv.Atoi(rest)
	return name, int32(n), corev1.Protocol(protocol)
}

func (s *story) service(name string, args map[string]string) {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	svc.Spec.ClusterIP = args["ip"]
	svc.Spec.ClusterIPs = list(args["ip"])
	svc.Spec.Type = corev1.ServiceType(args["type"])
	svc.Spec.ExternalIPs = list(args["external"])
	svc.Spec.LoadBalancerSourceRanges = list(args["ranges"])
	svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicy(args["external-policy"])
	if p := args["internal-policy"]; p != "" {
		policy := corev1.ServiceInternalTrafficPolicy(p)
		svc.Spec.InternalTrafficPolicy = &policy
	}
	if a := args["affinity"]; a != "" {
		n, _ := strconv.Atoi(a)
		seconds := int32(n)
		svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		svc.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
	}
	if l := args["label"]; l != "" {
		svc.Labels = map[string]string{l: "x"}
	}
	for _, ip := range list(args["lb"]) {
		svc.Spec.Type = corev1.ServiceTypeLoadBalancer
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
	}
	nodePorts := list(args["nodeport"])
	for i, spec := range list(args["port"]) {
		n, port, proto := portSpec(spec)
		sp := corev1.ServicePort{Name: n, Port: port, Protocol: proto}
		if i < len(nodePorts) {
			np, _ := strconv.Atoi(nodePorts[i])
			sp.NodePort = int32(np)
		}
		svc.Spec.Ports = append(svc.Spec.Ports, sp)
	}
	s.services[name] = svc
}

func (s *story) endpoints(name string, args map[string]string, input string) {
	es := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressType(s.cfg.Family.String())}
	es.Namespace, es.Labels = "default", map[string]string{discoveryv1.LabelServiceName: name}
	for _, spec := range list(args["port"]) {
		n, port, proto := portSpec(spec)
		es.Ports = append(es.Ports, discoveryv1.EndpointPort{Name: &n, Port: &port, Protocol: &proto})
	}
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		e := discoveryv1.Endpoint{Addresses: words[:1]}
		ready, serving, terminating := true, true, false
		for _, w := range words[1:] {
			switch w {
			case "not-ready":
				ready, serving = false, false
			case "serving":
				serving = true
			case "terminating":
				terminating = true
			default:
				e.NodeName = &w
			}
		}
		e.Conditions = discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating}
		es.Endpoints = append(es.Endpoints, e)
	}
	if _, more := args["more"]; more {
		s.slices[name] = append(s.slices[name], es)
	} else {
		s.slices[name] = []*discoveryv1.EndpointSlice{es}
	}
}

func (s *story) ports() (out []ServicePort) {
	for _, name := range slices.Sorted(maps.Keys(s.services)) {
		out = append(out, Translate(s.services[name], s.slices[name], s.cfg.Family, "here")...)
	}
	return out
}

func (s *story) describe() string {
	var b strings.Builder
	for _, p := range s.ports() {
		fmt.Fprintf(&b, "%s %s:%d/%s", p.String(), p.ClusterIP, p.Port, p.Protocol)
		if p.NodePort != 0 {
			fmt.Fprintf(&b, " node port %d", p.NodePort)
		}
		b.WriteString("\n")
		for _, e := range p.Endpoints {
			fmt.Fprintf(&b, "  %s local=%v ready=%v serving=%v terminating=%v\n", e.Addr, e.Local, e.Ready, e.Serving, e.Terminating)
		}
	}
	return orNone(b.String())
}

func orNone(s string) string {
	if s == "" {
		return "none\n"
	}
	return s
}

func (s *story) rules(only string) string {
	set, err := Render(s.cfg, s.ports())
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	for _, v := range set.Sysctls {
		fmt.Fprintf(&b, "sysctl %s=%s\n", v.Name, v.Value)
	}
	b.WriteString(set.Text())
	if only == "" {
		return b.String()
	}
	var keep strings.Builder
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, only) {
			keep.WriteString(line)
		}
	}
	return orNone(keep.String())
}

// packet tells where a packet ends up, in percent of all tries.
func (s *story) packet(args map[string]string) string {
	set, err := Render(s.cfg, s.ports())
	if err != nil {
		return err.Error() + "\n"
	}
	to, proto, _ := strings.Cut(args["to"], "/")
	local := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1")}
	if s.cfg.Family == IPv6 {
		local = []netip.Addr{netip.MustParseAddr("2001:db8::1")}
	}
	k := newKernel(set.Text(), local...)
	if seen := args["seen"]; seen != "" {
		p := s.ports()[0]
		k.recent[names(set.Prefix).endpoint(&p, Endpoint{Addr: netip.MustParseAddrPort(seen)})] = true
	}
	fates := k.send(packet{src: netip.MustParseAddr(args["from"]), dst: netip.MustParseAddrPort(to), proto: proto})
	var lines []string
	for f, p := range fates {
		line := fmt.Sprintf("%5.1f%% ", 100*p)
		switch {
		case f.verdict != "ACCEPT":
			line += f.verdict
		case f.to.String() == to:
			line += "passes by"
		default:
			line += "-> " + f.to.String()
		}
		if f.masquerade {
			line += " (masqueraded)"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}
