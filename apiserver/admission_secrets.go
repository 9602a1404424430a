package apiserver

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// mirrorReferences refuses what pods made by a kubelet from its own files may not name.
func mirrorReferences(pod *corev1.Pod) error {
	if pod.Spec.ServiceAccountName != "" {
		return errors.New("a mirror pod may not reference service accounts")
	}
	if len(podSecrets(pod)) > 0 {
		return errors.New("a mirror pod may not reference secrets")
	}
	for _, v := range pod.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, src := range v.Projected.Sources {
			if src.ServiceAccountToken != nil {
				return errors.New("a mirror pod may not use ServiceAccountToken volume projections")
			}
		}
	}
	return nil
}

// podSecrets returns the names of the Secrets that a pod mentions.
func podSecrets(pod *corev1.Pod) []string {
	var names []string
	add := func(name string) {
		if name != "" {
			names = append(names, name)
		}
	}
	for _, ref := range pod.Spec.ImagePullSecrets {
		add(ref.Name)
	}
	eachContainer(&pod.Spec, func(_ string, c *corev1.Container) {
		for _, e := range c.EnvFrom {
			if e.SecretRef != nil {
				add(e.SecretRef.Name)
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				add(e.ValueFrom.SecretKeyRef.Name)
			}
		}
	})
	for i := range pod.Spec.Volumes {
		for _, name := range volumeSecrets(&pod.Spec.Volumes[i].VolumeSource) {
			add(name)
		}
	}
	return names
}

// volumeSecrets returns the names of the Secrets that a volume mentions, "" among them.
func volumeSecrets(v *corev1.VolumeSource) []string {
	ref := func(r *corev1.LocalObjectReference) []string {
		if r == nil {
			return nil
		}
		return []string{r.Name}
	}
	switch {
	case v.AzureFile != nil:
		return []string{v.AzureFile.SecretName}
	case v.CephFS != nil:
		return ref(v.CephFS.SecretRef)
	case v.Cinder != nil:
		return ref(v.Cinder.SecretRef)
	case v.FlexVolume != nil:
		return ref(v.FlexVolume.SecretRef)
	case v.Projected != nil:
		var names []string
		for _, src := range v.Projected.Sources {
			if src.Secret != nil {
				names = append(names, src.Secret.Name)
			}
		}
		return names
	case v.RBD != nil:
		return ref(v.RBD.SecretRef)
	case v.Secret != nil:
		return []string{v.Secret.SecretName}
	case v.ScaleIO != nil:
		return ref(v.ScaleIO.SecretRef)
	case v.ISCSI != nil:
		return ref(v.ISCSI.SecretRef)
	case v.StorageOS != nil:
		return ref(v.StorageOS.SecretRef)
	case v.CSI != nil:
		return ref(v.CSI.NodePublishSecretRef)
	}
	return nil
}

// eachContainer calls f for a pod's init, ordinary and ephemeral containers; what is "init container ",
// "container " or "ephemeral container ".
func eachContainer(spec *corev1.PodSpec, f func(what string, c *corev1.Container)) {
	for i := range spec.InitContainers {
		f("init container", &spec.InitContainers[i])
	}
	for i := range spec.Containers {
		f("container", &spec.Containers[i])
	}
	for i := range spec.EphemeralContainers {
		c := corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
		f("ephemeral container", &c)
	}
}

// mountableSecrets keeps pods to the Secrets that their account names, where the account wants that.
func mountableSecrets(sa *corev1.ServiceAccount, pod *corev1.Pod) error {
	enforced, _ := strconv.ParseBool(sa.Annotations["kubernetes.io/enforce-mountable-secrets"])
	if !enforced {
		return nil
	}
	mountable := func(name string) bool {
		return slices.ContainsFunc(sa.Secrets, func(r corev1.ObjectReference) bool { return r.Name == name })
	}
	for _, v := range pod.Spec.Volumes {
		if v.Secret != nil && !mountable(v.Secret.SecretName) {
			return fmt.Errorf("volume with secret.secretName=%q is not allowed because service account %s does not reference that secret", v.Secret.SecretName, sa.Name)
		}
	}
	var err error
	eachContainer(&pod.Spec, func(what string, c *corev1.Container) {
		if err == nil {
			err = mountableEnv(sa.Name, what, c, mountable)
		}
	})
	if err != nil {
		return err
	}
	for i, ref := range pod.Spec.ImagePullSecrets {
		if !slices.Contains(sa.ImagePullSecrets, ref) {
			return fmt.Errorf("imagePullSecrets[%d].name=%q is not allowed because service account %s does not reference that imagePullSecret", i, ref.Name, sa.Name)
		}
	}
	return nil
}

func mountableEnv(account, what string, c *corev1.Container, mountable func(string) bool) error {
	for _, env := range c.Env {
		if env.ValueFrom != nil && env.ValueFrom.SecretKeyRef != nil && !mountable(env.ValueFrom.SecretKeyRef.Name) {
			return fmt.Errorf("%s %s with envVar %s referencing secret.secretName=%q is not allowed because service account %s does not reference that secret",
				what, c.Name, env.Name, env.ValueFrom.SecretKeyRef.Name, account)
		}
	}
	for _, env := range c.EnvFrom {
		if env.SecretRef != nil && !mountable(env.SecretRef.Name) {
			return fmt.Errorf("%s %s with envFrom referencing secret.secretName=%q is not allowed because service account %s does not reference that secret",
				what, c.Name, env.SecretRef.Name, account)
		}
	}
	return nil
}
