package batch

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

var (
	templatePath = specPath.Child("jobTemplate", "spec")
	zonePart     = check.Pattern(`^[A-Za-z\.\-_0-9+]{1,14}$`)
)

// CronJob returns the row of CronJob.
func CronJob() apiserver.Kind {
	k := newKind("CronJob", "cronjobs", "cronjob", "cj")
	k.Object, k.List = &batchv1.CronJob{}, &batchv1.CronJobList{}
	k.Default = row.Of(func(o *batchv1.CronJob) {
		s := &o.Spec
		fill.Empty(&s.ConcurrencyPolicy, batchv1.AllowConcurrent)
		fill.Nil(&s.Suspend, false)
		fill.Nil(&s.SuccessfulJobsHistoryLimit, 3)
		fill.Nil(&s.FailedJobsHistoryLimit, 1)
		defaultJobSpec(&s.JobTemplate.Spec)
	})
	k.Prepare = row.Pair(func(o, old *batchv1.CronJob) {
		dropDisabled(&o.Spec.JobTemplate.Spec)
		if old == nil {
			o.Status = batchv1.CronJobStatus{}
		}
	})
	k.Validate = row.Check(validateCronJob)
	k.Warnings = row.Warn(func(o, old *batchv1.CronJob) []string {
		out := warnings(o.Name, &o.Spec.JobTemplate.Spec, templatePath, old == nil, old == nil || o.Generation != old.Generation)
		if old != nil && strings.Contains(o.Spec.Schedule, "TZ") {
			out = append(out, "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details")
		}
		return out
	})
	k.Columns = row.Columns("Name", "Schedule", "Timezone", "Suspend:boolean", "Active:integer", "Last Schedule", "Age",
		"Containers::wide", "Images::wide", "Selector::wide")
	k.Row = row.Cells(cronJobRow)
	return k
}

func cronJobRow(o *batchv1.CronJob, now time.Time) []any {
	last, suspend := "<none>", "<unset>"
	if t := o.Status.LastScheduleTime; t != nil {
		last = row.Age(*t, now)
	}
	if s := o.Spec.Suspend; s != nil {
		suspend = map[bool]string{true: "True", false: "False"}[*s]
	}
	job := &o.Spec.JobTemplate.Spec
	names, images := row.Containers(job.Template.Spec.Containers)
	return []any{o.Name, o.Spec.Schedule, ptr.Deref(o.Spec.TimeZone, "<none>"), suspend, int64(len(o.Status.Active)), last,
		row.Age(o.CreationTimestamp, now), names, images, metav1.FormatLabelSelector(job.Selector)}
}

func validateCronJob(o, old *batchv1.CronJob) field.ErrorList {
	var l check.List
	s := &o.Spec
	if s.Schedule == "" {
		l.Required(specPath.Child("schedule"), "")
	} else {
		schedule(&l, s, old != nil && strings.Contains(old.Spec.Schedule, "TZ"))
	}
	if d := s.StartingDeadlineSeconds; d != nil {
		l.NonNegative(specPath.Child("startingDeadlineSeconds"), *d)
	}
	if old == nil || !ptr.Equal(old.Spec.TimeZone, s.TimeZone) {
		timeZone(&l, specPath.Child("timeZone"), s.TimeZone)
	}
	check.Enum(&l, specPath.Child("concurrencyPolicy"), s.ConcurrencyPolicy,
		batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent)
	jobSpec(&l, templatePath, &s.JobTemplate.Spec)
	if s.JobTemplate.Spec.Selector != nil {
		l.Invalid(templatePath.Child("selector"), s.JobTemplate.Spec.Selector, "`selector` will be auto-generated")
	}
	if m := s.JobTemplate.Spec.ManualSelector; ptr.Deref(m, false) {
		l.Add(field.NotSupported(templatePath.Child("manualSelector"), m, []string{"nil", "false"}))
	}
	l.NonNegativePointer(specPath.Child("successfulJobsHistoryLimit"), s.SuccessfulJobsHistoryLimit)
	l.NonNegativePointer(specPath.Child("failedJobsHistoryLimit"), s.FailedJobsHistoryLimit)
	const suffix = 11 // what the names of a CronJob's jobs have more
	if longest := validation.DNS1035LabelMaxLength - suffix; old == nil && len(o.Name) > longest {
		l.Invalid(field.NewPath("metadata", "name"), o.Name, fmt.Sprintf("must be no more than %d characters", longest))
	}
	return l.Errors()
}

func schedule(l *check.List, s *batchv1.CronJobSpec, hadZone bool) {
	path := specPath.Child("schedule")
	if err := parseSchedule(s.Schedule); err != nil {
		l.Invalid(path, s.Schedule, err.Error())
	}
	switch zoned := strings.Contains(s.Schedule, "TZ"); {
	case zoned && !hadZone:
		l.Invalid(path, s.Schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
	case zoned && s.TimeZone != nil:
		l.Invalid(path, s.Schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule")
	}
}

// parseSchedule tells what is wrong with a schedule; the library panics about some.
func parseSchedule(s string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("invalid schedule format: %v", r)
		}
	}()
	_, err = cron.ParseStandard(s)
	return err
}

func timeZone(l *check.List, path *field.Path, name *string) {
	switch {
	case name == nil:
		return
	case *name == "":
		l.Invalid(path, name, "timeZone must be nil or non-empty string")
		return
	}
	for part := range strings.SplitSeq(*name, "/") {
		// A name becomes the path of a file.
		if part == "." || part == ".." || strings.HasPrefix(part, "-") || !zonePart().MatchString(part) {
			l.Invalid(path, name, "unknown time zone "+*name)
			return
		}
	}
	if strings.EqualFold(*name, "Local") {
		l.Invalid(path, name, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")
	}
	if _, err := time.LoadLocation(*name); err != nil {
		l.Invalid(path, name, err.Error())
	}
}
