package runc

import (
	"errors"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// initCalled is a fact about the process, not about a Runtime: whether a copy of it would find its
// way into Init.
var initCalled atomic.Bool

// mainThreadHeld tells that no goroutine but main's runs on the process's first thread.
var mainThreadHeld atomic.Bool

// Init must be the first call of main in every program that uses this package:
//
//	func main() {
//		runc.Init()
//		...
//
// (In a test: of TestMain.) A container starts as a copy of the program, which sets the container
// up and then becomes the container's command. In that copy Init does not return. In the program
// itself it returns at once. Open refuses to work if Init was not called, because each container
// would start the program anew.
//
// Init ties the goroutine that calls it, main's, to the process's first thread. libcontainer moves
// threads into containers and lets them end there, but the first thread of a Go program never ends:
// it would stay, and keep the container's mounts with it. Main should do no more than start things
// and wait; a program that does heavy work does it in other goroutines.
//
// What a program does before main, in variables' initializers and init functions, it does for each
// container, too: keep it short.
func Init() {
	runtime.LockOSThread()
	initCalled.Store(true)
	mainThreadHeld.Store(unix.Gettid() == unix.Getpid())
	if len(os.Args) != 2 || os.Args[1] != "init" || os.Getenv("_LIBCONTAINER_INITPIPE") == "" {
		return
	}
	// Dies with the thread of the program that started it. The thread lives as long as the
	// program, see starters.
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	libcontainer.Init()
}

func checkProgram() error {
	if !cgoEnabled {
		return errors.New("runc: this program was built without cgo, which entering a container's namespaces needs: build it with CGO_ENABLED=1 and a C compiler, or use the process runtime")
	}
	if !initCalled.Load() {
		return errors.New("runc: call runc.Init() as the first statement of the program's main: containers start as a copy of the program that must find its way there")
	}
	if !mainThreadHeld.Load() {
		return errors.New("runc: runc.Init() must be called by main's own goroutine, as the first statement")
	}
	if os.Geteuid() != 0 {
		return errors.New("runc: containers need root: run the program as root, or use the process runtime")
	}
	return nil
}
