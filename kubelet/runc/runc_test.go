package runc_test

import (
	"testing"

	"github.com/inboard/inboard/kubelet/runc"
)

func TestContainerRunsAndExits(t *testing.T) {
	r := open(t, runc.Config{})
	sb := runSandbox(t, r, nil)
	id := start(t, r, sb, nil, "print", "hello", "world")
	c := waitExit(t, r, sb, id)
	if c.ExitCode != 0 || c.Reason != "Completed" {
		t.Errorf("status = %+v", c)
	}
	if got := logOf(t, c, "stdout"); got != "hello world\n" {
		t.Errorf("stdout = %q", got)
	}
	if got := logOf(t, c, "stderr"); got != "to stderr\n" {
		t.Errorf("stderr = %q", got)
	}
}
