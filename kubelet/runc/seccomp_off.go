//go:build !seccomp

package runc

import (
	"fmt"

	"github.com/opencontainers/runc/libcontainer/configs"

	"github.com/inboard/inboard/kubelet"
)

// seccompProfile refuses a profile rather than run a container with fewer limits than it asks for.
func seccompProfile(sec kubelet.SecurityContext) (*configs.Seccomp, error) {
	if sec.Privileged || sec.Seccomp == "" || sec.Seccomp == "Unconfined" {
		return nil, nil
	}
	return nil, fmt.Errorf("the container asks for the seccomp profile %q, but this program was built without seccomp: build it with -tags seccomp (which needs libseccomp's headers), or ask for Unconfined", sec.Seccomp)
}
