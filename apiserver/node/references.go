package node

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/storage/ephemeral"
)

// references returns the objects that a pod's node needs for it, each once. A mirror pod has none: a node makes those
// itself, and must not come to see by them what it could not see before.
func references(p *corev1.Pod) []object {
	if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return nil
	}
	var out []object
	add := func(kind objectKind, name string) {
		if name != "" {
			out = append(out, object{kind, p.Namespace, name})
		}
	}
	add(serviceAccount, p.Spec.ServiceAccountName)
	eachSecret(&p.Spec, func(name string) { add(secret, name) })
	eachConfigMap(&p.Spec, func(name string) { add(configMap, name) })
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		switch {
		case v.PersistentVolumeClaim != nil:
			add(claim, v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			add(claim, ephemeral.VolumeClaimName(p, v))
		}
	}
	eachResourceClaim(p, func(name string) { add(resourceClaim, name) })
	slices.SortFunc(out, func(a, b object) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name))
	})
	return slices.Clip(slices.Compact(out))
}

// hasClaims tells whether the objects that a pod refers to may change with its status.
func hasClaims(p *corev1.Pod) bool {
	return len(p.Spec.ResourceClaims) > 0 || p.Status.ExtendedResourceClaimStatus != nil
}

// eachResourceClaim visits the names of those resource claims of a pod that exist.
func eachResourceClaim(p *corev1.Pod, visit func(string)) {
	for i := range p.Spec.ResourceClaims {
		c := &p.Spec.ResourceClaims[i]
		switch {
		case c.ResourceClaimName != nil:
			visit(*c.ResourceClaimName)
		case c.ResourceClaimTemplateName != nil:
			for j := range p.Status.ResourceClaimStatuses {
				if s := &p.Status.ResourceClaimStatuses[j]; s.Name == c.Name {
					if s.ResourceClaimName != nil {
						visit(*s.ResourceClaimName)
					}
					break
				}
			}
		}
	}
	if s := p.Status.ExtendedResourceClaimStatus; s != nil {
		visit(s.ResourceClaimName)
	}
}

// eachEnv visits the environment of each container of a pod.
func eachEnv(spec *corev1.PodSpec, visit func(from []corev1.EnvFromSource, env []corev1.EnvVar)) {
	for i := range spec.InitContainers {
		visit(spec.InitContainers[i].EnvFrom, spec.InitContainers[i].Env)
	}
	for i := range spec.Containers {
		visit(spec.Containers[i].EnvFrom, spec.Containers[i].Env)
	}
	for i := range spec.EphemeralContainers {
		visit(spec.EphemeralContainers[i].EnvFrom, spec.EphemeralContainers[i].Env)
	}
}

// eachSecret visits the names of the Secrets that a pod refers to itself.
func eachSecret(spec *corev1.PodSpec, visit func(string)) {
	for _, ref := range spec.ImagePullSecrets {
		visit(ref.Name)
	}
	eachEnv(spec, func(from []corev1.EnvFromSource, env []corev1.EnvVar) {
		for i := range from {
			if ref := from[i].SecretRef; ref != nil {
				visit(ref.Name)
			}
		}
		for i := range env {
			if v := env[i].ValueFrom; v != nil && v.SecretKeyRef != nil {
				visit(v.SecretKeyRef.Name)
			}
		}
	})
	for i := range spec.Volumes {
		volumeSourceSecrets(&spec.Volumes[i].VolumeSource, visit)
	}
}

func volumeSourceSecrets(v *corev1.VolumeSource, visit func(string)) {
	var ref *corev1.LocalObjectReference
	switch {
	case v.AzureFile != nil:
		visit(v.AzureFile.SecretName)
	case v.CephFS != nil:
		ref = v.CephFS.SecretRef
	case v.Cinder != nil:
		ref = v.Cinder.SecretRef
	case v.FlexVolume != nil:
		ref = v.FlexVolume.SecretRef
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			if s := v.Projected.Sources[i].Secret; s != nil {
				visit(s.Name)
			}
		}
	case v.RBD != nil:
		ref = v.RBD.SecretRef
	case v.Secret != nil:
		visit(v.Secret.SecretName)
	case v.ScaleIO != nil:
		ref = v.ScaleIO.SecretRef
	case v.ISCSI != nil:
		ref = v.ISCSI.SecretRef
	case v.StorageOS != nil:
		ref = v.StorageOS.SecretRef
	case v.CSI != nil:
		ref = v.CSI.NodePublishSecretRef
	}
	if ref != nil {
		visit(ref.Name)
	}
}

// eachConfigMap visits the names of the ConfigMaps that a pod refers to.
func eachConfigMap(spec *corev1.PodSpec, visit func(string)) {
	eachEnv(spec, func(from []corev1.EnvFromSource, env []corev1.EnvVar) {
		for i := range from {
			if ref := from[i].ConfigMapRef; ref != nil {
				visit(ref.Name)
			}
		}
		for i := range env {
			if v := env[i].ValueFrom; v != nil && v.ConfigMapKeyRef != nil {
				visit(v.ConfigMapKeyRef.Name)
			}
		}
	})
	for i := range spec.Volumes {
		switch v := &spec.Volumes[i]; {
		case v.Projected != nil:
			for j := range v.Projected.Sources {
				if s := v.Projected.Sources[j].ConfigMap; s != nil {
					visit(s.Name)
				}
			}
		case v.ConfigMap != nil:
			visit(v.ConfigMap.Name)
		}
	}
}

// volumeSecrets returns the Secrets that a node needs for a volume, each once; those that only controllers need are
// not among them.
func volumeSecrets(pv *corev1.PersistentVolume) []object {
	var out []object
	add := func(namespace, name string) {
		if o := (object{secret, namespace, name}); name != "" && !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	// Volumes from before secrets had a namespace mean that of their claim.
	own := func(ref *corev1.SecretReference) {
		if ref != nil {
			add(cmp.Or(ref.Namespace, pv.Spec.ClaimRef.Namespace), ref.Name)
		}
	}
	named := func(ref *corev1.SecretReference) {
		if ref != nil {
			add(ref.Namespace, ref.Name)
		}
	}
	switch v := &pv.Spec.PersistentVolumeSource; {
	case v.AzureFile != nil:
		namespace := pv.Spec.ClaimRef.Namespace
		if n := v.AzureFile.SecretNamespace; n != nil && *n != "" {
			namespace = *n
		}
		add(namespace, v.AzureFile.SecretName)
	case v.CephFS != nil:
		own(v.CephFS.SecretRef)
	case v.Cinder != nil:
		named(v.Cinder.SecretRef)
	case v.FlexVolume != nil:
		own(v.FlexVolume.SecretRef)
	case v.RBD != nil:
		own(v.RBD.SecretRef)
	case v.ScaleIO != nil:
		own(v.ScaleIO.SecretRef)
	case v.ISCSI != nil:
		own(v.ISCSI.SecretRef)
	case v.StorageOS != nil && v.StorageOS.SecretRef != nil:
		add(v.StorageOS.SecretRef.Namespace, v.StorageOS.SecretRef.Name)
	case v.CSI != nil:
		named(v.CSI.NodePublishSecretRef)
		named(v.CSI.NodeStageSecretRef)
		named(v.CSI.NodeExpandSecretRef)
	}
	return out
}
