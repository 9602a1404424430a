package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// volumes warns of kinds of volumes that are no more, and of files that are in each other's way.
func (w *warner) volumes() {
	for i := range w.spec.Volumes {
		v := &w.spec.Volumes[i]
		path := w.path.Child("volumes").Index(i)
		for _, old := range []struct {
			used       bool
			name, text string
		}{
			{v.PhotonPersistentDisk != nil, "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"},
			{v.GitRepo != nil, "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"},
			{v.ScaleIO != nil, "scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
			{v.Flocker != nil, "flocker", "deprecated in v1.22, non-functional in v1.25+"},
			{v.StorageOS != nil, "storageOS", "deprecated in v1.22, non-functional in v1.25+"},
			{v.Quobyte != nil, "quobyte", "deprecated in v1.22, non-functional in v1.25+"},
			{v.Glusterfs != nil, "glusterfs", "deprecated in v1.25, non-functional in v1.26+"},
			{v.CephFS != nil, "cephfs", "deprecated in v1.28, non-functional in v1.31+"},
			{v.RBD != nil, "rbd", "deprecated in v1.28, non-functional in v1.31+"},
		} {
			if old.used {
				w.add(path.Child(old.name), "%s", old.text)
			}
		}
		if e := v.Ephemeral; e != nil && e.VolumeClaimTemplate != nil {
			w.out = append(w.out, ClaimWarnings(&e.VolumeClaimTemplate.Spec, path.Child("ephemeral", "volumeClaimTemplate", "spec"))...)
		}
	}
	for i := range w.spec.Volumes {
		w.overlaps(&w.spec.Volumes[i])
	}
}

// placedFile is a file of a volume, and what it comes from.
type placedFile struct{ path, source string }

func (f placedFile) String() string {
	if f.source == "" {
		return fmt.Sprintf("%q", f.path)
	}
	return fmt.Sprintf("%q (%s)", f.path, f.source)
}

func keyFiles(items []corev1.KeyToPath, source string) (out []placedFile) {
	for _, item := range items {
		out = append(out, placedFile{item.Path, source})
	}
	return out
}

func fieldFiles(items []corev1.DownwardAPIVolumeFile, source string) (out []placedFile) {
	for _, item := range items {
		out = append(out, placedFile{item.Path, source})
	}
	return out
}

func (w *warner) overlaps(v *corev1.Volume) {
	if v.ConfigMap != nil {
		w.overlapping(v.Name, fmt.Sprintf("ConfigMap %q", v.ConfigMap.Name), keyFiles(v.ConfigMap.Items, ""))
	}
	if v.Secret != nil {
		w.overlapping(v.Name, fmt.Sprintf("Secret %q", v.Secret.SecretName), keyFiles(v.Secret.Items, ""))
	}
	if v.DownwardAPI != nil {
		w.overlapping(v.Name, "DownwardAPI", fieldFiles(v.DownwardAPI.Items, ""))
	}
	if v.Projected == nil {
		return
	}
	var files []placedFile
	for i := range v.Projected.Sources {
		s := &v.Projected.Sources[i]
		if *s == (corev1.VolumeProjection{}) {
			w.out = append(w.out, fmt.Sprintf("volume %q (Projected) has no sources provided", v.Name))
		}
		files = append(files, projectedFiles(s)...)
	}
	w.overlapping(v.Name, "Projected", files)
}

func projectedFiles(s *corev1.VolumeProjection) (out []placedFile) {
	switch {
	case s.ConfigMap != nil && s.ConfigMap.Items != nil:
		return keyFiles(s.ConfigMap.Items, fmt.Sprintf("ConfigMap %q", s.ConfigMap.Name))
	case s.Secret != nil && s.Secret.Items != nil:
		return keyFiles(s.Secret.Items, fmt.Sprintf("Secret %q", s.Secret.Name))
	case s.DownwardAPI != nil && s.DownwardAPI.Items != nil:
		return fieldFiles(s.DownwardAPI.Items, "DownwardAPI")
	case s.ServiceAccountToken != nil:
		return []placedFile{{s.ServiceAccountToken.Path, "ServiceAccountToken"}}
	case s.ClusterTrustBundle != nil:
		name := ptr.Deref(s.ClusterTrustBundle.Name, ptr.Deref(s.ClusterTrustBundle.SignerName, ""))
		return []placedFile{{s.ClusterTrustBundle.Path, fmt.Sprintf("ClusterTrustBundle %q", name)}}
	case s.PodCertificate != nil:
		c := s.PodCertificate
		for _, f := range []placedFile{{c.CertificateChainPath, "PodCertificate chain"}, {c.KeyPath, "PodCertificate key"},
			{c.CredentialBundlePath, "PodCertificate credential bundle"}} {
			if f.path != "" {
				out = append(out, f)
			}
		}
	}
	return out
}

// overlapping warns of files of a volume of which one is, or is in, the place of another.
func (w *warner) overlapping(volume, kind string, files []placedFile) {
	for i := range files {
		files[i].path = strings.TrimRight(files[i].path, "/")
		for _, other := range files[:i] {
			a, b := files[i].path, other.path
			if a != "" && b != "" && (strings.HasPrefix(a+"/", b+"/") || strings.HasPrefix(b+"/", a+"/")) {
				w.out = append(w.out, fmt.Sprintf("volume %q (%s): overlapping paths: %s with %s", volume, kind, files[i], other))
			}
		}
	}
}
