package endpointslice

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/rand"
)

// MaxEndpoints is the default for how many endpoints one slice holds.
const MaxEndpoints = 100

// managedBy is the label value of the slices that are this controller's.
const managedBy = "endpointslice-controller.k8s.io"

// State is what the slices of a service depend on.
type State struct {
	Service *corev1.Service
	// Pods are the pods that the service selects.
	Pods []*corev1.Pod
	// Zone returns the zone of a node, empty when it has none; nil knows no zones.
	Zone func(node string) string
	// Slices are the service's slices of this controller.
	Slices []*discoveryv1.EndpointSlice
	// Max is how many endpoints one slice holds; 0 is MaxEndpoints.
	Max int
}

// Plan is what makes the slices fit.
type Plan struct {
	Create, Update, Delete []*discoveryv1.EndpointSlice
}

// Compute returns what must change. It changes as few slices as it can: an endpoint stays in the
// slice that it is in, new ones go where there is room.
func Compute(s State) Plan {
	if s.Max == 0 {
		s.Max = MaxEndpoints
	}
	var plan Plan
	families := familiesOf(s.Service)
	for _, slice := range s.Slices {
		if !slices.Contains(families, slice.AddressType) {
			plan.Delete = append(plan.Delete, slice)
		}
	}
	for _, family := range families {
		s.family(family, &plan)
	}
	return plan
}

// familiesOf returns the address types that a service has slices for.
func familiesOf(svc *corev1.Service) []discoveryv1.AddressType {
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	var out []discoveryv1.AddressType
	for _, f := range svc.Spec.IPFamilies {
		out = append(out, discoveryv1.AddressType(f))
	}
	if len(out) == 0 {
		out = append(out, discoveryv1.AddressTypeIPv4)
		if ip, err := netip.ParseAddr(svc.Spec.ClusterIP); err == nil && ip.Is6() {
			out[0] = discoveryv1.AddressTypeIPv6
		}
	}
	return out
}

// wanted is the endpoints that share one set of ports: a named target port can be another number
// in each pod.
type wanted struct {
	ports     []discoveryv1.EndpointPort
	endpoints map[string]discoveryv1.Endpoint // by the pod's name
}

// family plans the slices of one address type.
func (s State) family(family discoveryv1.AddressType, plan *Plan) {
	groups := s.group(family)
	var mine []*discoveryv1.EndpointSlice
	for _, slice := range s.Slices {
		if slice.AddressType == family {
			mine = append(mine, slice)
		}
	}
	slices.SortFunc(mine, func(a, b *discoveryv1.EndpointSlice) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		var fitting []*discoveryv1.EndpointSlice
		mine = slices.DeleteFunc(mine, func(slice *discoveryv1.EndpointSlice) bool {
			fits := portsKey(slice.Ports) == key
			if fits {
				fitting = append(fitting, slice)
			}
			return fits
		})
		s.pack(family, groups[key], fitting, plan)
	}
	plan.Delete = append(plan.Delete, mine...)
}

// group computes the endpoints. A service without any has one empty slice, which tells that the
// controller has seen it.
func (s State) group(family discoveryv1.AddressType) map[string]*wanted {
	groups := map[string]*wanted{}
	for _, pod := range s.Pods {
		ip := addressOf(pod, family)
		if ip == "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		ports := portsOf(s.Service, pod)
		key := portsKey(ports)
		if groups[key] == nil {
			groups[key] = &wanted{ports: ports, endpoints: map[string]discoveryv1.Endpoint{}}
		}
		groups[key].endpoints[pod.Name] = s.endpoint(pod, ip)
	}
	if len(groups) == 0 {
		groups[portsKey(nil)] = &wanted{}
	}
	return groups
}

// addressOf returns the address that the service's clients reach a pod at, empty when there is none. The
// API takes no slice with an address that means another machine to each client, and one such pod must not
// keep the others from being reached.
func addressOf(pod *corev1.Pod, family discoveryv1.AddressType) string {
	ips := []string{pod.Status.PodIP}
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	for _, text := range ips {
		ip, err := netip.ParseAddr(text)
		if err == nil && ip.Is6() == (family == discoveryv1.AddressTypeIPv6) && reachable(ip) {
			return text
		}
	}
	return ""
}

func reachable(ip netip.Addr) bool {
	return !ip.IsUnspecified() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && !ip.IsLinkLocalMulticast()
}

