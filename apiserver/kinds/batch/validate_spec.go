package batch

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
)

const (
	maxIndexes      = 100_000 // parallel pods, and failed indexes, of an indexed job
	maxOfManyIndex  = 10_000  // the same, when there are more completions than maxIndexes
	maxRules        = 20
	maxExitCodes    = 255
	maxConditions   = 20
	maxManagedBy    = 63
	maxIndexesBytes = 64 << 10
)

// jobSpec checks what jobs and templates for jobs have in common.
func jobSpec(l *check.List, path *field.Path, s *batchv1.JobSpec) {
	l.NonNegativePointer(path.Child("parallelism"), s.Parallelism)
	l.NonNegativePointer(path.Child("completions"), s.Completions)
	if s.ActiveDeadlineSeconds != nil {
		l.NonNegative(path.Child("activeDeadlineSeconds"), *s.ActiveDeadlineSeconds)
	}
	l.NonNegativePointer(path.Child("backoffLimit"), s.BackoffLimit)
	l.NonNegativePointer(path.Child("ttlSecondsAfterFinished"), s.TTLSecondsAfterFinished)
	l.NonNegativePointer(path.Child("backoffLimitPerIndex"), s.BackoffLimitPerIndex)
	if s.MaxFailedIndexes != nil {
		l.NonNegative(path.Child("maxFailedIndexes"), int64(*s.MaxFailedIndexes))
		if s.BackoffLimitPerIndex == nil {
			l.Required(path.Child("backoffLimitPerIndex"), "when maxFailedIndexes is specified")
		}
	}
	if m := s.ManagedBy; m != nil {
		l.Add(validation.IsDomainPrefixedPath(path.Child("managedBy"), *m)...)
		if len(*m) > maxManagedBy {
			l.Add(field.TooLong(path.Child("managedBy"), "", maxManagedBy))
		}
	}
	completionMode(l, path, s)
	if s.PodFailurePolicy != nil {
		failurePolicy(l, path.Child("podFailurePolicy", "rules"), s)
	}
	if p := path.Child("successPolicy"); s.SuccessPolicy != nil {
		if ptr.Deref(s.CompletionMode, batchv1.NonIndexedCompletion) != batchv1.IndexedCompletion {
			l.Invalid(p, *s.SuccessPolicy, "requires indexed completion mode")
		} else {
			successPolicy(l, p.Child("rules"), s)
		}
	}
	if r, p := s.PodReplacementPolicy, path.Child("podReplacementPolicy"); r != nil {
		if s.PodFailurePolicy != nil {
			check.Supported(l, p, *r, batchv1.Failed)
		} else {
			check.Supported(l, p, *r, batchv1.Failed, batchv1.TerminatingOrFailed)
		}
	}
	l.Add(podspec.ValidateTemplateSpec(&s.Template, path.Child("template"))...)
	restartPolicy(l, path.Child("template", "spec", "restartPolicy"), s)
}

func restartPolicy(l *check.List, path *field.Path, s *batchv1.JobSpec) {
	switch r := s.Template.Spec.RestartPolicy; {
	case r == corev1.RestartPolicyAlways || r == "":
		l.Required(path, fmt.Sprintf("valid values: %q, %q", corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever))
	case r != corev1.RestartPolicyOnFailure && r != corev1.RestartPolicyNever:
		check.Supported(l, path, r, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)
	case s.PodFailurePolicy != nil && r != corev1.RestartPolicyNever:
		l.Invalid(path, r, fmt.Sprintf("only %q is supported when podFailurePolicy is specified", corev1.RestartPolicyNever))
	}
}

func completionMode(l *check.List, path *field.Path, s *batchv1.JobSpec) {
	mode := ptr.Deref(s.CompletionMode, batchv1.NonIndexedCompletion)
	if s.CompletionMode != nil {
		check.Supported(l, path.Child("completionMode"), mode, batchv1.NonIndexedCompletion, batchv1.IndexedCompletion)
	}
	switch mode {
	case batchv1.IndexedCompletion:
		indexed(l, path, s)
	case batchv1.NonIndexedCompletion:
		const needs = "requires indexed completion mode"
		if s.BackoffLimitPerIndex != nil {
			l.Invalid(path.Child("backoffLimitPerIndex"), *s.BackoffLimitPerIndex, needs)
		}
		if s.MaxFailedIndexes != nil {
			l.Invalid(path.Child("maxFailedIndexes"), *s.MaxFailedIndexes, needs)
		}
	}
}

// indexed checks the numbers of a job whose pods are numbered.
func indexed(l *check.List, path *field.Path, s *batchv1.JobSpec) {
	completions, failed, parallel := s.Completions, s.MaxFailedIndexes, ptr.Deref(s.Parallelism, 0)
	if completions == nil {
		l.Required(path.Child("completions"), fmt.Sprintf("when completion mode is %s", batchv1.IndexedCompletion))
	}
	if parallel > maxIndexes {
		l.Invalid(path.Child("parallelism"), parallel, fmt.Sprintf("must be less than or equal to %d when completion mode is %s", maxIndexes, batchv1.IndexedCompletion))
	}
	if completions != nil && failed != nil && *failed > *completions {
		l.Invalid(path.Child("maxFailedIndexes"), *failed, "must be less than or equal to completions")
	}
	if failed != nil && *failed > maxIndexes {
		l.Invalid(path.Child("maxFailedIndexes"), *failed, fmt.Sprintf("must be less than or equal to %d", maxIndexes))
	}
	if completions == nil || *completions <= maxIndexes || s.BackoffLimitPerIndex == nil {
		return
	}
	few := fmt.Sprintf("must be less than or equal to %d when completions are above %d and used with backoff limit per index", maxOfManyIndex, maxIndexes)
	if failed == nil {
		l.Required(path.Child("maxFailedIndexes"), fmt.Sprintf("must be specified when completions is above %d", maxIndexes))
	}
	if parallel > maxOfManyIndex {
		l.Invalid(path.Child("parallelism"), parallel, few)
	}
	if failed != nil && *failed > maxOfManyIndex {
		l.Invalid(path.Child("maxFailedIndexes"), *failed, few)
	}
}

