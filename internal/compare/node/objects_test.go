package node

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// pod is a random pod that may refer to anything.
func (w *graphWorld) pod(namespace, name string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: w.uid()}}
	if !w.one(3) {
		p.Spec.NodeName = w.pick(nodeNames)
	}
	if w.one(6) {
		p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "m"}
	}
	if w.one(2) {
		p.Spec.ServiceAccountName = w.pick(names)
	}
	if w.one(4) {
		p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: w.pick(names)}, {}}
	}
	for range w.IntN(2) {
		p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{EnvFrom: w.envFrom()})
	}
	for range w.IntN(2) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{EnvFrom: w.envFrom(), Env: w.env()})
	}
	for range w.IntN(3) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: w.pick(names), VolumeSource: w.source()})
	}
	if w.one(3) {
		p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "c1", ResourceClaimName: ptr.To(w.pick(names))}, {Name: "c2", ResourceClaimTemplateName: ptr.To("t")}, {Name: "c3"}}
		w.claimStatuses(p)
	}
	return p
}

func (w *graphWorld) claimStatuses(p *corev1.Pod) {
	p.Status.ResourceClaimStatuses, p.Status.ExtendedResourceClaimStatus = nil, nil
	switch w.IntN(4) {
	case 0:
		p.Status.ResourceClaimStatuses = []corev1.PodResourceClaimStatus{{Name: "c2"}}
	case 1, 2:
		p.Status.ResourceClaimStatuses = []corev1.PodResourceClaimStatus{{Name: "c1", ResourceClaimName: ptr.To(w.pick(names))}, {Name: "c2", ResourceClaimName: ptr.To(w.pick(names))}}
	}
	if w.one(3) {
		p.Status.ExtendedResourceClaimStatus = &corev1.PodExtendedResourceClaimStatus{ResourceClaimName: w.pick([]string{"", "x", "y"})}
	}
}

func (w *graphWorld) envFrom() []corev1.EnvFromSource {
	ref := corev1.LocalObjectReference{Name: w.pick(names)}
	return [][]corev1.EnvFromSource{
		nil, {{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}}}, {{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref}}},
	}[w.IntN(3)]
}

func (w *graphWorld) env() []corev1.EnvVar {
	ref := corev1.LocalObjectReference{Name: w.pick(names)}
	return [][]corev1.EnvVar{
		nil, {{Value: "v"}, {ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref}}}},
		{{ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref}}}},
	}[w.IntN(3)]
}

// source is a random source of a pod's volume.
func (w *graphWorld) source() corev1.VolumeSource {
	ref := &corev1.LocalObjectReference{Name: w.pick(names)}
	if w.one(8) {
		ref = nil
	}
	name := w.pick(names)
	all := []corev1.VolumeSource{
		{AzureFile: &corev1.AzureFileVolumeSource{SecretName: name}}, {CephFS: &corev1.CephFSVolumeSource{SecretRef: ref}},
		{Cinder: &corev1.CinderVolumeSource{SecretRef: ref}}, {FlexVolume: &corev1.FlexVolumeSource{SecretRef: ref}},
		{RBD: &corev1.RBDVolumeSource{SecretRef: ref}}, {Secret: &corev1.SecretVolumeSource{SecretName: name}},
		{ScaleIO: &corev1.ScaleIOVolumeSource{SecretRef: ref}}, {ISCSI: &corev1.ISCSIVolumeSource{SecretRef: ref}},
		{StorageOS: &corev1.StorageOSVolumeSource{SecretRef: ref}}, {CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: ref}},
		{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}},
		{HostPath: &corev1.HostPathVolumeSource{}}, {EmptyDir: &corev1.EmptyDirVolumeSource{}},
		{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: name}}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: w.pick(names)}}}}}},
	}
	if w.one(2) { // claims lead on
		if w.one(3) {
			return corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{}}}
		}
		return corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}
	}
	return all[w.IntN(len(all))]
}

// volume is a random volume.
func (w *graphWorld) volume(name string) *corev1.PersistentVolume {
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if w.one(6) {
		return pv
	}
	claim := w.pick(names)
	if w.one(3) {
		claim = w.pick(names) + "-" + w.pick(names) // of an ephemeral volume
	}
	pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: w.pick(namespaces), Name: claim}
	ref := func() *corev1.SecretReference {
		if w.one(6) {
			return nil
		}
		return &corev1.SecretReference{Namespace: w.pick([]string{"", "a", "b"}), Name: w.pick([]string{"", "x", "y"})}
	}
	all := []corev1.PersistentVolumeSource{
		{AzureFile: &corev1.AzureFilePersistentVolumeSource{SecretName: w.pick(names)}},
		{AzureFile: &corev1.AzureFilePersistentVolumeSource{SecretName: w.pick(names), SecretNamespace: ptr.To(w.pick([]string{"", "a"}))}},
		{CephFS: &corev1.CephFSPersistentVolumeSource{SecretRef: ref()}}, {Cinder: &corev1.CinderPersistentVolumeSource{SecretRef: ref()}},
		{FlexVolume: &corev1.FlexPersistentVolumeSource{SecretRef: ref()}}, {RBD: &corev1.RBDPersistentVolumeSource{SecretRef: ref()}},
		{ScaleIO: &corev1.ScaleIOPersistentVolumeSource{SecretRef: ref()}}, {ISCSI: &corev1.ISCSIPersistentVolumeSource{SecretRef: ref()}},
		{StorageOS: &corev1.StorageOSPersistentVolumeSource{SecretRef: &corev1.ObjectReference{Namespace: w.pick(namespaces), Name: w.pick(names)}}},
		{CSI: &corev1.CSIPersistentVolumeSource{NodePublishSecretRef: ref(), NodeStageSecretRef: ref(), NodeExpandSecretRef: ref(), ControllerPublishSecretRef: ref(), ControllerExpandSecretRef: ref()}},
		{NFS: &corev1.NFSVolumeSource{}},
	}
	pv.Spec.PersistentVolumeSource = all[w.IntN(len(all))]
	return pv
}
