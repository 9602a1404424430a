package scheduler

import (
	"context"
	"runtime"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// batchJob is a job whose requests can go to an API server in the same process along with those of others: a
// busy scheduler binds many pods in one commit.
type batchJob interface {
	job
	// writes returns the requests; nil means that the job has to run by itself.
	writes(s *Scheduler) []client.Write
	// answered handles what became of them, instead of run.
	answered(ctx context.Context, s *Scheduler, err error)
}

// maxBatch bounds the jobs that share a commit. The more there are, the longer the first one waits.
const maxBatch = 32

// workers starts what runs the jobs until ctx ends. Their requests may go on until requests ends.
func (s *Scheduler) workers(ctx, requests context.Context, start func(func())) {
	for range s.cfg.Concurrency {
		start(func() { s.work(ctx, requests) })
	}
	if s.batcher == nil {
		return
	}
	// What takes long in a batch is the server's computing, in this program.
	for range runtime.GOMAXPROCS(0) {
		start(func() { s.workBatches(ctx, requests) })
	}
}

func (s *Scheduler) workBatches(ctx, requests context.Context) {
	jobs, series := make([]batchJob, 0, maxBatch), make([][]client.Write, 0, maxBatch)
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-s.batches:
			jobs, series = append(jobs[:0], first.batchJob), append(series[:0], first.series)
		}
		for more := true; more && len(jobs) < maxBatch; {
			select {
			case next := <-s.batches:
				jobs, series = append(jobs, next.batchJob), append(series, next.series)
			default:
				more = false
			}
		}
		s.runBatch(requests, jobs, series)
	}
}

// batched is a job with its writes.
type batched struct {
	batchJob
	series []client.Write
}

func (s *Scheduler) runBatch(ctx context.Context, jobs []batchJob, series [][]client.Write) {
	for _, j := range jobs {
		if _, ok := j.(*bindJob); ok {
			s.binding.Add(1)
			defer s.binding.Add(-1)
		}
	}
	var errs []error
	status := step(func() *Status {
		ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
		defer cancel()
		errs = s.batcher.Batch(ctx, series)
		return nil
	})
	for i, j := range jobs {
		err := error(nil)
		if status != nil {
			err = status.cause()
		} else {
			err = errs[i]
		}
		j.answered(ctx, s, err)
	}
}

// alone runs a job by itself, which may take its time.
func (s *Scheduler) alone(ctx context.Context, j job) { s.slow.Go(func() { j.run(ctx, s) }) }

func (j *bindJob) writes(s *Scheduler) []client.Write {
	if len(j.profile.binds) != 1 || len(j.profile.postBinds) > 0 {
		return nil
	}
	if _, ok := j.profile.binds[0].plugin.(DefaultBinder); !ok {
		return nil
	}
	ref, binding := bindingOf(s.podClient, j.pod.Pod, j.node)
	return []client.Write{{Ref: ref, Create: binding}}
}

func (j *bindJob) answered(ctx context.Context, s *Scheduler, err error) {
	var end *cycleEnd
	if status := settleBinding(ctx, j.binding(s.handle, 0), s.podClient, err); status != nil {
		end = &cycleEnd{NameDefaultBinder, "Bind", status}
	}
	j.finish(s, end)
}

// writesTo returns the request for a change of the status of the pod at hand, if that is all that is needed.
func (c *statusChange) writesTo(s *Scheduler, pod *corev1.Pod) (client.Write, bool) {
	if !s.sharesObjects || pod.ResourceVersion == "" {
		return client.Write{}, false
	}
	now := *pod
	c.apply(&now.Status)
	ref := s.podClient.Ref(pod.Namespace, pod.Name)
	ref.Subresource = "status"
	return client.Write{Ref: ref, Update: &now}, true
}

func (j *statusJob) writes(s *Scheduler) []client.Write {
	w, ok := j.writesTo(s, j.pod)
	if !ok {
		return nil
	}
	return []client.Write{w}
}

func (j *statusJob) answered(ctx context.Context, s *Scheduler, err error) {
	if err == nil || gone(err) {
		s.inbox.post(func(l *loop) { l.underWay-- })
		return
	}
	s.alone(ctx, j) // the pod at hand was not the newest
}

func (j *evictJob) writes(s *Scheduler) []client.Write {
	remove := client.Write{Ref: s.podClient.Ref(j.victim.Namespace, j.victim.Name), Delete: j.options()}
	c := evictedCondition(j.victim, j.by.Pod)
	if sameCondition(j.victim, &c) {
		return []client.Write{remove}
	}
	status, ok := (&statusChange{condition: &c}).writesTo(s, j.victim)
	if !ok {
		return nil
	}
	return []client.Write{status, remove}
}

func (j *evictJob) answered(ctx context.Context, s *Scheduler, err error) {
	if apierrors.IsConflict(err) || apierrors.IsForbidden(err) {
		s.alone(ctx, j) // the victim at hand was not the newest
		return
	}
	j.finish(s, j.unlessGone(err))
}

// options are those of the deletion: a pod that has been made anew under the victim's name is another one.
func (j *evictJob) options() *metav1.DeleteOptions {
	return &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &j.victim.UID}}
}
