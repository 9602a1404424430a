package runc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// podNamespaces says which namespaces a pod gets for itself. They are held by bind mounts of their
// files in dir, not by a process: a pod without containers costs no memory.
type podNamespaces struct {
	dir           string
	net, ipc, uts bool
	hostname      string
	sysctls       map[string]string
}

type namespaceKind struct {
	name string // of its file in /proc/<pid>/ns
	flag int
}

var (
	netNS = namespaceKind{"net", unix.CLONE_NEWNET}
	ipcNS = namespaceKind{"ipc", unix.CLONE_NEWIPC}
	utsNS = namespaceKind{"uts", unix.CLONE_NEWUTS}
)

func (p podNamespaces) kinds() []namespaceKind {
	var out []namespaceKind
	for _, k := range []struct {
		want bool
		kind namespaceKind
	}{{p.net, netNS}, {p.ipc, ipcNS}, {p.uts, utsNS}} {
		if k.want {
			out = append(out, k.kind)
		}
	}
	return out
}

// make makes the namespaces on a thread that leaves the program's, and comes back. A thread that
// cannot come back ends with its goroutine.
func (p podNamespaces) make() error {
	if len(p.kinds()) == 0 {
		return nil
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := openNamespaces(p.kinds())
		if err != nil {
			runtime.UnlockOSThread()
			result <- err
			return
		}
		err = p.unshare()
		if errBack := home.enter(); errBack == nil {
			runtime.UnlockOSThread()
		}
		home.close()
		result <- err
	}()
	return <-result
}

func (p podNamespaces) unshare() error {
	flags := 0
	for _, k := range p.kinds() {
		flags |= k.flag
	}
	if err := unix.Unshare(flags); err != nil {
		return fmt.Errorf("make the pod's namespaces: %w", err)
	}
	if p.uts && p.hostname != "" {
		if err := unix.Sethostname([]byte(p.hostname)); err != nil {
			return fmt.Errorf("set the host name %q: %w", p.hostname, err)
		}
	}
	for name, value := range p.sysctls {
		if err := p.setSysctl(name, value); err != nil {
			return fmt.Errorf("set sysctl %s=%s: %w", name, value, err)
		}
	}
	for _, k := range p.kinds() {
		file := filepath.Join(p.dir, k.name)
		if err := os.WriteFile(file, nil, 0o400); err != nil {
			return err
		}
		if err := unix.Mount("/proc/thread-self/ns/"+k.name, file, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("hold the pod's %s namespace: %w", k.name, err)
		}
	}
	return nil
}

// setSysctl refuses what would change the node: only the pod's own namespaces may be touched.
func (p podNamespaces) setSysctl(name, value string) error {
	file := strings.ReplaceAll(name, ".", "/")
	if strings.Contains(name, "/") { // the other notation, with dots within names of devices
		file = name
	}
	file = filepath.Clean("/" + file)
	ipc := strings.HasPrefix(file, "/kernel/shm") || strings.HasPrefix(file, "/kernel/msg") ||
		file == "/kernel/sem" || strings.HasPrefix(file, "/fs/mqueue/")
	net := strings.HasPrefix(file, "/net/")
	if !(ipc && p.ipc) && !(net && p.net) {
		return errors.New("it is not one of the pod's own namespaces: only net.*, kernel.shm*, kernel.msg*, kernel.sem and fs.mqueue.* can be set, and none of a namespace shared with the node")
	}
	f, err := os.OpenFile(filepath.Join("/proc/sys", file), os.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}

// threadNamespaces are open files of a thread's namespaces.
type threadNamespaces struct {
	kinds []namespaceKind
	fds   []int
}

func openNamespaces(kinds []namespaceKind) (*threadNamespaces, error) {
	t := &threadNamespaces{}
	for _, k := range kinds {
		fd, err := unix.Open("/proc/thread-self/ns/"+k.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.close()
			return nil, fmt.Errorf("open this thread's %s namespace: %w", k.name, err)
		}
		t.kinds, t.fds = append(t.kinds, k), append(t.fds, fd)
	}
	return t, nil
}

func (t *threadNamespaces) enter() error {
	for i, fd := range t.fds {
		if err := unix.Setns(fd, t.kinds[i].flag); err != nil {
			return err
		}
	}
	return nil
}

func (t *threadNamespaces) close() {
	for _, fd := range t.fds {
		unix.Close(fd)
	}
}
