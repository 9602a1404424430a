package storageprotection

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

const claimIndex = "claim"

func addClaims(g *controller.Group, cfg Config) error {
	pods, err := controller.ViewOf[*corev1.Pod](g)
	if err != nil {
		return err
	}
	pods.Index(claimIndex, func(p *corev1.Pod) []string {
		var keys []string
		for _, key := range claimsOf(p) {
			keys = append(keys, key.String())
		}
		return keys
	})
	live := client.For[*corev1.Pod](g.ClientFor("pvc-protection-controller"))
	return add(g, cfg, "pvc-protection", guard[*corev1.PersistentVolumeClaim]{
		finalizer: ClaimFinalizer,
		inUse: func(ctx context.Context, claim *corev1.PersistentVolumeClaim) (use, error) {
			shown := pods.ByIndex(claimIndex, controller.KeyOf(claim).String())
			return usedBy(ctx, shown, live, claim.Namespace, func(p *corev1.Pod) bool { return Uses(p, claim) })
		},
	}, controller.On[*corev1.Pod]{Where: frees, Keys: claimsOf})
}

// frees tells that a pod may use claims no more.
func frees(before, after *corev1.Pod) bool {
	return gone(before, after) || before != nil && !shutDown(before) && shutDown(after)
}

// claimsOf returns the claims that a pod names, those of its ephemeral volumes too.
func claimsOf(p *corev1.Pod) []controller.Key {
	var keys []controller.Key
	for i := range p.Spec.Volumes {
		if name := claimName(p, &p.Spec.Volumes[i]); name != "" {
			keys = append(keys, controller.Key{Namespace: p.Namespace, Name: name})
		}
	}
	return keys
}

func claimName(p *corev1.Pod, v *corev1.Volume) string {
	switch {
	case v.PersistentVolumeClaim != nil:
		return v.PersistentVolumeClaim.ClaimName
	case v.Ephemeral != nil:
		return p.Name + "-" + v.Name
	}
	return ""
}

// Uses tells whether a pod keeps a claim of its namespace from going. One that is not yet bound to a node does
// not, since no scheduler places a pod whose claim is being deleted: each would wait for the other. One whose
// containers have ended does, until it is deleted, as in Kubernetes. The claim of an ephemeral volume is the
// pod's own, and in use only until the pod is shut down: with a finalizer each could wait for the other.
func Uses(p *corev1.Pod, claim *corev1.PersistentVolumeClaim) bool {
	if p.Spec.NodeName == "" || p.Namespace != claim.Namespace {
		return false
	}
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if claimName(p, v) == claim.Name && (v.Ephemeral == nil || !shutDown(p) && metav1.IsControlledBy(claim, p)) {
			return true
		}
	}
	return false
}

// shutDown tells whether the kubelet is done with a pod, or it was deleted by force: only finalizers hold it.
func shutDown(p *corev1.Pod) bool {
	return p.DeletionTimestamp != nil && p.DeletionGracePeriodSeconds != nil && *p.DeletionGracePeriodSeconds == 0
}
