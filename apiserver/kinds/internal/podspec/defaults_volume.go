package podspec

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
)

const hour = int64(3600)

func defaultVolume(v *corev1.Volume) {
	if v.VolumeSource == (corev1.VolumeSource{}) {
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	if v.HostPath != nil {
		fill.Nil(&v.HostPath.Type, corev1.HostPathUnset)
	}
	if v.Secret != nil {
		fill.Nil(&v.Secret.DefaultMode, corev1.SecretVolumeSourceDefaultMode)
	}
	if v.ConfigMap != nil {
		fill.Nil(&v.ConfigMap.DefaultMode, corev1.ConfigMapVolumeSourceDefaultMode)
	}
	if v.DownwardAPI != nil {
		fill.Nil(&v.DownwardAPI.DefaultMode, corev1.DownwardAPIVolumeSourceDefaultMode)
		defaultDownward(v.DownwardAPI.Items)
	}
	if v.Projected != nil {
		fill.Nil(&v.Projected.DefaultMode, corev1.ProjectedVolumeSourceDefaultMode)
		defaultProjections(v.Projected.Sources)
	}
	if v.Image != nil {
		fill.Empty(&v.Image.PullPolicy, pullPolicy(v.Image.Reference))
	}
	if v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil {
		DefaultClaimSpec(&v.Ephemeral.VolumeClaimTemplate.Spec)
	}
	defaultNetworkVolume(&v.VolumeSource)
}

func defaultProjections(sources []corev1.VolumeProjection) {
	for i := range sources {
		if d := sources[i].DownwardAPI; d != nil {
			defaultDownward(d.Items)
		}
		if t := sources[i].ServiceAccountToken; t != nil {
			fill.Nil(&t.ExpirationSeconds, hour)
		}
	}
}

func defaultDownward(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		defaultFieldRef(items[i].FieldRef)
	}
}

func defaultNetworkVolume(v *corev1.VolumeSource) {
	if v.ISCSI != nil {
		fill.Empty(&v.ISCSI.ISCSIInterface, "default")
	}
	if v.RBD != nil {
		defaultRBD(&v.RBD.RBDPool, &v.RBD.RadosUser, &v.RBD.Keyring)
	}
	if v.AzureDisk != nil {
		defaultAzureDisk(v.AzureDisk)
	}
	if v.ScaleIO != nil {
		defaultScaleIO(&v.ScaleIO.StorageMode, &v.ScaleIO.FSType)
	}
}

func defaultRBD(pool, user, keyring *string) {
	fill.Empty(pool, "rbd")
	fill.Empty(user, "admin")
	fill.Empty(keyring, "/etc/ceph/keyring")
}

func defaultAzureDisk(s *corev1.AzureDiskVolumeSource) {
	fill.Nil(&s.CachingMode, corev1.AzureDataDiskCachingReadWrite)
	fill.Nil(&s.FSType, "ext4")
	fill.Nil(&s.ReadOnly, false)
	fill.Nil(&s.Kind, corev1.AzureSharedBlobDisk)
}

func defaultScaleIO(mode, fsType *string) {
	fill.Empty(mode, "ThinProvisioned")
	fill.Empty(fsType, "xfs")
}
