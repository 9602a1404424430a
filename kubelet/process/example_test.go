//go:build linux

package process_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/process"
)

// A runtime needs no privileges: each pod gets a loopback address.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "process")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	rt, err := process.Open(process.Config{Dir: dir, PodCIDR: netip.MustParsePrefix("127.99.0.0/24")})
	if err != nil {
		panic(err)
	}
	defer rt.Close()
	sandbox, err := rt.RunSandbox(context.Background(), kubelet.SandboxConfig{Namespace: "default", Name: "web", UID: "1"})
	fmt.Println(sandbox.IPs, sandbox.Ready, err)
	// Output: [127.99.0.1] true <nil>
}
