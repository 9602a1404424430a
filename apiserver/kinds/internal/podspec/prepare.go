package podspec

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DropDisabled clears the fields that Kubernetes 1.37 has but does not use by default. It keeps schedulingGroup,
// of the feature gate GenericWorkload, as the PodGroups that it names are served.
func DropDisabled(s *corev1.PodSpec) {
	s.EvictionResponders = nil
	for i := range s.Volumes {
		dropVolumeFields(&s.Volumes[i].VolumeSource)
	}
	EachContainer(s, dropContainerFields)
}

func dropContainerFields(c *corev1.Container) {
	for i := range c.VolumeMounts {
		c.VolumeMounts[i].BindMountOptions = nil
	}
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p != nil && p.HTTPGet != nil {
			p.HTTPGet.Protocol = nil
		}
		if p != nil && p.GRPC != nil {
			p.GRPC.Mode = nil
		}
	}
	l := c.Lifecycle
	if l == nil {
		return
	}
	for _, h := range []*corev1.LifecycleHandler{l.PostStart, l.PreStop} {
		if h != nil && h.HTTPGet != nil {
			h.HTTPGet.Protocol = nil
		}
	}
	if l.StopSignal != nil {
		l.StopSignal = nil
		if *l == (corev1.Lifecycle{}) {
			c.Lifecycle = nil
		}
	}
}

func dropVolumeFields(v *corev1.VolumeSource) {
	if v.EmptyDir != nil {
		v.EmptyDir.Mode = nil
	}
	switch { // the first source is the one that counts, as in Kubernetes
	case v.Secret != nil:
		v.Secret.DefaultUser = nil
		dropUsers(v.Secret.Items)
	case v.ConfigMap != nil:
		v.ConfigMap.DefaultUser = nil
		dropUsers(v.ConfigMap.Items)
	case v.DownwardAPI != nil:
		v.DownwardAPI.DefaultUser = nil
		dropFileUsers(v.DownwardAPI.Items)
	case v.Projected != nil:
		v.Projected.DefaultUser = nil
		for i := range v.Projected.Sources {
			dropProjectedUsers(&v.Projected.Sources[i])
		}
	}
}

func dropProjectedUsers(s *corev1.VolumeProjection) {
	if s.Secret != nil {
		dropUsers(s.Secret.Items)
	}
	if s.ConfigMap != nil {
		dropUsers(s.ConfigMap.Items)
	}
	if s.DownwardAPI != nil {
		dropFileUsers(s.DownwardAPI.Items)
	}
	if s.ServiceAccountToken != nil {
		s.ServiceAccountToken.User = nil
	}
	if s.PodCertificate != nil {
		s.PodCertificate.User = nil
	}
}

func dropUsers(items []corev1.KeyToPath) {
	for i := range items {
		items[i].User = nil
	}
}

func dropFileUsers(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		items[i].User = nil
	}
}

// MergeLabelKeys turns matchLabelKeys and mismatchLabelKeys into expressions of the selectors they
// stand beside, with the values of the pod's own labels.
func MergeLabelKeys(p *corev1.Pod) {
	for i := range p.Spec.TopologySpreadConstraints {
		if t := &p.Spec.TopologySpreadConstraints[i]; t.LabelSelector != nil {
			mergeKeys(t.LabelSelector, t.MatchLabelKeys, metav1.LabelSelectorOpIn, p.Labels)
		}
	}
	if a := p.Spec.Affinity; a != nil {
		if a.PodAffinity != nil {
			mergeTerms(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution, p.Labels)
		}
		if a.PodAntiAffinity != nil {
			mergeTerms(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution, p.Labels)
		}
	}
}

func mergeTerms(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, labels map[string]string) {
	for i := range required {
		mergeTerm(&required[i], labels)
	}
	for i := range preferred {
		mergeTerm(&preferred[i].PodAffinityTerm, labels)
	}
}

func mergeTerm(t *corev1.PodAffinityTerm, labels map[string]string) {
	if t.LabelSelector == nil {
		return
	}
	mergeKeys(t.LabelSelector, t.MatchLabelKeys, metav1.LabelSelectorOpIn, labels)
	mergeKeys(t.LabelSelector, t.MismatchLabelKeys, metav1.LabelSelectorOpNotIn, labels)
}

func mergeKeys(s *metav1.LabelSelector, keys []string, op metav1.LabelSelectorOperator, labels map[string]string) {
	for _, k := range keys {
		if v, ok := labels[k]; ok {
			s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{Key: k, Operator: op, Values: []string{v}})
		}
	}
}
