package runc_test

import (
	"context"
	"strings"
	"testing"

	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/runc"
)

// TestSeccomp holds in both builds: with libseccomp the filter is in force, without it a container
// that asks for one is refused.
func TestSeccomp(t *testing.T) {
	r := open(t, runc.Config{})
	sb := runSandbox(t, r, nil)
	for _, noNewPrivileges := range []bool{false, true} {
		cfg := kubelet.ContainerConfig{
			Name: "main", Image: appImage, Args: []string{"cat", "/proc/self/status"}, LogPath: sb.Config.LogDir + "/s.log",
			Security: kubelet.SecurityContext{Seccomp: "RuntimeDefault", NoNewPrivileges: noNewPrivileges},
		}
		id, err := r.CreateContainer(context.Background(), sb.ID, cfg)
		if !withSeccomp {
			if err == nil || !strings.Contains(err.Error(), "built without seccomp") {
				t.Errorf("CreateContainer: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := r.StartContainer(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		c := waitExit(t, r, sb, id)
		if got := logOf(t, c, "stdout"); !strings.Contains(got, "Seccomp:\t2\n") {
			t.Errorf("no filter: %+v %s", c, got)
		}
	}
}
