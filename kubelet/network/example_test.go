package network_test

import (
	"fmt"
	"net/netip"

	"github.com/inboard/inboard/kubelet/network"
)

// A mistake in the configuration is one clear error, before anything is touched.
func ExampleOpen() {
	_, err := network.Open(network.Config{
		Owner: "/var/lib/example", PodCIDR: netip.MustParsePrefix("10.244.0.5/24"),
	})
	fmt.Println(err)
	// Output: network: Config.PodCIDR: 10.244.0.5/24 has host bits set; did you mean 10.244.0.0/24?
}
