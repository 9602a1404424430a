package network

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// hostNS is the network namespace that a Network lives in. Any goroutine may run on any thread, and
// not all threads need be in that namespace, so that everything goes through do.
type hostNS struct{ fd netns.NsHandle }

func currentNS() (*hostNS, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("open this thread's network namespace: %w", err)
	}
	return &hostNS{fd}, nil
}

func (h *hostNS) close() { h.fd.Close() }

// do runs f on a thread in the namespace.
func (h *hostNS) do(f func() error) error {
	runtime.LockOSThread()
	now, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer now.Close()
	if now.Equal(h.fd) {
		defer runtime.UnlockOSThread()
		return f()
	}
	if err := netns.Set(h.fd); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	defer func() {
		// A thread that cannot go back stays locked, and ends with its goroutine.
		if netns.Set(now) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}

func readSysctl(name string) (string, error) {
	data, err := os.ReadFile(filepath.Join("/proc/sys", name))
	return strings.TrimSpace(string(data)), err
}

func writeSysctl(name, value string) error {
	if old, err := readSysctl(name); err == nil && old == value {
		return nil
	}
	f, err := os.OpenFile(filepath.Join("/proc/sys", name), os.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}
