package batch

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// change is a write to a job's status. Rules are asked about what a write touches, so that a status
// that broke them before does not stand in the way.
type change struct {
	check.List
	job, old *batchv1.Job
	now, was *batchv1.JobStatus
}

func validateJobStatus(o, old *batchv1.Job) field.ErrorList {
	c := &change{job: o, old: old, now: &o.Status, was: &old.Status}
	c.counts()
	c.conditions()
	c.times()
	c.finished()
	c.indexes()
	c.stays()
	return c.Errors()
}

// turned tells whether the condition became true or ceased to be.
func (c *change) turned(t batchv1.JobConditionType) bool { return has(c.job, t) != has(c.old, t) }

func isFinished(o *batchv1.Job) bool { return has(o, batchv1.JobComplete) || has(o, batchv1.JobFailed) }

func (c *change) condition(detail string) {
	c.Invalid(statusPath.Child("conditions"), field.OmitValueType{}, detail)
}

func (c *change) counts() {
	s := c.now
	c.NonNegative(statusPath.Child("active"), int64(s.Active))
	c.NonNegative(statusPath.Child("succeeded"), int64(s.Succeeded))
	c.NonNegative(statusPath.Child("failed"), int64(s.Failed))
	c.NonNegativePointer(statusPath.Child("ready"), s.Ready)
	c.NonNegativePointer(statusPath.Child("terminating"), s.Terminating)
	if u := s.UncountedTerminatedPods; u != nil {
		seen := map[types.UID]bool{}
		c.uncounted(statusPath.Child("uncountedTerminatedPods", "succeeded"), u.Succeeded, seen)
		c.uncounted(statusPath.Child("uncountedTerminatedPods", "failed"), u.Failed, seen)
	}
	if n := s.Ready; (!ptr.Equal(n, c.was.Ready) || s.Active != c.was.Active) && n != nil && *n > s.Active {
		c.Invalid(statusPath.Child("ready"), *n, "cannot set more ready pods than active")
	}
}

func (c *change) uncounted(path *field.Path, list []types.UID, seen map[types.UID]bool) {
	for i, uid := range list {
		switch {
		case uid == "":
			c.Invalid(path.Index(i), uid, "must not be empty")
		case seen[uid]:
			c.Add(field.Duplicate(path.Index(i), uid))
		}
		seen[uid] = true
	}
}

