package main

import (
	"os/exec"
	"syscall"
)

// endWithParent sees to it that the demo's nodes end with the demo, even when that is killed, and that Ctrl-C
// reaches them through it alone.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
