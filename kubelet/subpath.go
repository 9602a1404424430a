package kubelet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// mount returns the mount for the i-th volumeMount of a container.
func (v *volumes) mount(pod *corev1.Pod, c *corev1.Container, i int, lookup func(string) (string, bool)) (Mount, error) {
	m := &c.VolumeMounts[i]
	out := Mount{ContainerPath: m.MountPath, ReadOnly: m.ReadOnly}
	if m.MountPropagation != nil && *m.MountPropagation != corev1.MountPropagationNone {
		out.Propagation = string(*m.MountPropagation)
	}
	var vol *corev1.Volume
	for j := range pod.Spec.Volumes {
		if pod.Spec.Volumes[j].Name == m.Name {
			vol = &pod.Spec.Volumes[j]
		}
	}
	if vol == nil {
		return out, fmt.Errorf("volumeMount %q of container %q names no volume of the pod", m.Name, c.Name)
	}
	out.HostPath = v.path(string(pod.UID), vol)
	if vol.ConfigMap != nil || vol.Secret != nil || vol.DownwardAPI != nil || vol.Projected != nil {
		out.ReadOnly = true
	}
	sub := m.SubPath
	if m.SubPathExpr != "" {
		sub = expand(m.SubPathExpr, lookup)
	}
	if sub == "" {
		return out, nil
	}
	var err error
	target := filepath.Join(v.podDir(string(pod.UID)), "volume-subpaths", m.Name, c.Name, strconv.Itoa(i))
	out.HostPath, err = v.subPath(out.HostPath, sub, target)
	if err != nil {
		return out, fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q: %w", m.Name, c.Name, err)
	}
	return out, nil
}

// subPath returns a path at which a file or folder of a volume is reached. Programs in the pod can
// change the volume at any time, so it is opened without following links out of the volume, and
// where mounts are possible what was opened is mounted at target, which they can't reach.
func (v *volumes) subPath(volume, sub, target string) (string, error) {
	if !filepath.IsLocal(sub) {
		return "", fmt.Errorf("subPath %q must be relative and stay in the volume", sub)
	}
	root, err := os.OpenRoot(volume)
	if err != nil {
		return "", err
	}
	defer root.Close()
	f, err := root.Open(sub)
	if errors.Is(err, fs.ErrNotExist) {
		if err = root.MkdirAll(sub, 0o750); err != nil {
			return "", err
		}
		f, err = root.Open(sub)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if !v.privileged {
		return filepath.EvalSymlinks(filepath.Join(volume, sub))
	}
	if mounted(target) {
		if err := unmountBelow(target); err != nil {
			return "", err
		}
	}
	return target, bindFile(f, target)
}