// endpoint describes one pod. Terminating pods serve on as long as they are ready.
func (s State) endpoint(pod *corev1.Pod, ip string) discoveryv1.Endpoint {
	serving := isReady(pod)
	terminating := pod.DeletionTimestamp != nil
	ready := s.Service.Spec.PublishNotReadyAddresses || serving && !terminating
	e := discoveryv1.Endpoint{
		Addresses:  []string{ip},
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
		TargetRef: &corev1.ObjectReference{
			Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		},
	}
	if node := pod.Spec.NodeName; node != "" {
		e.NodeName = &node
		if s.Zone != nil {
			if zone := s.Zone(node); zone != "" {
				e.Zone = &zone
			}
		}
	}
	if pod.Spec.Hostname != "" && pod.Spec.Subdomain == s.Service.Name {
		hostname := pod.Spec.Hostname
		e.Hostname = &hostname
	}
	return e
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// portsOf returns the service's ports as they are in pod; a named port that the pod does not have
// is left out.
func portsOf(svc *corev1.Service, pod *corev1.Pod) []discoveryv1.EndpointPort {
	var out []discoveryv1.EndpointPort
	for _, p := range svc.Spec.Ports {
		number, ok := targetPort(p, pod)
		if !ok {
			continue
		}
		name, protocol := p.Name, cmp.Or(p.Protocol, corev1.ProtocolTCP)
		out = append(out, discoveryv1.EndpointPort{
			Name: &name, Port: &number, Protocol: &protocol, AppProtocol: p.AppProtocol,
		})
	}
	return out
}

func targetPort(p corev1.ServicePort, pod *corev1.Pod) (int32, bool) {
	if p.TargetPort.Type == intstr.Int {
		return cmp.Or(p.TargetPort.IntVal, p.Port), true
	}
	protocol := cmp.Or(p.Protocol, corev1.ProtocolTCP)
	containers := pod.Spec.Containers
	for _, c := range pod.Spec.InitContainers { // those that keep running
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			containers = append(containers[:len(containers):len(containers)], c)
		}
	}
	for _, c := range containers {
		for _, cp := range c.Ports {
			if cp.Name == p.TargetPort.StrVal && cmp.Or(cp.Protocol, corev1.ProtocolTCP) == protocol {
				return cp.ContainerPort, true
			}
		}
	}
	return 0, false
}

// pack distributes the endpoints of one set of ports over slices.
func (s State) pack(family discoveryv1.AddressType, w *wanted, have []*discoveryv1.EndpointSlice, plan *Plan) {
	rest := maps.Clone(w.endpoints)
	kept := make([][]discoveryv1.Endpoint, len(have))
	for i, slice := range have {
		for _, e := range slice.Endpoints {
			if e.TargetRef == nil {
				continue
			}
			if next, ok := rest[e.TargetRef.Name]; ok && len(kept[i]) < s.Max {
				kept[i] = append(kept[i], next)
				delete(rest, e.TargetRef.Name)
			}
		}
	}
	left := slices.Sorted(maps.Keys(rest))
	take := func(n int) []discoveryv1.Endpoint {
		n = min(n, len(left))
		var out []discoveryv1.Endpoint
		for _, name := range left[:n] {
			out = append(out, rest[name])
		}
		left = left[n:]
		return out
	}
	used := 0
	for i, slice := range have {
		endpoints := append(kept[i], take(s.Max-len(kept[i]))...)
		if len(endpoints) == 0 && (len(w.endpoints) > 0 || used > 0) {
			plan.Delete = append(plan.Delete, slice)
			continue
		}
		used++
		next := slice.DeepCopy()
		next.Endpoints = endpoints
		s.label(next)
		if !same(slice, next) {
			plan.Update = append(plan.Update, next)
		}
	}
	for len(left) > 0 || used == 0 {
		used++
		plan.Create = append(plan.Create, s.newSlice(family, w.ports, take(s.Max)))
	}
}

func (s State) newSlice(family discoveryv1.AddressType, ports []discoveryv1.EndpointPort, endpoints []discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	const maxPrefix = 248 // leaves room for the random end
	prefix := s.Service.Name + "-"
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName:    prefix,
			Name:            prefix[:min(len(prefix), maxPrefix)] + rand.String(5),
			Namespace:       s.Service.Namespace,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(s.Service, serviceKind)},
		},
		AddressType: family,
		Ports:       ports,
		Endpoints:   endpoints,
	}
	s.label(slice)
	return slice
}

// label gives a slice the service's labels and its own.
func (s State) label(slice *discoveryv1.EndpointSlice) {
	l := maps.Clone(s.Service.Labels)
	if l == nil {
		l = map[string]string{}
	}
	delete(l, corev1.IsHeadlessService)
	l[discoveryv1.LabelServiceName] = s.Service.Name
	l[discoveryv1.LabelManagedBy] = managedBy
	if s.Service.Spec.ClusterIP == corev1.ClusterIPNone {
		l[corev1.IsHeadlessService] = ""
	}
	slice.Labels = l
}

func same(a, b *discoveryv1.EndpointSlice) bool {
	return maps.Equal(a.Labels, b.Labels) && equality.Semantic.DeepEqual(a.Endpoints, b.Endpoints)
}
