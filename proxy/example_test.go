package proxy_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/proxy"
	"github.com/inboard/inboard/store"
)

// Which rules does a Service amount to? No API server, kernel or privilege is needed to find out.
func ExampleRender() {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.10", Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}
	name, port := "http", int32(8080)
	slice := &discoveryv1.EndpointSlice{
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.244.0.5"}}, {Addresses: []string{"10.244.1.6"}}},
	}
	ports := proxy.Translate(svc, []*discoveryv1.EndpointSlice{slice}, proxy.IPv4, "node-1")
	rules, err := proxy.Render(proxy.RenderConfig{ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}}, ports)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range rules.Tables[0].Chains {
		if strings.HasPrefix(c.Name, "INBOARD-SVC-") {
			fmt.Println(strings.Join(c.Rules, "\n"))
		}
	}
	// Output:
	// ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j MARK --or-mark 0x4000
	// -m comment --comment "default/web:http -> 10.244.0.5:8080" -m statistic --mode random --probability 0.5000000000 -j INBOARD-SEP-7TENN2JGF4M6GLST
	// -m comment --comment "default/web:http -> 10.244.1.6:8080" -j INBOARD-SEP-QE6FYH7QO7JEQUF5
}

// A proxy beside an API server in the same process. Put the Applier of package proxy/iptables in the
// place of Memory to change the kernel's rules.
func ExampleProxy() {
	st, _ := store.Open(store.Config{})
	defer st.Close()
	server, _ := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()})
	api := server.Client(apiserver.Identity{User: "proxy", Groups: []string{apiserver.GroupMasters}})
	ctx, cancel := context.WithCancel(context.Background())
	_, err := client.For[*corev1.Service](api).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.10", Ports: []corev1.ServicePort{{Port: 80}}},
	})
	if err != nil {
		fmt.Println(err)
	}

	rules := &proxy.Memory{}
	p, err := proxy.New(proxy.Config{Client: api, Applier: rules, NodeName: "node-1"})
	if err != nil {
		fmt.Println(err)
	}
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	<-p.Ready()

	now, _ := rules.Rules(proxy.IPv4)
	for line := range strings.Lines(now.Text()) {
		if strings.Contains(line, "default/web") {
			fmt.Print(line)
		}
	}
	cancel()
	fmt.Println("stopped:", <-done)
	// Output:
	// -A INBOARD-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -m comment --comment "default/web has no endpoints" -j REJECT --reject-with tcp-reset
	// stopped: <nil>
}
