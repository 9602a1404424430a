// Package batch has the rows of the kinds of batch/v1: Job and CronJob.
package batch

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
)

// Kinds returns the rows of all kinds of the group. The slice is the caller's own.
func Kinds() []apiserver.Kind { return []apiserver.Kind{CronJob(), Job()} }

var (
	specPath   = field.NewPath("spec")
	statusPath = field.NewPath("status")
)

func newKind(kind, resource, singular string, shortNames ...string) apiserver.Kind {
	return apiserver.Kind{
		QualifiedFinalizers: true,
		GroupVersionKind:    batchv1.SchemeGroupVersion.WithKind(kind),
		Resource:            resource,
		Singular:            singular,
		ShortNames:          shortNames,
		Categories:          []string{"all"},
		Namespaced:          true,
		Status:              true,
		Generation:          true,
	}
}

// defaultJobSpec fills in what jobs and templates for jobs have in common.
func defaultJobSpec(s *batchv1.JobSpec) {
	if p := s.PodFailurePolicy; p != nil {
		for i := range p.Rules {
			for j := range p.Rules[i].OnPodConditions {
				fill.Empty(&p.Rules[i].OnPodConditions[j].Status, corev1.ConditionTrue)
			}
		}
	}
	podspec.Default(&s.Template.Spec)
}

// dropDisabled clears what Kubernetes has but does not use by default.
func dropDisabled(s *batchv1.JobSpec) {
	s.Scheduling = nil
	podspec.DropDisabled(&s.Template.Spec)
}

// warnings tells what is likely a mistake in an object and its Job, which is at path; only a new object's name can still be another.
func warnings(name string, s *batchv1.JobSpec, path *field.Path, isNew, changed bool) []string {
	var out []string
	if isNew {
		out = podspec.NameWarnings(name, "Pod names and hostnames")
	}
	if !changed {
		return out
	}
	if ptr.Deref(s.CompletionMode, "") == batchv1.IndexedCompletion && ptr.Deref(s.Completions, 0) > manyIndexes && ptr.Deref(s.Parallelism, 0) > manyAtOnce {
		out = append(out, fmt.Sprintf("%s: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, "+
			"Kubernetes might not be able to track completedIndexes when a big number of indexes fail", path))
	}
	return append(out, podspec.Warnings(&s.Template.ObjectMeta, &s.Template.Spec, path.Child("template"))...)
}

// From here on the failed indexes of an Indexed Job may not fit its status.
const (
	manyIndexes = 100_000
	manyAtOnce  = 10_000
)
