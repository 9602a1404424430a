package apiserver_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/store"
)

// bubble runs a test with a server in fake time.
func bubble(t *testing.T, test func(t *testing.T, ctx context.Context, s *apiserver.Server)) {
	synctest.Test(t, func(t *testing.T) {
		st, err := store.Open(store.Config{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		<-s.Ready()
		test(t, ctx, s)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = st.Close()
	})
}

func TestEventsExpire(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, s *apiserver.Server) {
		events := client.For[*corev1.Event](s.Client(admin))
		count := func() int {
			l, err := events.List(ctx, "", metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return len(l.Items)
		}
		for _, name := range []string{"old", "repeated"} {
			_, err := events.Create(ctx, &corev1.Event{
				ObjectMeta:     metav1.ObjectMeta{Namespace: "default", Name: name},
				InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: "p"},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(40 * time.Minute)
		again, err := events.Get(ctx, "default", "repeated")
		if err != nil {
			t.Fatal(err)
		}
		again.LastTimestamp, again.Count = metav1.Now(), 2
		if _, err := events.Update(ctx, again); err != nil {
			t.Fatal(err)
		}
		if got := count(); got != 2 {
			t.Errorf("after 40 minutes: %d", got)
		}
		time.Sleep(25 * time.Minute)
		if got := count(); got != 1 {
			t.Errorf("after 65 minutes: %d", got)
		}
		time.Sleep(40 * time.Minute)
		if got := count(); got != 0 {
			t.Errorf("after 105 minutes: %d", got)
		}
	})
}

func TestBookmarks(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, s *apiserver.Server) {
		maps := client.For[*corev1.ConfigMap](s.Client(admin))
		pods := client.For[*corev1.Pod](s.Client(admin))
		quiet, err := maps.Watch(ctx, "", metav1.ListOptions{AllowWatchBookmarks: true})
		if err != nil {
			t.Fatal(err)
		}
		mute, err := maps.Watch(ctx, "", metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// Things happen elsewhere; the watch of config maps learns the version all the same.
		p, err := pods.Create(ctx, testPod("p"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(61 * time.Second)
		ev := <-quiet.ResultChan()
		if ev.Type != watch.Bookmark || ev.Object.(*corev1.ConfigMap).ResourceVersion != p.ResourceVersion {
			t.Errorf("%s %v", ev.Type, ev.Object)
		}
		// Nothing new, no bookmark.
		time.Sleep(10 * time.Minute)
		select {
		case ev := <-quiet.ResultChan():
			t.Errorf("%s %v", ev.Type, ev.Object)
		case ev := <-mute.ResultChan():
			t.Errorf("%s %v", ev.Type, ev.Object)
		default:
		}
		quiet.Stop()
		mute.Stop()
		for range quiet.ResultChan() {
			t.Error("an event after Stop")
		}
	})
}

func TestWatchTimeout(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, s *apiserver.Server) {
		seconds := int64(90)
		start := time.Now()
		w, err := client.For[*corev1.ConfigMap](s.Client(admin)).Watch(ctx, "", metav1.ListOptions{TimeoutSeconds: &seconds})
		if err != nil {
			t.Fatal(err)
		}
		for ev := range w.ResultChan() {
			t.Errorf("%s %v", ev.Type, ev.Object)
		}
		if took := time.Since(start); took != 90*time.Second {
			t.Errorf("ended after %s", took)
		}
	})
}

// TestKubeNodeLeaseComesBack takes one away behind the server's back.
func TestKubeNodeLeaseComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, s *apiserver.Server) {
		spaces := client.For[*corev1.Namespace](s.Client(admin))
		if err := spaces.Delete(ctx, "", corev1.NamespaceNodeLease, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		ns, err := spaces.Get(ctx, "", corev1.NamespaceNodeLease)
		if err != nil {
			t.Fatal(err)
		}
		ns.Spec.Finalizers = nil
		ref := spaces.Ref("", ns.Name)
		ref.Subresource = "finalize"
		if _, err := s.Client(admin).Update(ctx, ref, ns, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(61 * time.Second)
		back, err := spaces.Get(ctx, "", corev1.NamespaceNodeLease)
		if err != nil || back.UID == ns.UID {
			t.Errorf("%v %s", err, strconv.Quote(string(back.GetUID())))
		}
	})
}
