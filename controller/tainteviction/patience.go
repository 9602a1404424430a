package tainteviction

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Patience returns how long a pod with the given tolerations stays on a node with the given taints,
// of which only the NoExecute ones matter: the least tolerationSeconds of the tolerations in use, 0
// when a taint is not tolerated. Forever means without an end; the time is 0 then.
func Patience(taints []corev1.Taint, tolerations []corev1.Toleration) (d time.Duration, forever bool) {
	forever = true
	for i := range taints {
		if taints[i].Effect != corev1.TaintEffectNoExecute {
			continue
		}
		used, ok := match(tolerations, &taints[i])
		if !ok {
			return 0, false
		}
		if used.TolerationSeconds == nil {
			continue
		}
		seconds := time.Duration(max(0, min(*used.TolerationSeconds, maxSeconds))) * time.Second
		if forever || seconds < d {
			d, forever = seconds, false
		}
	}
	return d, forever
}

// maxSeconds keeps durations from overflowing; it is about 30 years.
const maxSeconds = 1_000_000_000

// match returns the first toleration that tolerates the taint. Numbers are not compared (operators Lt
// and Gt), which is alpha and off in Kubernetes 1.37.
func match(tolerations []corev1.Toleration, t *corev1.Taint) (corev1.Toleration, bool) {
	for i := range tolerations {
		if quietly(tolerations[i].ToleratesTaint, t) {
			return tolerations[i], true
		}
	}
	return corev1.Toleration{}, false
}

// quietly calls f with the zero logger, which discards. The type of the logger is inferred, so that
// its package need not be imported.
func quietly[L any](f func(L, *corev1.Taint, bool) bool, t *corev1.Taint) bool {
	var none L
	return f(none, t, false)
}
