package apiserver

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	podsecurityapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/inboard/inboard/apiserver/client"
)

// A namespace that enforces more than before is checked for what it holds: so many pods at most, and for so long.
const (
	securedPodsLimit = 3000
	securedPodsTime  = time.Second
)

// validateNamespace refuses labels that can't be read, and warns of pods that a level would refuse that is newly
// enforced.
func (p *podSecurity) validateNamespace(r *AdmissionRequest) error {
	ns, ok := r.Object.(*corev1.Namespace)
	if !ok || r.Ref.Subresource != "" {
		return nil
	}
	levels, errs := podsecurityapi.PolicyToEvaluate(ns.Labels, p.defaults)
	exempt := slices.Contains(p.cfg.Namespaces, ns.Name)
	if r.Operation == Create {
		if len(errs) > 0 {
			return apierrors.NewInvalid(r.Kind.GroupKind(), r.Ref.Name, errs)
		}
		if exempt {
			p.warnExempt(r, ns, levels)
		}
		return nil
	}
	old, ok := r.Old.(*corev1.Namespace)
	if !ok {
		return nil
	}
	before, oldErrs := podsecurityapi.PolicyToEvaluate(old.Labels, p.defaults)
	if len(errs) > 0 && !reflect.DeepEqual(errs, oldErrs) {
		return apierrors.NewInvalid(r.Kind.GroupKind(), r.Ref.Name, errs)
	}
	now, was := levels.Enforce, before.Enforce
	switch {
	case now == was, now.Level == podsecurityapi.LevelPrivileged,
		now.Version == was.Version && podsecurityapi.CompareLevels(now.Level, was.Level) < 1:
	case exempt:
		p.warnExempt(r, ns, levels)
	default:
		p.warnOfPods(r, ns.Name, now)
	}
	return nil
}

// warnExempt tells that a namespace's labels make no difference.
func (p *podSecurity) warnExempt(r *AdmissionRequest, ns *corev1.Namespace, levels podsecurityapi.Policy) {
	if levels.FullyPrivileged() || levels.Equivalent(&p.defaults) {
		return
	}
	var said []string
	for _, mode := range []struct {
		name, label, version string
		level                podsecurityapi.LevelVersion
	}{
		{"enforce", podsecurityapi.EnforceLevelLabel, podsecurityapi.EnforceVersionLabel, levels.Enforce},
		{"audit", podsecurityapi.AuditLevelLabel, podsecurityapi.AuditVersionLabel, levels.Audit},
		{"warn", podsecurityapi.WarnLevelLabel, podsecurityapi.WarnVersionLabel, levels.Warn},
	} {
		_, labelled := ns.Labels[mode.label]
		_, versioned := ns.Labels[mode.version]
		if mode.level.Level != podsecurityapi.LevelPrivileged && (labelled || versioned) {
			said = append(said, mode.name+"="+mode.level.String())
		}
	}
	r.Warn(fmt.Sprintf("namespace %q is exempt from Pod Security, and the policy (%s) will be ignored", ns.Name, strings.Join(said, ", ")))
}

// warnOfPods tells of the pods in a namespace that violate a level, those with the same violations together.
func (p *podSecurity) warnOfPods(r *AdmissionRequest, namespace string, level podsecurityapi.LevelVersion) {
	objs, err := r.List(client.Ref{GroupVersionResource: podsResource, Namespace: namespace})
	if err != nil {
		r.Warn("failed to list pods while checking new PodSecurity enforce level")
		return
	}
	pods := p.inOrder(objs)
	first, counts := map[string]string{}, map[string]int{}
	deadline, checked := time.Now().Add(securedPodsTime), 0
	for _, pod := range pods[:min(len(pods), securedPodsLimit)] {
		result := policy.AggregateCheckResults(p.evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
		if !result.Allowed {
			reason := result.ForbiddenReason()
			if counts[reason]++; counts[reason] == 1 || pod.Name < first[reason] {
				first[reason] = pod.Name
			}
		}
		if checked++; time.Now().After(deadline) {
			break
		}
	}
	if checked < len(pods) {
		r.Warn(fmt.Sprintf("new PodSecurity enforce level only checked against the first %d of %d existing pods", checked, len(pods)))
	}
	if len(counts) > 0 {
		r.Warn(fmt.Sprintf("existing pods in namespace %q violate the new PodSecurity enforce level %q", namespace, level.String()))
	}
	var lines []string
	for reason, n := range counts {
		switch n {
		case 1:
			lines = append(lines, first[reason]+": "+reason)
		case 2:
			lines = append(lines, first[reason]+" (and 1 other pod): "+reason)
		default:
			lines = append(lines, fmt.Sprintf("%s (and %d other pods): %s", first[reason], n-1, reason))
		}
	}
	slices.Sort(lines)
	for _, l := range lines {
		r.Warn(l)
	}
}

// inOrder puts the first pod of each controller before the further ones, and leaves exempt ones out.
func (p *podSecurity) inOrder(objs []client.Object) []*corev1.Pod {
	var out, more []*corev1.Pod
	seen := map[types.UID]bool{}
	for _, obj := range objs {
		pod, ok := obj.(*corev1.Pod)
		if !ok || pod.Spec.RuntimeClassName != nil && slices.Contains(p.cfg.RuntimeClasses, *pod.Spec.RuntimeClassName) {
			continue
		}
		owner := metav1.GetControllerOfNoCopy(pod)
		if owner != nil && seen[owner.UID] {
			more = append(more, pod)
			continue
		}
		if owner != nil {
			seen[owner.UID] = true
		}
		out = append(out, pod)
	}
	return append(out, more...)
}
