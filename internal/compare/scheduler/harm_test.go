package scheduler_test

import extenderv1 "k8s.io/kube-scheduler/extender/v1"

// harm is what candidates are compared by, in this order.
type harm struct {
	violations int64
	highest    int32
	sum        int64
	pods       int
	earliest   int64
}

func harmOf(v *extenderv1.Victims) harm {
	h := harm{violations: v.NumPDBViolations, highest: *v.Pods[0].Spec.Priority, pods: len(v.Pods)}
	for _, p := range v.Pods {
		h.sum += int64(*p.Spec.Priority)
		if *p.Spec.Priority == h.highest && (h.earliest == 0 || p.Status.StartTime.Unix() < h.earliest) {
			h.earliest = p.Status.StartTime.Unix()
		}
	}
	return h
}
