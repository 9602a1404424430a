package runc

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// stopSignal is the pod's, the image's, or SIGTERM.
func (c *container) stopSignal() string {
	return cmp.Or(c.cfg.StopSignal, c.img.Settings.StopSignal, "SIGTERM")
}

// signalOf reads a signal as images and pods give it: "SIGTERM", "TERM", "15", "SIGRTMIN+3".
func signalOf(name string) (unix.Signal, error) {
	const rtmin, max = 34, 64
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n <= max {
		return unix.Signal(n), nil
	}
	upper := strings.ToUpper(name)
	if !strings.HasPrefix(upper, "SIG") {
		upper = "SIG" + upper
	}
	if sig := unix.SignalNum(upper); sig != 0 {
		return sig, nil
	}
	if upper == "SIGRTMIN" {
		return rtmin, nil
	}
	if rest, ok := strings.CutPrefix(upper, "SIGRTMIN+"); ok {
		if n, err := strconv.Atoi(rest); err == nil && n >= 0 && rtmin+n <= max {
			return unix.Signal(rtmin + n), nil
		}
	}
	return 0, fmt.Errorf("unknown stop signal %q", name)
}
