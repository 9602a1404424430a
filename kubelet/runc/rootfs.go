package runc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mountRootFS stacks layers (the base first) below a writable directory, at dir/rootfs.
func mountRootFS(dir string, layers []string) (string, error) {
	root := filepath.Join(dir, "rootfs")
	upper, work := filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, d := range []string{root, upper, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return "", err
		}
	}
	err := mountOverlay(root, layers, upper, work)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		err = mountOverlayClassic(root, layers, upper, work)
	}
	if err != nil {
		return "", fmt.Errorf("mount the container's root file system (overlayfs; its directory must not itself be on an overlayfs, NFS or FUSE): %w", err)
	}
	return root, nil
}

// mountOverlay uses the mount API that takes one layer at a time (Linux 6.5), so that any number
// of layers fits.
func mountOverlay(target string, layers []string, upper, work string) error {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	for i := len(layers) - 1; i >= 0; i-- { // the top first
		if err := unix.FsconfigSetString(fs, "lowerdir+", layers[i]); err != nil {
			return os.NewSyscallError("fsconfig lowerdir+", err)
		}
	}
	if err := unix.FsconfigSetString(fs, "upperdir", upper); err != nil {
		return os.NewSyscallError("fsconfig upperdir", err)
	}
	if err := unix.FsconfigSetString(fs, "workdir", work); err != nil {
		return os.NewSyscallError("fsconfig workdir", err)
	}
	// Nothing needs a container's files after a crash: no syncing when it is unmounted.
	_ = unix.FsconfigSetFlag(fs, "volatile")
	if err := unix.FsconfigCreate(fs); err != nil {
		return os.NewSyscallError("fsconfig create", err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fsmount", err)
	}
	defer unix.Close(mnt)
	return os.NewSyscallError("move_mount", unix.MoveMount(mnt, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// mountOverlayClassic has to fit all names into one page.
func mountOverlayClassic(target string, layers []string, upper, work string) error {
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`)
	var lower []string
	for i := len(layers) - 1; i >= 0; i-- {
		lower = append(lower, escape.Replace(layers[i]))
	}
	data := "lowerdir=" + strings.Join(lower, ":") + ",upperdir=" + escape.Replace(upper) + ",workdir=" + escape.Replace(work)
	if len(data) >= os.Getpagesize() {
		return fmt.Errorf("%d layers with these names do not fit into one mount on this kernel: use Linux 6.5, or a directory with a shorter name", len(layers))
	}
	return os.NewSyscallError("mount", unix.Mount("overlay", target, "overlay", 0, data))
}
