package events_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/internal/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record records with a recorder that runs until all is written.
func record(t *testing.T, c client.Interface, do func(*events.Recorder)) []*corev1.Event {
	t.Helper()
	r, err := events.New(events.Config{Client: c, Component: "kubelet", Host: "node-a"})
	if err != nil {
		t.Fatal(err)
	}
	do(r)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // Run writes what is queued on its way out
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	l, err := client.For[*corev1.Event](c).List(t.Context(), "default", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return l.Items
}

func pod() *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "1"}}
}

func TestEvent(t *testing.T) {
	got := record(t, apitest.Open(t).Admin(), func(r *events.Recorder) {
		r.Eventf(events.FieldPath(pod(), "spec.containers{web}"), "Normal", "Started", "Started container %s", "web")
	})
	if len(got) != 1 {
		t.Fatalf("%d events", len(got))
	}
	e := got[0]
	o := e.InvolvedObject
	line := fmt.Sprint(e.Type, " ", e.Reason, " ", e.Message, " ", e.Count, " ", e.Source.Component, " ", e.Source.Host, " ",
		o.APIVersion, " ", o.Kind, " ", o.Namespace, "/", o.Name, " ", o.UID, " ", o.FieldPath)
	if want := "Normal Started Started container web 1 kubelet node-a v1 Pod default/web 1 spec.containers{web}"; line != want {
		t.Errorf("got  %s\nwant %s", line, want)
	}
}

func TestRepeatsAreCounted(t *testing.T) {
	got := record(t, apitest.Open(t).Admin(), func(r *events.Recorder) {
		for range 5 {
			r.Event(pod(), "Warning", "BackOff", "Back-off restarting")
		}
		r.Event(pod(), "Warning", "BackOff", "something else")
	})
	if len(got) != 2 {
		t.Fatalf("%d events", len(got))
	}
	counts := map[string]int32{got[0].Message: got[0].Count, got[1].Message: got[1].Count}
	if counts["Back-off restarting"] != 5 || counts["something else"] != 1 {
		t.Errorf("counts: %v", counts)
	}
}

func TestClusterScopedAndNil(t *testing.T) {
	got := record(t, apitest.Open(t).Admin(), func(r *events.Recorder) {
		r.Event(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}, "Normal", "Starting", "Starting kubelet.")
	})
	if len(got) != 1 || got[0].InvolvedObject.Kind != "Node" || got[0].Namespace != "default" {
		t.Errorf("events: %v", got)
	}
	var none *events.Recorder
	none.Event(pod(), "Normal", "X", "y")
	none.Eventf(pod(), "Normal", "X", "y")
}

// TestBounded records more than the queue holds: nothing blocks, and the rest is written.
func TestBounded(t *testing.T) {
	got := record(t, apitest.Open(t).Admin(), func(r *events.Recorder) {
		for i := range 20_000 {
			r.Eventf(pod(), "Normal", "Many", "number %d", i)
		}
	})
	if len(got) == 0 || len(got) > 8192 {
		t.Errorf("%d events", len(got))
	}
}

// TestBurst: of many events at once none is lost, and those that repeat among others are counted.
func TestBurst(t *testing.T) {
	api := apitest.Open(t).Admin()
	r, err := events.New(events.Config{Client: api, Component: "scheduler"})
	if err != nil {
		t.Fatal(err)
	}
	const different = 3000
	for i := range different {
		r.Eventf(pod(), "Normal", "Many", "number %d", i)
		if i%100 == 0 {
			r.Event(pod(), "Warning", "Again", "the same")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	var found, again int
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && (found < different || again < different/100); time.Sleep(10 * time.Millisecond) {
		l, err := client.For[*corev1.Event](api).List(t.Context(), "default", metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found, again = 0, 0
		for _, e := range l.Items {
			if e.Reason == "Many" {
				found++
			} else {
				again = int(e.Count)
			}
		}
	}
	if found != different || again != different/100 {
		t.Errorf("%d events, and one that was counted %d times", found, again)
	}
}
