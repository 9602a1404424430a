package apiserver

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
)

var eventsResource = corev1.SchemeGroupVersion.WithResource("events")

// expireEvents removes the Events that nothing has been added to for Config.EventTTL.
func (s *Server) expireEvents(ctx context.Context) error {
	if s.cfg.EventTTL < 0 || s.base.byResource[eventsResource] == nil {
		return nil
	}
	ref := client.Ref{GroupVersionResource: eventsResource}
	rq, err := s.begin(ctx, systemUser, verbList, ref)
	if err != nil {
		return err
	}
	l, err := s.list(ctx, rq, &metav1.ListOptions{})
	if err != nil {
		return err
	}
	oldest := s.now().Add(-s.cfg.EventTTL)
	for _, f := range l.items {
		ev, ok := f.obj.(*corev1.Event)
		if !ok || lastSeen(ev).After(oldest) {
			continue
		}
		ref.Namespace, ref.Name = ev.Namespace, ev.Name
		version := ev.ResourceVersion
		gone := &request{user: systemUser, verb: verbDelete, ref: ref, res: rq.res, warn: noWarnings}
		_, err := s.delete(ctx, gone, &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &version}})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return err
		}
	}
	return nil
}

// lastSeen is when an Event last happened.
func lastSeen(ev *corev1.Event) time.Time {
	at := ev.CreationTimestamp.Time
	if ev.LastTimestamp.After(at) {
		at = ev.LastTimestamp.Time
	}
	if ev.EventTime.After(at) {
		at = ev.EventTime.Time
	}
	if ev.Series != nil && ev.Series.LastObservedTime.After(at) {
		at = ev.Series.LastObservedTime.Time
	}
	return at
}
