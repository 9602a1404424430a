package batch

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Labels by their names from before they got a prefix.
const (
	oldNameLabel = "job-name"
	oldUIDLabel  = "controller-uid"
)

// Job returns the row of Job.
func Job() apiserver.Kind {
	k := newKind("Job", "jobs", "job")
	k.Object, k.List = &batchv1.Job{}, &batchv1.JobList{}
	k.Orphan = true // as in its first version
	k.OrphanWarning = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning"
	k.Default = row.Of(defaultJob)
	k.Prepare = row.Pair(prepareJob)
	k.Validate = row.Check(validateJob)
	k.ValidateStatus = row.Check(validateJobStatus)
	k.Warnings = row.Warn(func(o, old *batchv1.Job) []string {
		return warnings(o.Name, &o.Spec, specPath, old == nil, old == nil || o.Generation != old.Generation)
	})
	k.Fields = row.Fields(map[string]func(*batchv1.Job) string{
		"status.successful": func(o *batchv1.Job) string { return strconv.Itoa(int(o.Status.Succeeded)) },
	})
	k.Columns = row.Columns("Name", "Status", "Completions", "Duration", "Age", "Containers::wide", "Images::wide", "Selector::wide")
	k.Row = row.Cells(jobRow)
	return k
}

func defaultJob(o *batchv1.Job) {
	s := &o.Spec
	if s.Completions == nil && s.Parallelism == nil {
		s.Completions = ptr.To[int32](1)
	}
	fill.Nil(&s.Parallelism, 1)
	if s.BackoffLimitPerIndex != nil {
		fill.Nil(&s.BackoffLimit, math.MaxInt32)
	}
	fill.Nil(&s.BackoffLimit, 6)
	if s.Template.Labels != nil && len(o.Labels) == 0 {
		// One map for both: what Prepare adds to the one shows in the other, as in Kubernetes.
		o.Labels = s.Template.Labels
	}
	fill.Nil(&s.CompletionMode, batchv1.NonIndexedCompletion)
	fill.Nil(&s.Suspend, false)
	if s.PodFailurePolicy != nil {
		fill.Nil(&s.PodReplacementPolicy, batchv1.Failed)
	}
	fill.Nil(&s.PodReplacementPolicy, batchv1.TerminatingOrFailed)
	fill.Nil(&s.ManualSelector, false)
	defaultJobSpec(s)
}

// prepareJob gives a new job the selector and the labels by which its pods are known.
func prepareJob(o, old *batchv1.Job) {
	dropDisabled(&o.Spec)
	if old != nil {
		return
	}
	o.Status = batchv1.JobStatus{}
	if ptr.Deref(o.Spec.ManualSelector, false) {
		return
	}
	labels := &o.Spec.Template.Labels
	for _, l := range []struct{ name, value string }{
		{oldNameLabel, o.Name}, {batchv1.JobNameLabel, o.Name},
		{oldUIDLabel, string(o.UID)}, {batchv1.ControllerUidLabel, string(o.UID)},
	} {
		setIfMissing(labels, l.name, l.value)
	}
	fill.Nil(&o.Spec.Selector, metav1.LabelSelector{})
	setIfMissing(&o.Spec.Selector.MatchLabels, batchv1.ControllerUidLabel, string(o.UID))
	if len(o.Labels) == 0 {
		o.Labels = maps.Clone(*labels)
	}
}

func setIfMissing(m *map[string]string, key, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	if _, ok := (*m)[key]; !ok {
		(*m)[key] = value
	}
}

func jobRow(o *batchv1.Job, now time.Time) []any {
	completions := fmt.Sprintf("%d/1", o.Status.Succeeded)
	if n := ptr.Deref(o.Spec.Parallelism, 0); o.Spec.Completions != nil {
		completions = fmt.Sprintf("%d/%d", o.Status.Succeeded, *o.Spec.Completions)
	} else if n > 1 {
		completions = fmt.Sprintf("%d/1 of %d", o.Status.Succeeded, n)
	}
	took := ""
	if start, end := o.Status.StartTime, o.Status.CompletionTime; start != nil && end != nil {
		took = duration.HumanDuration(end.Sub(start.Time))
	} else if start != nil {
		took = duration.HumanDuration(now.Sub(start.Time))
	}
	names, images := row.Containers(o.Spec.Template.Spec.Containers)
	return []any{o.Name, jobState(o), completions, took, row.Age(o.CreationTimestamp, now), names, images,
		metav1.FormatLabelSelector(o.Spec.Selector)}
}

func jobState(o *batchv1.Job) string {
	switch {
	case has(o, batchv1.JobComplete):
		return "Complete"
	case has(o, batchv1.JobFailed):
		return "Failed"
	case o.DeletionTimestamp != nil:
		return "Terminating"
	}
	for _, t := range []batchv1.JobConditionType{batchv1.JobSuspended, batchv1.JobFailureTarget, batchv1.JobSuccessCriteriaMet} {
		if has(o, t) {
			return string(t)
		}
	}
	return "Running"
}

// has tells whether a condition of the job is true.
func has(o *batchv1.Job, t batchv1.JobConditionType) bool { return is(o, t, corev1.ConditionTrue) }

func is(o *batchv1.Job, t batchv1.JobConditionType, status corev1.ConditionStatus) bool {
	for _, c := range o.Status.Conditions {
		if c.Type == t && c.Status == status {
			return true
		}
	}
	return false
}
