package clientgo

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
)

// TestLeaderElection: one of three leads; when it ends, another takes over, and never two lead.
func TestLeaderElection(t *testing.T) {
	w := start(t)
	cs := w.clientset(t)
	leads := make(chan string, 10)
	ends := map[string]context.CancelFunc{}
	ended := make(chan string, 3)
	leading := make(chan struct{}, 1)
	for _, id := range []string{"a", "b", "c"} {
		lock, err := resourcelock.New(resourcelock.LeasesResourceLock, "default", "lead", cs.CoreV1(), cs.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: id})
		must(t, err)
		e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: lock, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 50 * time.Millisecond, ReleaseOnCancel: true, Name: id,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(ctx context.Context) {
					select {
					case leading <- struct{}{}:
					default:
						t.Error("two lead")
					}
					leads <- id
					<-ctx.Done()
					<-leading
				},
				OnStoppedLeading: func() {},
			},
		})
		must(t, err)
		ctx, cancel := context.WithCancel(w.ctx)
		ends[id] = cancel
		go func() { e.Run(ctx); ended <- id }()
	}
	for range 3 {
		select {
		case id := <-leads:
			l, err := cs.CoordinationV1().Leases("default").Get(w.ctx, "lead", metav1.GetOptions{})
			must(t, err)
			if *l.Spec.HolderIdentity != id {
				t.Errorf("%s leads, the lease is of %s", id, *l.Spec.HolderIdentity)
			}
			ends[id]()
		case <-time.After(time.Minute):
			t.Fatal("nobody leads")
		}
	}
	for range 3 {
		<-ended
	}
	l, err := cs.CoordinationV1().Leases("default").Get(t.Context(), "lead", metav1.GetOptions{})
	must(t, err)
	if *l.Spec.HolderIdentity != "" || *l.Spec.LeaseTransitions < 2 {
		t.Errorf("the lease is left as %+v", l.Spec)
	}
}

// TestEventRecorders records by both of client-go's recorders: what comes again is counted, not added.
func TestEventRecorders(t *testing.T) {
	w := start(t)
	cs := w.clientset(t)
	cm, err := cs.CoreV1().ConfigMaps("default").Create(w.ctx, configMap("about"), metav1.CreateOptions{})
	must(t, err)
	b := record.NewBroadcaster()
	b.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: cs.CoreV1().Events("")})
	defer b.Shutdown()
	r := b.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "old"})
	for range 3 {
		r.Event(cm, corev1.EventTypeNormal, "Counted", "again")
	}
	eventually(t, func() error {
		l, err := cs.CoreV1().Events("default").List(w.ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=about,reason=Counted"})
		if err == nil && (len(l.Items) != 1 || l.Items[0].Count != 3 || l.Items[0].Source.Component != "old") {
			err = fmt.Errorf("events: %+v", l.Items)
		}
		return err
	})
	nb := events.NewBroadcaster(&events.EventSinkImpl{Interface: cs.EventsV1()})
	must(t, nb.StartRecordingToSinkWithContext(w.ctx))
	defer nb.Shutdown()
	nr := nb.NewRecorder(scheme.Scheme, "new.example.com/c")
	for range 3 {
		nr.Eventf(cm, nil, corev1.EventTypeWarning, "Series", "Acting", "note")
	}
	eventually(t, func() error {
		l, err := cs.EventsV1().Events("default").List(w.ctx, metav1.ListOptions{FieldSelector: "reason=Series"})
		if err != nil {
			return err
		}
		if len(l.Items) != 1 || l.Items[0].ReportingController != "new.example.com/c" || !hasSeries(l.Items[0]) {
			return fmt.Errorf("events: %+v", l.Items)
		}
		return nil
	})
}

func hasSeries(e eventsv1.Event) bool { return e.Series != nil && e.Series.Count >= 2 }
