package kubelet

import (
	"context"
	"fmt"
	"io/fs"

	corev1 "k8s.io/api/core/v1"
)

// refreshable tells that a volume of the pod is made from API objects, which may change.
func refreshable(pod *corev1.Pod) bool {
	for _, v := range pod.Spec.Volumes {
		if v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil {
			return true
		}
	}
	return false
}

func modeOr(mode, def *int32) fs.FileMode {
	switch {
	case mode != nil:
		return fs.FileMode(*mode) & fs.ModePerm
	case def != nil:
		return fs.FileMode(*def) & fs.ModePerm
	default:
		return 0o644
	}
}

// volumeFiles returns the files of a volume that is made from API objects; ok is false for others.
func volumeFiles(ctx context.Context, src sources, f podFacts, v *corev1.Volume) (out payload, ok bool, err error) {
	out = payload{}
	ns := f.Pod.Namespace
	switch {
	case v.ConfigMap != nil:
		err = configMapFiles(ctx, src, ns, v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.DefaultMode, v.ConfigMap.Optional, out)
	case v.Secret != nil:
		err = secretFiles(ctx, src, ns, v.Secret.SecretName, v.Secret.Items, v.Secret.DefaultMode, v.Secret.Optional, out)
	case v.DownwardAPI != nil:
		err = downwardFiles(f, v.DownwardAPI.Items, v.DownwardAPI.DefaultMode, out)
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			if err = projectedFiles(ctx, src, f, &v.Projected.Sources[i], v.Projected.DefaultMode, out); err != nil {
				break
			}
		}
	default:
		return nil, false, nil
	}
	return out, true, err
}

func projectedFiles(ctx context.Context, src sources, f podFacts, s *corev1.VolumeProjection, mode *int32, out payload) error {
	ns := f.Pod.Namespace
	switch {
	case s.ConfigMap != nil:
		return configMapFiles(ctx, src, ns, s.ConfigMap.Name, s.ConfigMap.Items, mode, s.ConfigMap.Optional, out)
	case s.Secret != nil:
		return secretFiles(ctx, src, ns, s.Secret.Name, s.Secret.Items, mode, s.Secret.Optional, out)
	case s.DownwardAPI != nil:
		return downwardFiles(f, s.DownwardAPI.Items, mode, out)
	case s.ServiceAccountToken != nil:
		t := s.ServiceAccountToken
		life := int64(3600)
		if t.ExpirationSeconds != nil {
			life = *t.ExpirationSeconds
		}
		token, err := src.Token(ctx, f.Pod, t.Audience, life)
		if err != nil {
			return fmt.Errorf("failed to fetch token: %w", err)
		}
		out[t.Path] = file{[]byte(token), modeOr(nil, mode)}
		return nil
	default:
		return fmt.Errorf("this kubelet supports the projected sources configMap, secret, downwardAPI and serviceAccountToken only")
	}
}

func configMapFiles(ctx context.Context, src sources, ns, name string, items []corev1.KeyToPath, mode *int32, optional *bool, out payload) error {
	m, err := src.ConfigMap(ctx, ns, name)
	if missing(err, optional) {
		return nil
	}
	if err != nil {
		return refError("configmap", name, err)
	}
	data := make(map[string][]byte, len(m.Data)+len(m.BinaryData))
	for k, v := range m.Data {
		data[k] = []byte(v)
	}
	for k, v := range m.BinaryData {
		data[k] = v
	}
	return pick(data, items, mode, optional, out)
}

func secretFiles(ctx context.Context, src sources, ns, name string, items []corev1.KeyToPath, mode *int32, optional *bool, out payload) error {
	s, err := src.Secret(ctx, ns, name)
	if missing(err, optional) {
		return nil
	}
	if err != nil {
		return refError("secret", name, err)
	}
	return pick(s.Data, items, mode, optional, out)
}

// pick takes all keys, or the chosen ones under their paths.
func pick(data map[string][]byte, items []corev1.KeyToPath, mode *int32, optional *bool, out payload) error {
	if len(items) == 0 {
		for k, v := range data {
			out[k] = file{v, modeOr(nil, mode)}
		}
		return nil
	}
	for _, it := range items {
		v, ok := data[it.Key]
		if !ok {
			if optional != nil && *optional {
				continue
			}
			return fmt.Errorf("references non-existent config key: %s", it.Key)
		}
		out[it.Path] = file{v, modeOr(it.Mode, mode)}
	}
	return nil
}

func downwardFiles(f podFacts, items []corev1.DownwardAPIVolumeFile, mode *int32, out payload) error {
	for _, it := range items {
		var v string
		var err error
		switch {
		case it.FieldRef != nil:
			v, err = podField(f, it.FieldRef.FieldPath)
		case it.ResourceFieldRef != nil:
			c := findContainer(f.Pod, it.ResourceFieldRef.ContainerName)
			if c == nil {
				return fmt.Errorf("container %q of resourceFieldRef does not exist", it.ResourceFieldRef.ContainerName)
			}
			v, err = resourceField(f, c, it.ResourceFieldRef)
		}
		if err != nil {
			return err
		}
		out[it.Path] = file{[]byte(v), modeOr(it.Mode, mode)}
	}
	return nil
}
