package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"pgregory.net/rapid"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/core"
)

// pool is an allocator in memory.
type pool struct {
	ips   map[string]bool
	ports map[int32]bool
}

func newPool() *pool { return &pool{ips: map[string]bool{}, ports: map[int32]bool{}} }

func (p *pool) Family() corev1.IPFamily { return corev1.IPv4Protocol }

func (p *pool) IP(want string) (string, error) {
	for i := 1; want == ""; i++ {
		if ip := fmt.Sprintf("10.96.0.%d", i); !p.ips[ip] {
			want = ip
		}
	}
	if p.ips[want] {
		return "", errors.New("provided IP is already allocated")
	}
	p.ips[want] = true
	return want, nil
}

func (p *pool) NodePort(want int32, _ string) (int32, error) {
	for i := int32(30000); want == 0; i++ {
		if !p.ports[i] {
			want = i
		}
	}
	if p.ports[want] {
		return 0, errors.New("provided port is already allocated")
	}
	p.ports[want] = true
	return want, nil
}

func (p *pool) ReleaseIP(ip string)                  { delete(p.ips, ip) }
func (p *pool) ReleaseNodePort(port int32, _ string) { delete(p.ports, port) }
func (p *pool) copy() *pool                          { c := newPool(); c.add(p); return c }
func (p *pool) add(o *pool) {
	for k := range o.ips {
		p.ips[k] = true
	}
	for k := range o.ports {
		p.ports[k] = true
	}
}

// write does what a server does to store a service; an error leaves the pool as it was.
func (p *pool) write(o, old *corev1.Service) error {
	k := core.Service()
	var obj, was client.Object = o, nil
	if old != nil {
		was = old
	}
	k.Default(obj)
	k.Prepare(obj, was)
	if errs := k.Validate(obj, was); len(errs) > 0 {
		return errs.ToAggregate()
	}
	trial := p.copy()
	if err := k.Allocate(context.Background(), trial, obj, was); err != nil {
		return err
	}
	*p = *trial
	return nil
}

func service(t corev1.ServiceType, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{Spec: corev1.ServiceSpec{Type: t, Ports: ports}}
}

func TestAllocate(t *testing.T) {
	p := newPool()
	web := service(corev1.ServiceTypeNodePort, corev1.ServicePort{Name: "a", Port: 53}, corev1.ServicePort{Name: "b", Port: 53, Protocol: corev1.ProtocolUDP},
		corev1.ServicePort{Name: "c", Port: 80, NodePort: 30080})
	if err := p.write(web, nil); err != nil {
		t.Fatal(err)
	}
	s := web.Spec
	if s.ClusterIP != "10.96.0.1" || !slices.Equal(s.ClusterIPs, []string{"10.96.0.1"}) || !slices.Equal(s.IPFamilies, []corev1.IPFamily{"IPv4"}) || *s.IPFamilyPolicy != "SingleStack" {
		t.Errorf("addresses: %+v", s)
	}
	if s.Ports[0].NodePort != 30000 || s.Ports[1].NodePort != 30000 || s.Ports[2].NodePort != 30080 {
		t.Errorf("one number, two protocols: one node port; got %+v", s.Ports)
	}

	again := service(corev1.ServiceTypeClusterIP, corev1.ServicePort{Port: 80})
	again.Spec.ClusterIP = "10.96.0.1"
	wantError(t, p.write(again, nil), `spec.clusterIPs: Invalid value: ["10.96.0.1"]: failed to allocate IP 10.96.0.1: provided IP is already allocated`)
	taken := service(corev1.ServiceTypeNodePort, corev1.ServicePort{Port: 80, NodePort: 30080})
	wantError(t, p.write(taken, nil), "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated")

	plain := web.DeepCopy()
	plain.Spec.Type = corev1.ServiceTypeClusterIP
	if err := p.write(plain, web); err != nil {
		t.Fatal(err)
	}
	if len(p.ports) != 0 || len(p.ips) != 1 {
		t.Errorf("after the change to ClusterIP: %+v", p)
	}
	external := plain.DeepCopy()
	external.Spec.Type, external.Spec.ExternalName = corev1.ServiceTypeExternalName, "example.com"
	if err := p.write(external, plain); err != nil {
		t.Fatal(err)
	}
	if len(p.ips) != 0 || external.Spec.ClusterIP != "" {
		t.Errorf("after the change to ExternalName: %+v, %+v", p, external.Spec)
	}
}

