package scheduler

import (
	"cmp"
	"context"
	"errors"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// bindsAtOnce bounds the requests of BindAll that are under way.
const bindsAtOnce = 16

var errUnplaced = errors.New("scheduler: the outcome names no node")

// BindAll binds pods to the nodes that ScheduleAll, or anyone else, has chosen for them: in one commit when the API
// server is in this process (a client.Batcher), else by requests of which some are under way at once. It returns the
// error of each: why the pod has no node, or why it could not be bound, such as a Conflict when it has a node
// already or is another pod of the same name by now; it may be bound when the error is a timeout.
func BindAll(ctx context.Context, c client.Interface, outcomes []Outcome) []error {
	errs := make([]error, len(outcomes))
	pods := client.For[*corev1.Pod](c)
	var series [][]client.Write
	var at []int
	for i, o := range outcomes {
		if o.Err != nil || o.Node == "" {
			errs[i] = cmp.Or(o.Err, errUnplaced)
			continue
		}
		ref, binding := bindingOf(pods, o.Pod, o.Node)
		series, at = append(series, []client.Write{{Ref: ref, Create: binding}}), append(at, i)
	}
	if b, ok := c.(client.Batcher); ok {
		for i, err := range b.Batch(ctx, series) {
			errs[at[i]] = err
		}
		return errs
	}
	free := make(chan struct{}, bindsAtOnce)
	var wg sync.WaitGroup
	for i, w := range series {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			_, errs[at[i]] = c.Create(ctx, w[0].Ref, w[0].Create, metav1.CreateOptions{})
		})
	}
	wg.Wait()
	return errs
}
