package podspec

import corev1 "k8s.io/api/core/v1"

// QOS returns a pod's quality of service class: BestEffort when nothing asks for CPU or memory,
// Guaranteed when every container limits both and asks for no less, Burstable otherwise.
// Resources of the pod as a whole take the place of those of its containers.
func QOS(s *corev1.PodSpec) corev1.PodQOSClass {
	if s.Resources != nil && (len(s.Resources.Limits) > 0 || len(s.Resources.Requests) > 0) {
		return qosOf([]corev1.ResourceRequirements{*s.Resources})
	}
	var all []corev1.ResourceRequirements
	for _, cs := range [][]corev1.Container{s.Containers, s.InitContainers} {
		for i := range cs {
			all = append(all, cs[i].Resources)
		}
	}
	return qosOf(all)
}

func qosOf(all []corev1.ResourceRequirements) corev1.PodQOSClass {
	any, guaranteed := false, true
	for _, r := range all {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, limit := r.Requests[name], r.Limits[name]
			any = any || request.Sign() > 0 || limit.Sign() > 0
			// A limit alone is also what is requested.
			equal := request.Sign() == 0 || request.Cmp(limit) == 0
			guaranteed = guaranteed && limit.Sign() > 0 && equal
		}
	}
	switch {
	case !any:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}
