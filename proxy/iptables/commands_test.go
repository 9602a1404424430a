package iptables

import (
	"os/exec"
	"testing"
)

// TestCommandsOutliveCtrlC has a signal end the first two runs of a command.
func TestCommandsOutliveCtrlC(t *testing.T) {
	runs := 0
	err := again(func() error {
		if runs++; runs < 3 {
			return exec.Command("sh", "-c", "kill -INT $$").Run()
		}
		return exec.Command("sh", "-c", "exit 3").Run()
	})
	if err == nil || signaled(err) || runs != 3 {
		t.Errorf("after %d runs: %v", runs, err)
	}
	runs = 0
	err = again(func() error { runs++; return exec.Command("sh", "-c", "kill -INT $$").Run() })
	if !signaled(err) || runs != commandTries {
		t.Errorf("after %d runs: %v", runs, err)
	}
}
