package batch

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

func validateJob(o, old *batchv1.Job) field.ErrorList {
	var l check.List
	if old == nil {
		generatedSelector(&l, o)
	}
	s := &o.Spec
	jobSpec(&l, specPath, s)
	if s.Selector == nil {
		l.Required(specPath.Child("selector"), "")
	} else {
		l.Add(metavalidation.ValidateLabelSelector(s.Selector, metavalidation.LabelSelectorValidationOptions{
			AllowInvalidLabelValueInSelector: old != nil && metavalidation.LabelSelectorHasInvalidLabelValue(old.Spec.Selector),
		}, specPath.Child("selector"))...)
	}
	if selector, err := metav1.LabelSelectorAsSelector(s.Selector); err == nil && !selector.Matches(labels.Set(s.Template.Labels)) {
		l.Invalid(specPath.Child("template", "metadata", "labels"), s.Template.Labels, "`selector` does not match template `labels`")
	}
	if old != nil {
		jobStays(&l, s, old)
	}
	if n := ptr.Deref(s.Completions, 0); ptr.Deref(s.CompletionMode, "") == batchv1.IndexedCompletion && n > 0 {
		if host := fmt.Sprintf("%s-%d", o.Name, n-1); len(validation.IsDNS1123Label(host)) > 0 {
			l.Invalid(field.NewPath("metadata", "name"), o.Name, "will not able to create pod with invalid DNS label: "+host)
		}
	}
	return l.Errors()
}

// generatedSelector asks that nothing stands in the way of the selector that the server made.
func generatedSelector(l *check.List, o *batchv1.Job) {
	if ptr.Deref(o.Spec.ManualSelector, false) || o.Spec.Selector == nil {
		return
	}
	if o.UID == "" {
		l.Required(field.NewPath("metadata", "uid"), "")
	}
	want := labels.Set{}
	for _, label := range []struct{ name, value string }{
		{oldUIDLabel, string(o.UID)}, {oldNameLabel, o.Name}, {batchv1.ControllerUidLabel, string(o.UID)}, {batchv1.JobNameLabel, o.Name},
	} {
		want[label.name] = label.value
		path := specPath.Child("template", "metadata", "labels")
		switch v, ok := o.Spec.Template.Labels[label.name]; {
		case !ok:
			l.Required(path.Key(label.name), fmt.Sprintf("must be '%s'", label.value))
		case v != label.value:
			l.Invalid(path.Key(label.name), o.Spec.Template.Labels, fmt.Sprintf("must be '%s'", label.value))
		}
	}
	if selector, err := metav1.LabelSelectorAsSelector(o.Spec.Selector); err == nil && !selector.Matches(want) {
		l.Invalid(specPath.Child("selector"), o.Spec.Selector, "`selector` not auto-generated")
	}
}

func jobStays(l *check.List, s *batchv1.JobSpec, old *batchv1.Job) {
	was := &old.Spec
	completionsStay(l, specPath.Child("completions"), s, was)
	stays := func(name string, now, before any) {
		l.Add(apivalidation.ValidateImmutableField(now, before, specPath.Child(name))...)
	}
	stays("selector", s.Selector, was.Selector)
	templateStays(l, s, old)
	stays("completionMode", s.CompletionMode, was.CompletionMode)
	stays("podFailurePolicy", s.PodFailurePolicy, was.PodFailurePolicy)
	stays("backoffLimitPerIndex", s.BackoffLimitPerIndex, was.BackoffLimitPerIndex)
	stays("managedBy", s.ManagedBy, was.ManagedBy)
	stays("successPolicy", s.SuccessPolicy, was.SuccessPolicy)
}

// completionsStay lets the number of an indexed job's completions change together with its parallelism.
func completionsStay(l *check.List, path *field.Path, s, was *batchv1.JobSpec) {
	switch {
	case ptr.Deref(s.CompletionMode, "") != batchv1.IndexedCompletion:
		l.Add(apivalidation.ValidateImmutableField(s.Completions, was.Completions, path)...)
	case s.Completions == nil || ptr.Equal(s.Completions, was.Completions):
	case *s.Completions != ptr.Deref(s.Parallelism, 0):
		l.Invalid(path, s.Completions, "can only be modified in tandem with spec.parallelism")
	}
}

// templateStays refuses changes of the template, but for where pods go and what they need while the
// job is suspended and has none.
func templateStays(l *check.List, s *batchv1.JobSpec, old *batchv1.Job) {
	path, t, was := specPath.Child("template"), &s.Template, old.Spec.Template.DeepCopy()
	suspended := ptr.Deref(old.Spec.Suspend, false)
	open := suspended && (old.Status.StartTime == nil || has(old, batchv1.JobSuspended)) && old.Status.Active == 0
	if !open {
		l.Add(apivalidation.ValidateImmutableField(t, was, path)...)
		return
	}
	takeAffinity(&was.Spec, &t.Spec)
	was.Spec.NodeSelector, was.Spec.Tolerations, was.Spec.SchedulingGates = t.Spec.NodeSelector, t.Spec.Tolerations, t.Spec.SchedulingGates
	takeResources(was.Spec.Containers, t.Spec.Containers)
	takeResources(was.Spec.InitContainers, t.Spec.InitContainers)
	if !equality.Semantic.DeepEqual(t.Spec, was.Spec) {
		l.Invalid(field.NewPath("spec", "template.spec"), t.Spec, apivalidation.FieldImmutableErrorMsg)
	}
}

func takeAffinity(to, from *corev1.PodSpec) {
	switch now, was := from.Affinity, to.Affinity; {
	case now == nil && was != nil:
		if was.NodeAffinity = nil; *was == (corev1.Affinity{}) {
			to.Affinity = nil
		}
	case now != nil && was == nil:
		to.Affinity = &corev1.Affinity{NodeAffinity: now.NodeAffinity}
	case now != nil:
		was.NodeAffinity = now.NodeAffinity
	}
}

func takeResources(to, from []corev1.Container) {
	if len(to) != len(from) {
		return
	}
	for i := range to {
		if to[i].Name == from[i].Name {
			to[i].Resources = from[i].Resources
		}
	}
}

// containerNames are those that a rule about exit codes may name.
func containerNames(s *corev1.PodSpec) []string {
	var names []string
	for _, c := range slices.Concat(s.Containers, s.InitContainers) {
		names = append(names, c.Name)
	}
	return names
}
