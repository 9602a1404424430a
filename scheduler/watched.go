package scheduler

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/replica"
)

// watched is a kind of objects that plugins watch.
type watched struct {
	resource schema.GroupVersionResource
	view     *replica.Replica[client.Object]
	// absent is closed when the API server turned out not to serve the kind.
	absent chan struct{}
}

// watchObjects prepares a view of each kind that a plugin watches and that the client knows.
func (s *Scheduler) watchObjects() error {
	s.objects = map[reflect.Type]*watched{}
	for _, p := range s.cfg.Profiles {
		for _, obj := range p.watches {
			t := reflect.TypeOf(obj)
			if _, ok := obj.(*corev1.Pod); ok {
				s.watchesPods = true
				continue
			}
			if s.objects[t] != nil {
				continue
			}
			gvr, err := s.cfg.Client.ResourceFor(obj)
			if meta.IsNoMatchError(err) {
				s.cfg.Logger.Info("the API server has no such objects", "type", t.String())
				continue
			}
			if err != nil {
				return fmt.Errorf("scheduler: %v: %w", t, err)
			}
			view, err := replica.New(replica.Config[client.Object]{Client: s.cfg.Client, Resource: gvr, Logger: s.cfg.Logger})
			if err != nil {
				return fmt.Errorf("scheduler: %v: %w", t, err)
			}
			s.objects[t] = &watched{resource: gvr, view: view, absent: make(chan struct{})}
		}
	}
	return nil
}

// absentRetry is how often it is looked whether the API server now serves a kind.
const absentRetry = time.Minute

// run keeps the view in step. Of a kind that is not served there are no objects until it is.
func (w *watched) run(ctx context.Context, c client.Interface) error {
	told := false
	for {
		_, err := c.List(ctx, client.Ref{GroupVersionResource: w.resource}, metav1.ListOptions{Limit: 1})
		if !w.missing(err) {
			return w.view.Run(ctx) // which knows what to do about other errors
		}
		if !told {
			close(w.absent)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(absentRetry):
		}
	}
}

// missing tells whether an error means that the server does not serve the kind. A server refuses who has no right to
// list a kind before it looks whether there is one, and Kubernetes gives schedulers no rights to kinds of alpha and
// beta versions that it does not serve.
func (w *watched) missing(err error) bool {
	v := w.resource.Version
	unstable := strings.Contains(v, "alpha") || strings.Contains(v, "beta")
	return apierrors.IsNotFound(err) || unstable && apierrors.IsForbidden(err)
}

// synced waits until the view is complete or known to be empty, and returns false when ctx ends first.
func (w *watched) synced(ctx context.Context) bool {
	select {
	case <-w.view.Ready():
	case <-w.absent:
	case <-ctx.Done():
		return false
	}
	return true
}
