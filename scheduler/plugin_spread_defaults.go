package scheduler

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/inboard/inboard/apiserver/client"
)

// systemConstraints are kube-scheduler's own, for pods that belong to something and have no rules.
var systemConstraints = []corev1.TopologySpreadConstraint{
	{TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway, MaxSkew: 3},
	{TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.ScheduleAnyway, MaxSkew: 5},
}

// Watches implements Watcher: what a pod belongs to tells which pods it is spread among.
func (p PodTopologySpread) Watches() []client.Object {
	if p.DefaultConstraints != nil && len(p.DefaultConstraints) == 0 {
		return nil
	}
	return []client.Object{&corev1.Service{}, &corev1.ReplicationController{}, &appsv1.ReplicaSet{}, &appsv1.StatefulSet{}}
}

// constraintsFor returns the constraints of a pod, the required or the preferred ones: its own or, when it has
// none of either, the default ones. System tells that these are kube-scheduler's own, for which a node need
// not have all topology keys.
func (p PodTopologySpread) constraintsFor(s *Snapshot, pod *PodInfo, hard bool) (out []*spreadConstraint, system bool) {
	if len(pod.Pod.Spec.TopologySpreadConstraints) > 0 {
		return constraintsOf(pod, hard), false
	}
	defaults := p.DefaultConstraints
	if system = defaults == nil; system {
		defaults = systemConstraints
	}
	var selector labels.Selector
	for i := range defaults {
		c := &defaults[i]
		if (c.WhenUnsatisfiable != corev1.ScheduleAnyway) != hard {
			continue
		}
		if selector == nil {
			if selector = ownersSelector(s, pod.Pod); selector.Empty() {
				return nil, system
			}
		}
		out = append(out, defaultConstraint(pod.Pod, c, selector))
	}
	return out, system
}

func defaultConstraint(pod *corev1.Pod, c *corev1.TopologySpreadConstraint, selector labels.Selector) *spreadConstraint {
	plain := *c
	plain.LabelSelector, plain.MatchLabelKeys = nil, nil
	// Without a selector nothing can go wrong.
	out, _ := newSpreadConstraint(pod, &plain)
	out.selector, out.self = newMatcher(selector), 0
	if selector.Matches(labels.Set(pod.Labels)) {
		out.self = 1
	}
	return &out
}

// ownersSelector selects the pods that belong to the same Services and to the same ReplicationController,
// ReplicaSet or StatefulSet as this one; it is empty for a pod that belongs to none.
func ownersSelector(s *Snapshot, pod *corev1.Pod) labels.Selector {
	set := labels.Set{}
	for svc := range Objects[*corev1.Service](s, pod.Namespace) {
		// They all match the pod: their labels can't contradict each other. One without a selector
		// selects nothing.
		if len(svc.Spec.Selector) > 0 && hasLabels(pod.Labels, svc.Spec.Selector) {
			set = labels.Merge(set, svc.Spec.Selector)
		}
	}
	owner := metav1.GetControllerOfNoCopy(pod)
	if owner == nil {
		return set.AsSelector()
	}
	if owner.APIVersion == "v1" && owner.Kind == "ReplicationController" {
		if rc, ok := Object[*corev1.ReplicationController](s, pod.Namespace, owner.Name); ok {
			set = labels.Merge(set, rc.Spec.Selector)
		}
		return set.AsSelector()
	}
	return withOwner(s, pod, owner, set.AsSelector())
}

func hasLabels(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// withOwner adds the selector of a pod's ReplicaSet or StatefulSet.
func withOwner(s *Snapshot, pod *corev1.Pod, owner *metav1.OwnerReference, selector labels.Selector) labels.Selector {
	var of *metav1.LabelSelector
	switch {
	case owner.APIVersion != "apps/v1":
	case owner.Kind == "ReplicaSet":
		if rs, ok := Object[*appsv1.ReplicaSet](s, pod.Namespace, owner.Name); ok {
			of = rs.Spec.Selector
		}
	case owner.Kind == "StatefulSet":
		if ss, ok := Object[*appsv1.StatefulSet](s, pod.Namespace, owner.Name); ok {
			of = ss.Spec.Selector
		}
	}
	other, err := metav1.LabelSelectorAsSelector(of)
	if err != nil {
		return selector
	}
	if r, ok := other.Requirements(); ok {
		selector = selector.Add(r...)
	}
	return selector
}

// defaultsHelp is the hint for a pod that default constraints have refused: which pods it is spread among only a
// snapshot tells.
func defaultsHelp(pod *PodInfo, e *Event) bool {
	obj := e.Object
	if obj == nil {
		obj = e.OldObject
	}
	switch {
	case e.Pod != nil:
		return e.Pod.Pod.Namespace == pod.Pod.Namespace
	case obj == nil:
		return e.Kind != NamespaceUpdated
	}
	switch obj.(type) {
	case *corev1.Service, *corev1.ReplicationController, *appsv1.ReplicaSet, *appsv1.StatefulSet:
		return obj.GetNamespace() == pod.Pod.Namespace
	}
	return false
}
