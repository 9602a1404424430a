package disruption

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// DeletionTimeout is how long an eviction that was charged to a budget may take to show at its pod. After that the
// pod counts again: it was not deleted.
const DeletionTimeout = 2 * time.Minute

// Plan is what becomes of a budget.
type Plan struct {
	Status policyv1.PodDisruptionBudgetStatus
	// After is when the next eviction that was charged runs out; 0 is never.
	After time.Duration
	// Overdue are the pods whose evictions ran out.
	Overdue []*corev1.Pod
}

// ByScale tells whether a budget is about the pods that there should be by their owners' scales, not about those
// that there are.
func ByScale(spec *policyv1.PodDisruptionBudgetSpec) bool {
	return spec.MaxUnavailable != nil || spec.MinAvailable != nil && spec.MinAvailable.Type == intstr.String
}

// Compute returns the status of a budget that selects pods. Scale is the sum of the scales of the pods' owners, for
// a budget that is ByScale.
func Compute(pdb *policyv1.PodDisruptionBudget, pods []*corev1.Pod, scale int32, now time.Time) (Plan, error) {
	expected, desired, err := wanted(&pdb.Spec, int32(len(pods)), scale)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Status: policyv1.PodDisruptionBudgetStatus{
		ObservedGeneration: pdb.Generation,
		ExpectedPods:       expected,
		DesiredHealthy:     desired,
		Conditions:         pdb.Status.DeepCopy().Conditions,
	}}
	for _, p := range pods {
		if p.DeletionTimestamp != nil {
			continue
		}
		charged, ok := pdb.Status.DisruptedPods[p.Name]
		left := charged.Add(DeletionTimeout).Sub(now)
		switch {
		case ok && left > 0: // about to be deleted
			plan.keep(p.Name, charged, left)
			continue
		case ok:
			plan.Overdue = append(plan.Overdue, p)
		}
		if ready(p) {
			plan.Status.CurrentHealthy++
		}
	}
	if expected > 0 { // without pods the next one would be unprotected until it is seen here
		plan.Status.DisruptionsAllowed = max(plan.Status.CurrentHealthy-desired, 0)
	}
	setAllowed(&plan.Status, now)
	return plan, nil
}

func (p *Plan) keep(pod string, charged metav1.Time, left time.Duration) {
	if p.Status.DisruptedPods == nil {
		p.Status.DisruptedPods = map[string]metav1.Time{}
	}
	p.Status.DisruptedPods[pod] = charged
	if p.After == 0 || left < p.After {
		p.After = left
	}
}

// wanted returns how many pods there should be, and how many of them must be healthy. Percentages round up.
func wanted(spec *policyv1.PodDisruptionBudgetSpec, present, scale int32) (expected, desired int32, err error) {
	switch {
	case spec.MaxUnavailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(spec.MaxUnavailable, int(scale), true)
		if err != nil {
			return 0, 0, fmt.Errorf("maxUnavailable: %w", err)
		}
		return scale, max(scale-int32(n), 0), nil
	case spec.MinAvailable == nil:
		return 0, 0, nil
	case spec.MinAvailable.Type == intstr.Int:
		return present, spec.MinAvailable.IntVal, nil
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(spec.MinAvailable, int(scale), true)
	if err != nil {
		return 0, 0, fmt.Errorf("minAvailable: %w", err)
	}
	return scale, int32(n), nil
}

// setAllowed sets the condition that repeats whether evictions are allowed.
func setAllowed(status *policyv1.PodDisruptionBudgetStatus, now time.Time) {
	c := metav1.Condition{
		Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.InsufficientPodsReason,
		ObservedGeneration: status.ObservedGeneration, LastTransitionTime: metav1.NewTime(now),
	}
	if status.DisruptionsAllowed > 0 {
		c.Status, c.Reason = metav1.ConditionTrue, policyv1.SufficientPodsReason
	}
	meta.SetStatusCondition(&status.Conditions, c)
}

// Failed returns the status of a budget that can't be kept: it allows nothing. What was known stays, also the
// generation that it was known of.
func Failed(pdb *policyv1.PodDisruptionBudget, why string, now time.Time) policyv1.PodDisruptionBudgetStatus {
	status := *pdb.Status.DeepCopy()
	status.DisruptionsAllowed = 0
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.SyncFailedReason, Message: why,
		ObservedGeneration: status.ObservedGeneration, LastTransitionTime: metav1.NewTime(now),
	})
	return status
}

func failedAlready(pdb *policyv1.PodDisruptionBudget, failed *policyv1.PodDisruptionBudgetStatus) bool {
	return pdb.Status.DisruptionsAllowed == 0 && sameCondition(pdb.Status.Conditions, failed.Conditions)
}

// UpToDate tells whether a budget's status is as computed from that budget: disrupted pods are only ever left out.
func UpToDate(pdb *policyv1.PodDisruptionBudget, status *policyv1.PodDisruptionBudgetStatus) bool {
	have := &pdb.Status
	return have.CurrentHealthy == status.CurrentHealthy && have.DesiredHealthy == status.DesiredHealthy &&
		have.ExpectedPods == status.ExpectedPods && have.DisruptionsAllowed == status.DisruptionsAllowed &&
		have.ObservedGeneration == status.ObservedGeneration && len(have.DisruptedPods) == len(status.DisruptedPods) &&
		sameCondition(have.Conditions, status.Conditions)
}

func sameCondition(have, want []metav1.Condition) bool {
	h, w := meta.FindStatusCondition(have, policyv1.DisruptionAllowedCondition), meta.FindStatusCondition(want, policyv1.DisruptionAllowedCondition)
	return h != nil && w != nil && h.Status == w.Status && h.Reason == w.Reason && h.Message == w.Message
}

// ready tells whether a pod's condition Ready holds.
func ready(p *corev1.Pod) bool {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
