package apiserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// systemUser is who the server itself writes as.
var systemUser = &Identity{User: "system:apiserver", Groups: []string{GroupMasters}}

// keepEvery is the pause between two rounds of the server's own housekeeping.
const keepEvery = time.Minute

// Run makes what every cluster has, closes Ready, and keeps house until ctx ends: it removes Events
// past their time, restores the objects that the server keeps itself, lets go of indexes that nobody uses, and runs
// Config.FlowControl. What admission refuses at the beginning it tries again, and is not ready until then. It returns
// when all that it started has stopped; the error is nil on cancel.
func (s *Server) Run(ctx context.Context) error {
	if err := s.begun(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	s.readyOnce.Do(func() { close(s.ready) })
	var wg sync.WaitGroup
	var aggregation error
	if s.cfg.Aggregator != nil {
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		ctx = inner
		wg.Go(func() {
			aggregation = s.cfg.Aggregator.Run(inner, s)
			cancel() // one part that fails ends the others
		})
	}
	for name, round := range map[string]func(context.Context) error{
		"system objects": s.bootstrap,
		"event expiry":   s.expireEvents,
		"indexes":        s.releaseIndexes,
	} {
		wg.Go(func() { s.every(ctx, name, round) })
	}
	if f := s.cfg.FlowControl; f != nil {
		wg.Go(func() {
			if err := f.Run(ctx, s.Client(*systemUser)); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Error("flow control ended", "error", err)
			}
		})
	}
	wg.Wait()
	return aggregation
}

// retryEvery is the pause after which what every cluster has is tried again.
const retryEvery = time.Second

// begun makes what every cluster has. What can't be made while the store works is tried again until ctx ends: what
// refuses it, as a webhook that is down, is the users' to mend, and for that they need the server, which answers
// meanwhile but is not ready.
func (s *Server) begun(ctx context.Context) error {
	for {
		err := s.bootstrapAll(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return nil
		case s.storeWorks(ctx) != nil:
			return err
		}
		s.cfg.Logger.Error("what every cluster has can't be made; trying again", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryEvery):
		}
	}
}

func (s *Server) bootstrapAll(ctx context.Context) error {
	err := s.bootstrap(ctx)
	if policy, ok := s.cfg.Authorizer.(Policy); ok && err == nil {
		err = policy.Bootstrap(ctx, s.Client(*systemUser))
	}
	if s.cfg.FlowControl != nil && err == nil {
		err = s.cfg.FlowControl.Bootstrap(ctx, s.Client(*systemUser))
	}
	return err
}

// every runs a round of housekeeping now and then until ctx ends.
func (s *Server) every(ctx context.Context, name string, round func(context.Context) error) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := round(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("housekeeping failed; trying again", "what", name, "error", err)
		}
	}
}

// bootstrap makes the system's own objects, as far as their kinds are served.
func (s *Server) bootstrap(ctx context.Context) error {
	if s.base.byResource[namespacesResource] == nil {
		return nil
	}
	for _, name := range systemNamespaces {
		if err := s.ensureNamespace(ctx, name); err != nil {
			return fmt.Errorf("apiserver: making the namespace %s: %w", name, err)
		}
	}
	if err := s.ensurePriorityClasses(ctx); err != nil {
		return fmt.Errorf("apiserver: making the system's priority classes: %w", err)
	}
	if err := s.ensureServiceCIDR(ctx); err != nil {
		return err
	}
	return s.advertise(ctx)
}

// ensureNamespace makes a namespace unless it exists.
func (s *Server) ensureNamespace(ctx context.Context, name string) error {
	obj, _, err := s.lookup(ctx, s.base.byResource[namespacesResource], "", name)
	if err != nil || obj != nil {
		return err
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err = s.systemCreate(ctx, client.Ref{GroupVersionResource: namespacesResource}, ns)
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// systemCreate stores an object of the server's own; obj becomes the server's.
func (s *Server) systemCreate(ctx context.Context, ref client.Ref, obj client.Object) (found, error) {
	rq, err := s.begin(ctx, systemUser, verbCreate, ref)
	if err != nil {
		return found{}, err
	}
	return s.create(ctx, rq, obj)
}