// conditions refuses conditions that contradict each other, and those that came without the ones that
// come before them.
func (c *change) conditions() {
	complete, failed := has(c.job, batchv1.JobComplete), has(c.job, batchv1.JobFailed)
	met, target := has(c.job, batchv1.JobSuccessCriteriaMet), has(c.job, batchv1.JobFailureTarget)
	completeTurned, failedTurned := c.turned(batchv1.JobComplete), c.turned(batchv1.JobFailed)
	indexes := !ptr.Equal(c.now.FailedIndexes, c.was.FailedIndexes)
	for _, r := range []struct {
		broken bool
		detail string
	}{
		{(completeTurned || failedTurned) && complete && failed, "cannot set Complete=True and Failed=true conditions"},
		{(completeTurned || c.turned(batchv1.JobFailureTarget)) && complete && target, "cannot set Complete=True and FailureTarget=true conditions"},
		{(failedTurned || indexes) && failed && !target, "cannot set Failed=True condition without the FailureTarget=true condition"},
		{(completeTurned || c.turned(batchv1.JobSuccessCriteriaMet)) && complete && !met, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"},
		{met && failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions"},
		{met && target, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"},
		{c.job.Spec.SuccessPolicy != nil && !met && complete, "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"},
		{has(c.old, batchv1.JobSuccessCriteriaMet) && !met, "cannot disable the SuccessCriteriaMet=True condition"},
		{has(c.old, batchv1.JobComplete) && !has(c.old, batchv1.JobSuccessCriteriaMet) && met, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"},
	} {
		if r.broken {
			c.condition(r.detail)
		}
	}
	for _, t := range []batchv1.JobConditionType{batchv1.JobFailed, batchv1.JobComplete, batchv1.JobFailureTarget} {
		if has(c.old, t) && !has(c.job, t) {
			c.condition(fmt.Sprintf("cannot disable the terminal %s=True condition", t))
		}
	}
}

func (c *change) times() {
	start, end, complete := c.now.StartTime, c.now.CompletionTime, has(c.job, batchv1.JobComplete)
	startMoved, endMoved := !ptr.Equal(start, c.was.StartTime), !ptr.Equal(end, c.was.CompletionTime)
	path := statusPath.Child("completionTime")
	if c.turned(batchv1.JobComplete) || endMoved {
		switch {
		case end != nil && !complete:
			c.Invalid(path, end, "cannot set completionTime when there is no Complete=True condition")
		case end == nil && complete:
			c.Required(path, "completionTime is required for Complete jobs")
		}
	}
	if (startMoved || endMoved) && start != nil && end != nil && end.Before(start) {
		c.Invalid(path, end, "must be equal to or after `startTime`")
	}
	if end != nil && c.was.CompletionTime != nil && endMoved {
		c.Invalid(path, end, "field is immutable")
	}
	resumed := has(c.old, batchv1.JobSuspended) && is(c.job, batchv1.JobSuspended, corev1.ConditionFalse)
	if startMoved && !resumed && c.was.StartTime != nil && !ptr.Deref(c.job.Spec.Suspend, false) {
		c.Invalid(statusPath.Child("startTime"), start, "field is immutable for unsuspended job once set")
	}
}

// finished asks that nothing is left of a job that is over.
func (c *change) finished() {
	if !isFinished(c.job) {
		return
	}
	s, turned := c.now, !isFinished(c.old)
	spec := &c.job.Spec
	never := ptr.Deref(spec.Suspend, false) && spec.Completions != nil && *spec.Completions == 0
	if (turned || s.Active != c.was.Active) && s.Active > 0 {
		c.Invalid(statusPath.Child("active"), s.Active, "active>0 is invalid for finished job")
	}
	if (turned || !ptr.Equal(s.StartTime, c.was.StartTime)) && !never && s.StartTime == nil {
		c.Required(statusPath.Child("startTime"), "startTime is required for finished job")
	}
	u := s.UncountedTerminatedPods
	if (turned || !equality.Semantic.DeepEqual(u, c.was.UncountedTerminatedPods)) && u != nil && len(u.Failed)+len(u.Succeeded) > 0 {
		c.Invalid(statusPath.Child("uncountedTerminatedPods"), u, "must be empty for finished job")
	}
	if (turned || !ptr.Equal(s.Terminating, c.was.Terminating)) && ptr.Deref(s.Terminating, 0) > 0 {
		c.Invalid(statusPath.Child("terminating"), s.Terminating, "terminating>0 is invalid for finished job")
	}
}

func (c *change) indexes() {
	s, spec := c.now, &c.job.Spec
	n := ptr.Deref(spec.Completions, 0)
	completed, failed := statusPath.Child("completedIndexes"), statusPath.Child("failedIndexes")
	completedMoved, failedMoved := s.CompletedIndexes != c.was.CompletedIndexes, !ptr.Equal(s.FailedIndexes, c.was.FailedIndexes)
	if completedMoved && spec.Completions != nil {
		if _, err := countIndexes(s.CompletedIndexes, n); err != nil {
			c.Invalid(completed, s.CompletedIndexes, fmt.Sprintf("error parsing completedIndexes: %s", err))
		}
	}
	if completedMoved && s.CompletedIndexes != "" && !isIndexed(spec) {
		c.Invalid(completed, s.CompletedIndexes, "cannot set non-empty completedIndexes when non-indexed completion mode")
	}
	if s.FailedIndexes == nil {
		return
	}
	if failedMoved && spec.Completions != nil && spec.BackoffLimitPerIndex != nil {
		if _, err := countIndexes(*s.FailedIndexes, n); err != nil {
			c.Invalid(failed, s.FailedIndexes, fmt.Sprintf("error parsing failedIndexes: %s", err))
		}
	}
	if failedMoved && spec.BackoffLimitPerIndex == nil {
		c.Invalid(failed, *s.FailedIndexes, "cannot set non-null failedIndexes when backoffLimitPerIndex is null")
	}
	if (failedMoved || completedMoved) && spec.Completions != nil {
		if i, ok := overlap(s.CompletedIndexes, *s.FailedIndexes, n); ok {
			c.Invalid(failed, *s.FailedIndexes, fmt.Sprintf("failedIndexes and completedIndexes overlap at index: %d", i))
		}
	}
}

func isIndexed(s *batchv1.JobSpec) bool {
	return ptr.Deref(s.CompletionMode, batchv1.NonIndexedCompletion) == batchv1.IndexedCompletion
}

// stays refuses to count backwards. An indexed job that shrinks may have fewer successes.
func (c *change) stays() {
	spec := &c.job.Spec
	if c.now.Failed < c.was.Failed {
		c.Invalid(statusPath.Child("failed"), c.now.Failed, "cannot decrease the failed counter")
	}
	if elastic := isIndexed(spec) && ptr.Equal(spec.Completions, spec.Parallelism); !elastic && c.now.Succeeded < c.was.Succeeded {
		c.Invalid(statusPath.Child("succeeded"), c.now.Succeeded, "cannot decrease the succeeded counter")
	}
}
