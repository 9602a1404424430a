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

// budgets are those of a snapshot, read when a namespace is asked about.
type budgets struct {
	snapshot *Snapshot
	// any tells that there is one at all.
	any   bool
	found map[string][]budget
}

func budgetsOf(s *Snapshot) budgets {
	return budgets{snapshot: s, any: hasAny[*policyv1.PodDisruptionBudget](s)}
}

// in returns the budgets of a namespace that select anything, sorted by name.
func (x *budgets) in(namespace string) []budget {
	if found, ok := x.found[namespace]; ok {
		return found
	}
	var out []budget
	for b := range Objects[*policyv1.PodDisruptionBudget](x.snapshot, namespace) {
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		// A budget whose selector is wrong or empty is about no pod.
		if err != nil || selector.Empty() {
			continue
		}
		out = append(out, budget{name: b.Name, selector: selector, disrupted: b.Status.DisruptedPods, allowed: b.Status.DisruptionsAllowed})
	}
	slices.SortFunc(out, func(a, b budget) int { return cmp.Compare(a.name, b.name) })
	if x.found == nil {
		x.found = map[string][]budget{}
	}
	x.found[namespace] = out
	return out
}

// restore begins another count of evictions in a namespace.
func (x *budgets) restore(namespace string) {
	for i, all := 0, x.in(namespace); i < len(all); i++ {
		all[i].left = all[i].allowed
	}
}

// splitByBudget sorts p.lower into the pods whose eviction would violate a budget, if all that come before
// them were evicted, and the others.
func (p *preemption) splitByBudget() {
	p.violating, p.others = p.violating[:0], p.others[:0]
	if !p.budgets.any {
		p.others = append(p.others, p.lower...)
		return
	}
	for _, q := range p.lower {
		p.budgets.restore(q.Pod.Namespace)
	}
	for _, q := range p.lower {
		if p.budgets.violates(q.Pod) {
			p.violating = append(p.violating, q)
		} else {
			p.others = append(p.others, q)
		}
	}
}

// violates counts a pod's eviction, and tells whether a budget does not allow it.
func (x *budgets) violates(pod *corev1.Pod) bool {
	if len(pod.Labels) == 0 {
		return false
	}
	all := x.in(pod.Namespace)
	for i := range all {
		b := &all[i]
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
