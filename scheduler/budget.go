package scheduler

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// budget is a PodDisruptionBudget.
type budget struct {
	name      string
	selector  labels.Selector
	disrupted map[string]metav1.Time
	// allowed is how many pods may go, left what of it is left during one count.
	allowed, left int32
}

// budgetsOf returns the budgets of a namespace that select anything, sorted by name.
func (p *preemption) budgetsOf(namespace string) []budget {
	if found, ok := p.budgets[namespace]; ok {
		return found
	}
	var out []budget
	for b := range Objects[*policyv1.PodDisruptionBudget](p.r.Snapshot, namespace) {
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		// A budget whose selector is wrong or empty is about no pod.
		if err != nil || selector.Empty() {
			continue
		}
		out = append(out, budget{name: b.Name, selector: selector, disrupted: b.Status.DisruptedPods, allowed: b.Status.DisruptionsAllowed})
	}
	slices.SortFunc(out, func(a, b budget) int { return cmp.Compare(a.name, b.name) })
	if p.budgets == nil {
		p.budgets = map[string][]budget{}
	}
	p.budgets[namespace] = out
	return out
}

// splitByBudget sorts p.lower into the pods whose eviction would violate a budget, if all that come before
// them were evicted, and the others.
func (p *preemption) splitByBudget() {
	p.violating, p.others = p.violating[:0], p.others[:0]
	if !p.hasBudgets {
		p.others = append(p.others, p.lower...)
		return
	}
	for _, q := range p.lower {
		for i := range p.budgetsOf(q.Pod.Namespace) {
			b := &p.budgets[q.Pod.Namespace][i]
			b.left = b.allowed
		}
	}
	for _, q := range p.lower {
		if p.violates(q.Pod) {
			p.violating = append(p.violating, q)
		} else {
			p.others = append(p.others, q)
		}
	}
}

// violates counts a pod's eviction, and tells whether a budget does not allow it.
func (p *preemption) violates(pod *corev1.Pod) bool {
	if len(pod.Labels) == 0 {
		return false
	}
	budgets := p.budgetsOf(pod.Namespace)
	for i := range budgets {
		b := &budgets[i]
		if !b.selector.Matches(labels.Set(pod.Labels)) {
			continue
		}
		if _, counted := b.disrupted[pod.Name]; counted {
			continue // the API server has taken it from the budget already
		}
		if b.left--; b.left < 0 {
			return true
		}
	}
	return false
}