func failurePolicy(l *check.List, path *field.Path, s *batchv1.JobSpec) {
	list := s.PodFailurePolicy.Rules
	if len(list) > maxRules {
		l.Add(field.TooMany(path, len(list), maxRules))
	}
	names := containerNames(&s.Template.Spec)
	for i := range list {
		r, p := &list[i], path.Index(i)
		if r.Action == batchv1.PodFailurePolicyActionFailIndex && s.BackoffLimitPerIndex == nil {
			l.Invalid(p.Child("action"), r.Action, "requires the backoffLimitPerIndex to be set")
		}
		valid(l, p.Child("action"), r.Action, batchv1.PodFailurePolicyActionCount, batchv1.PodFailurePolicyActionFailIndex,
			batchv1.PodFailurePolicyActionFailJob, batchv1.PodFailurePolicyActionIgnore)
		if r.OnExitCodes != nil {
			exitCodes(l, p.Child("onExitCodes"), r.OnExitCodes, names)
		}
		podConditions(l, p.Child("onPodConditions"), r.OnPodConditions)
		switch codes, conditions := r.OnExitCodes != nil, len(r.OnPodConditions) > 0; {
		case codes && conditions:
			l.Invalid(p, field.OmitValueType{}, "specifying both OnExitCodes and OnPodConditions is not supported")
		case !codes && !conditions:
			l.Invalid(p, field.OmitValueType{}, "specifying one of OnExitCodes and OnPodConditions is required")
		}
	}
}

// valid is check.Enum with the values told also where there is none.
func valid[T ~string](l *check.List, path *field.Path, v T, values ...T) {
	if v == "" {
		l.Required(path, fmt.Sprintf("valid values: %q", values))
		return
	}
	check.Supported(l, path, v, values...)
}

func podConditions(l *check.List, path *field.Path, list []batchv1.PodFailurePolicyOnPodConditionsPattern) {
	if len(list) > maxConditions {
		l.Add(field.TooMany(path, len(list), maxConditions))
	}
	for i, c := range list {
		l.QualifiedName(path.Index(i).Child("type"), string(c.Type))
		valid(l, path.Index(i).Child("status"), c.Status, corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown)
	}
}

func exitCodes(l *check.List, path *field.Path, r *batchv1.PodFailurePolicyOnExitCodesRequirement, names []string) {
	valid(l, path.Child("operator"), r.Operator, batchv1.PodFailurePolicyOnExitCodesOpIn, batchv1.PodFailurePolicyOnExitCodesOpNotIn)
	if n := r.ContainerName; n != nil && !slices.Contains(names, *n) {
		l.Invalid(path.Child("containerName"), *n, "must be one of the container or initContainer names in the pod template")
	}
	values := path.Child("values")
	switch n := len(r.Values); {
	case n == 0:
		l.Invalid(values, r.Values, "at least one value is required")
	case n > maxExitCodes:
		l.Add(field.TooMany(values, n, maxExitCodes))
	}
	for i, v := range r.Values {
		if r.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn && v == 0 {
			l.Invalid(values.Index(i), v, "must not be 0 for the In operator")
		}
		if slices.Contains(r.Values[:i], v) {
			l.Add(field.Duplicate(values.Index(i), v))
		}
	}
	if !slices.IsSorted(r.Values) {
		l.Invalid(values, r.Values, "must be ordered")
	}
}

func successPolicy(l *check.List, path *field.Path, s *batchv1.JobSpec) {
	list, completions := s.SuccessPolicy.Rules, ptr.Deref(s.Completions, 0)
	if len(list) == 0 {
		l.Required(path, "at least one rules must be specified when the successPolicy is specified")
	}
	if len(list) > maxRules {
		l.Add(field.TooMany(path, len(list), maxRules))
	}
	for i, r := range list {
		p, total := path.Index(i), int32(0)
		if r.SucceededCount == nil && r.SucceededIndexes == nil {
			l.Required(p, "at least one of succeededCount or succeededIndexes must be specified")
		}
		if text := r.SucceededIndexes; text != nil {
			if len(*text) > maxIndexesBytes {
				l.Add(field.TooLong(p.Child("succeededIndexes"), "", maxIndexesBytes))
			}
			var err error
			if total, err = countIndexes(*text, completions); err != nil {
				l.Invalid(p.Child("succeededIndexes"), *text, fmt.Sprintf("error parsing succeededIndexes: %s", err))
			}
		}
		if n, p := r.SucceededCount, p.Child("succeededCount"); n != nil {
			l.NonNegative(p, int64(*n))
			if *n > completions {
				l.Invalid(p, *n, fmt.Sprintf("must be less than or equal to %d (the number of specified completions)", completions))
			}
			if r.SucceededIndexes != nil && *n > total {
				l.Invalid(p, *n, fmt.Sprintf("must be less than or equal to %d (the number of indexes in the specified succeededIndexes field)", total))
			}
		}
	}
}