func TestFamilies(t *testing.T) {
	p := newPool()
	dual := corev1.IPFamilyPolicyRequireDualStack
	o := service(corev1.ServiceTypeClusterIP, corev1.ServicePort{Port: 80})
	o.Spec.IPFamilyPolicy = &dual
	wantError(t, p.write(o, nil), `spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services`)
	o = service(corev1.ServiceTypeClusterIP, corev1.ServicePort{Port: 80})
	o.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol}
	wantError(t, p.write(o, nil), `spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster`)
	o = service(corev1.ServiceTypeClusterIP, corev1.ServicePort{Port: 80})
	o.Spec.ClusterIP = "fd00::1"
	wantError(t, p.write(o, nil), `spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster`)
	o = service(corev1.ServiceTypeClusterIP)
	o.Spec.ClusterIP = corev1.ClusterIPNone
	if err := p.write(o, nil); err != nil || !slices.Equal(o.Spec.IPFamilies, []corev1.IPFamily{"IPv4", "IPv6"}) || *o.Spec.IPFamilyPolicy != dual {
		t.Errorf("headless without selector: %v, %+v", err, o.Spec)
	}
	if len(p.ips) != 0 {
		t.Errorf("claims: %+v", p)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if e := (*field.Error)(nil); !errors.As(err, &e) || e.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// Whatever happens to services, the claims are those of the services that are there.
func TestClaimsAreHeldAndReleased(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, live := newPool(), map[string]*corev1.Service{}
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
			old := live[name]
			if old != nil && rapid.Bool().Draw(t, "delete") {
				if err := core.Service().Allocate(context.Background(), p, nil, old); err != nil {
					t.Fatal(err)
				}
				delete(live, name)
			} else if o := drawService(t); p.write(o, old) == nil {
				live[name] = o
			}
			checkClaims(t, p, live)
		}
	})
}

func drawService(t *rapid.T) *corev1.Service {
	o := service(rapid.SampledFrom([]corev1.ServiceType{"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"}).Draw(t, "type"))
	for i := range rapid.IntRange(1, 3).Draw(t, "ports") {
		o.Spec.Ports = append(o.Spec.Ports, corev1.ServicePort{
			Name: fmt.Sprint("p", i), Port: int32(80 + i),
			NodePort: rapid.SampledFrom([]int32{0, 0, 0, 30001, 30002}).Draw(t, "nodePort"),
		})
	}
	o.Spec.ClusterIP = rapid.SampledFrom([]string{"", "", "", "None", "10.96.0.2"}).Draw(t, "ip")
	if o.Spec.Type == corev1.ServiceTypeExternalName {
		o.Spec.ClusterIP, o.Spec.ExternalName = "", "example.com"
	}
	if o.Spec.Type == corev1.ServiceTypeLoadBalancer && rapid.Bool().Draw(t, "local") {
		o.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	return o
}

func checkClaims(t *rapid.T, p *pool, live map[string]*corev1.Service) {
	want := newPool()
	for name, o := range live {
		for _, ip := range o.Spec.ClusterIPs {
			if ip != corev1.ClusterIPNone && want.ips[ip] {
				t.Fatalf("%s shares the address %s", name, ip)
			}
			if ip != corev1.ClusterIPNone {
				want.ips[ip] = true
			}
		}
		if o.Spec.Type != corev1.ServiceTypeNodePort && o.Spec.Type != corev1.ServiceTypeLoadBalancer {
			continue
		}
		own := map[int32]bool{o.Spec.HealthCheckNodePort: true}
		for _, port := range o.Spec.Ports {
			own[port.NodePort] = true
		}
		delete(own, 0)
		for port := range own {
			if want.ports[port] {
				t.Fatalf("%s shares the port %d", name, port)
			}
			want.ports[port] = true
		}
	}
	if fmt.Sprint(want.ips, want.ports) != fmt.Sprint(p.ips, p.ports) {
		t.Fatalf("claims %v %v, services hold %v %v", p.ips, p.ports, want.ips, want.ports)
	}
}
