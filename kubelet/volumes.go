package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	corev1 "k8s.io/api/core/v1"
)

// volumes sets up the volumes of pods below one folder.
type volumes struct {
	dir string // of all pods
	src sources
	// privileged tells that file systems can be mounted.
	privileged bool
}

func (v *volumes) podDir(uid string) string { return filepath.Join(v.dir, uid) }

// path is where a volume is, in the kubelet's layout, and whether this kubelet makes it.
func (v *volumes) path(uid string, vol *corev1.Volume) string {
	if vol.HostPath != nil {
		return vol.HostPath.Path
	}
	kind := map[bool]string{vol.EmptyDir != nil: "empty-dir", vol.ConfigMap != nil: "configmap",
		vol.Secret != nil: "secret", vol.DownwardAPI != nil: "downward-api", vol.Projected != nil: "projected"}[true]
	return filepath.Join(v.podDir(uid), "volumes", "kubernetes.io~"+kind, vol.Name)
}

// setUp makes all volumes of a pod, or brings those of them up to date that are made from API
// objects. The error names the volume.
func (v *volumes) setUp(ctx context.Context, f podFacts) error {
	var errs []error
	for i := range f.Pod.Spec.Volumes {
		vol := &f.Pod.Spec.Volumes[i]
		if err := v.setUpOne(ctx, f, vol); err != nil {
			errs = append(errs, fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", vol.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (v *volumes) setUpOne(ctx context.Context, f podFacts, vol *corev1.Volume) error {
	path, gid := v.path(string(f.Pod.UID), vol), fsGroupOf(f.Pod)
	switch {
	case vol.EmptyDir != nil:
		return v.emptyDir(path, vol.EmptyDir, gid)
	case vol.HostPath != nil:
		return hostPath(vol.HostPath)
	}
	files, ok, err := volumeFiles(ctx, v.src, f, vol)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("volume type %s is not supported by this kubelet", volumeType(vol))
	}
	if v.privileged && vol.Secret != nil {
		if err := v.tmpfs(path, 0); err != nil { // secrets are not written to disk
			return err
		}
	}
	if gid >= 0 {
		files.readable()
	}
	changed, err := writeAtomic(path, files)
	if err != nil || gid < 0 || !changed {
		return err
	}
	return giveToGroup(path, gid, false)
}

// volumeType names the source that a volume has.
func volumeType(vol *corev1.Volume) string {
	src := reflect.ValueOf(vol.VolumeSource)
	for i := range src.NumField() {
		if !src.Field(i).IsNil() {
			return src.Type().Field(i).Name
		}
	}
	return "(none)"
}

// emptyDir makes an empty folder once; what the pod did to it since stays.
func (v *volumes) emptyDir(path string, e *corev1.EmptyDirVolumeSource, gid int) error {
	memory := e.Medium == corev1.StorageMediumMemory && v.privileged
	if _, err := os.Stat(path); err == nil && (!memory || mounted(path)) {
		return nil
	}
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	if memory {
		var size int64
		if e.SizeLimit != nil {
			size = e.SizeLimit.Value()
		}
		if err := v.tmpfs(path, size); err != nil {
			return err
		}
	}
	if err := os.Chmod(path, 0o777); err != nil || gid < 0 { // whatever the umask is
		return err
	}
	return giveToGroup(path, gid, true)
}

// tmpfs mounts a file system in memory at path, unless one is there.
func (v *volumes) tmpfs(path string, size int64) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	if mounted(path) {
		return nil
	}
	return mountTmpfs(path, size)
}

// hostPath checks or makes a path of the node, after its type.
func hostPath(h *corev1.HostPathVolumeSource) error {
	kind := corev1.HostPathUnset
	if h.Type != nil {
		kind = *h.Type
	}
	info, err := os.Stat(h.Path)
	if errors.Is(err, os.ErrNotExist) {
		switch kind {
		case corev1.HostPathDirectoryOrCreate:
			return os.MkdirAll(h.Path, 0o755)
		case corev1.HostPathFileOrCreate:
			f, err := os.OpenFile(h.Path, os.O_CREATE|os.O_WRONLY, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		case corev1.HostPathUnset:
			return os.MkdirAll(h.Path, 0o750)
		}
		return fmt.Errorf("hostPath type check failed: %s is not a %s", h.Path, kindName(kind))
	}
	if err != nil {
		return err
	}
	m := info.Mode()
	ok := map[corev1.HostPathType]bool{
		corev1.HostPathUnset:             true,
		corev1.HostPathDirectoryOrCreate: m.IsDir(),
		corev1.HostPathDirectory:         m.IsDir(),
		corev1.HostPathFileOrCreate:      m.IsRegular(),
		corev1.HostPathFile:              m.IsRegular(),
		corev1.HostPathSocket:            m&fs.ModeSocket != 0,
		corev1.HostPathCharDev:           m&fs.ModeCharDevice != 0,
		corev1.HostPathBlockDev:          m&fs.ModeDevice != 0 && m&fs.ModeCharDevice == 0,
	}
	if !ok[kind] {
		return fmt.Errorf("hostPath type check failed: %s is not a %s", h.Path, kindName(kind))
	}
	return nil
}

func kindName(k corev1.HostPathType) string {
	switch k {
	case corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate:
		return "directory"
	case corev1.HostPathFile, corev1.HostPathFileOrCreate:
		return "file"
	case corev1.HostPathSocket:
		return "socket file"
	case corev1.HostPathCharDev:
		return "character device"
	default:
		return "block device"
	}
}

// tearDown unmounts and removes all that is below a pod's folder.
func (v *volumes) tearDown(uid string) error {
	dir := v.podDir(uid)
	if err := unmountBelow(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
