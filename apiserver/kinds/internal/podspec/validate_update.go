package podspec

import (
	"fmt"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

const updatable = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`," +
	"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)," +
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

// ValidatePodUpdate returns what is wrong with an update of a pod: most of a pod never changes.
func ValidatePodUpdate(p, old *corev1.Pod) field.ErrorList {
	c := &checker{spec: &p.Spec, meta: &p.ObjectMeta}
	c.pod(p)
	c.mirrorStays(p, old)
	if !c.sameContainers(p.Spec.Containers, old.Spec.Containers, specPath.Child("containers")) ||
		!c.sameContainers(p.Spec.InitContainers, old.Spec.InitContainers, specPath.Child("initContainers")) {
		return c.Errors()
	}
	if !c.deadlineShrinks(p.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds) {
		return c.Errors()
	}
	c.tolerationsGrow(p.Spec.Tolerations, old.Spec.Tolerations)
	c.gatesShrink(p.Spec.SchedulingGates, old.Spec.SchedulingGates)
	c.restStays(p, old)
	return c.Errors()
}

func (c *checker) mirrorStays(p, old *corev1.Pod) {
	path := field.NewPath("metadata", "annotations").Key(corev1.MirrorPodAnnotationKey)
	now, is := p.Annotations[corev1.MirrorPodAnnotationKey]
	before, was := old.Annotations[corev1.MirrorPodAnnotationKey]
	switch {
	case was && (!is || now != before):
		c.Forbidden(path, "may not remove or update mirror pod annotation")
	case is && !was:
		c.Forbidden(path, "may not add mirror pod annotation")
	}
}

func (c *checker) sameContainers(now, before []corev1.Container, path *field.Path) bool {
	if len(now) != len(before) {
		c.Forbidden(path, "pod updates may not add or remove containers")
		return false
	}
	for i := range now {
		if now[i].Image == "" {
			c.Required(path.Index(i).Child("image"), "")
		}
		c.trimmedImage(&now[i], path.Index(i))
	}
	return true
}

func (c *checker) deadlineShrinks(now, before *int64) bool {
	path := specPath.Child("activeDeadlineSeconds")
	switch {
	case now == nil && before != nil:
		c.Invalid(path, now, "must not update from a positive integer to nil value")
	case now == nil:
	case *now < 0 || *now > math.MaxInt32:
		c.Invalid(path, *now, validation.InclusiveRangeError(0, math.MaxInt32))
		return false
	case before != nil && *before < *now:
		c.Invalid(path, *now, "must be less than or equal to previous value")
		return false
	}
	return true
}

func (c *checker) tolerationsGrow(now, before []corev1.Toleration) {
	path := specPath.Child("tolerations")
	for _, old := range before {
		kept := slices.ContainsFunc(now, func(t corev1.Toleration) bool {
			t.TolerationSeconds = old.TolerationSeconds
			return t == old
		})
		if !kept {
			c.Forbidden(path, "existing toleration can not be modified except its tolerationSeconds")
			return
		}
	}
	c.tolerations(now, path)
}

func (c *checker) gatesShrink(now, before []corev1.PodSchedulingGate) {
	for i, g := range now {
		if !slices.Contains(before, g) {
			c.Forbidden(specPath.Child("schedulingGates").Index(i).Child("name"),
				fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", g.Name))
		}
	}
}

// restStays puts back what may change, and refuses any difference that is left.
func (c *checker) restStays(p, old *corev1.Pod) {
	if check.SameMessage(&p.Spec, &old.Spec) || equality.Semantic.DeepEqual(p.Spec, old.Spec) {
		return
	}
	s := p.Spec.DeepCopy()
	for i := range s.Containers {
		s.Containers[i].Image = old.Spec.Containers[i].Image
	}
	for i := range s.InitContainers {
		s.InitContainers[i].Image = old.Spec.InitContainers[i].Image
	}
	s.ActiveDeadlineSeconds = old.Spec.ActiveDeadlineSeconds
	s.SchedulingGates = old.Spec.SchedulingGates
	s.Tolerations = old.Spec.Tolerations
	if was, is := old.Spec.TerminationGracePeriodSeconds, s.TerminationGracePeriodSeconds; was != nil && *was < 0 && is != nil && *is == 1 {
		s.TerminationGracePeriodSeconds = was
	}
	if len(old.Spec.SchedulingGates) > 0 {
		c.gatedStays(s, &old.Spec)
	}
	if !equality.Semantic.DeepEqual(*s, old.Spec) {
		c.Forbidden(specPath, updatable+"\n"+strings.TrimSuffix(fmt.Sprint(diff.Diff(old.Spec, *s)), "\n")+"\n")
	}
}

// gatedStays lets a pod that is not to be scheduled yet narrow down the nodes that it may run on.
func (c *checker) gatedStays(s, old *corev1.PodSpec) {
	for k, v := range old.NodeSelector {
		if s.NodeSelector[k] != v {
			c.Invalid(specPath.Child("nodeSelector"), s.NodeSelector, "only additions to spec.nodeSelector are allowed (no mutations or deletions)")
			break
		}
	}
	s.NodeSelector = old.NodeSelector
	var was, is *corev1.NodeAffinity
	if old.Affinity != nil {
		was = old.Affinity.NodeAffinity
	}
	if s.Affinity != nil {
		is = s.Affinity.NodeAffinity
	}
	if equality.Semantic.DeepEqual(was, is) {
		return
	}
	c.nodeAffinityNarrows(is, was)
	switch a := s.Affinity; {
	case a == nil:
		s.Affinity = &corev1.Affinity{NodeAffinity: was}
	case old.Affinity == nil && a.PodAffinity == nil && a.PodAntiAffinity == nil:
		s.Affinity = nil
	default:
		a.NodeAffinity = was
	}
}

func (c *checker) nodeAffinityNarrows(is, was *corev1.NodeAffinity) {
	if was == nil || was.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return
	}
	path := specPath.Child("affinity", "nodeAffinity", requiredDuring, "nodeSelectorTerms")
	before := was.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	var now []corev1.NodeSelectorTerm
	if is != nil && is.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		now = is.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	}
	if len(before) > 0 && len(before) != len(now) {
		c.Invalid(path, now, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
		return
	}
	for i := range before {
		if !termNarrows(&now[i], &before[i]) {
			c.Invalid(path.Index(i), now[i], "only additions are allowed (no mutations or deletions)")
		}
	}
}

// termNarrows tells whether now has all that before has, in the same order, and more at its end.
// An empty term selects nothing, and no addition narrows that.
func termNarrows(now, before *corev1.NodeSelectorTerm) bool {
	e, f := len(before.MatchExpressions), len(before.MatchFields)
	if e == 0 && f == 0 {
		return len(now.MatchExpressions) == 0 && len(now.MatchFields) == 0
	}
	return len(now.MatchExpressions) >= e && len(now.MatchFields) >= f &&
		(e == 0 || equality.Semantic.DeepEqual(now.MatchExpressions[:e], before.MatchExpressions)) &&
		(f == 0 || equality.Semantic.DeepEqual(now.MatchFields[:f], before.MatchFields))
}
