package podgc_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/controller/podgc"
	"github.com/inboard/inboard/store"
)

// world is an API server in memory with the controller, in a synctest bubble.
type world struct {
	*testing.T
	nodes client.Typed[*corev1.Node]
	pods  client.Typed[*corev1.Pod]
}

func inWorld(t *testing.T, cfg podgc.Config, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		st, err := store.Open(store.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		server, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()})
		if err != nil {
			t.Fatal(err)
		}
		admin := server.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}})
		cfg.Client = server.Client(apiserver.Identity{User: "system:kube-controller-manager"})
		g, err := podgc.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		<-g.Ready()
		f(&world{T: t, nodes: client.For[*corev1.Node](admin), pods: client.For[*corev1.Pod](admin)})
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) node(name string) {
	w.Helper()
	_, err := w.nodes.Create(w.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
	w.must(err)
}

func (w *world) pod(name, node string, phase corev1.PodPhase, finalizers ...string) {
	w.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Finalizers: finalizers}}
	p.Spec = corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "v1"}}}
	p, err := w.pods.Create(w.Context(), p)
	w.must(err)
	p.Status.Phase = phase
	_, err = w.pods.UpdateStatus(w.Context(), p)
	w.must(err)
}

func (w *world) want(names ...string) {
	w.Helper()
	synctest.Wait()
	l, err := w.pods.List(w.Context(), "", metav1.ListOptions{})
	w.must(err)
	var got []string
	for _, p := range l.Items {
		got = append(got, p.Name)
	}
	if slices.Sort(got); !slices.Equal(got, names) {
		w.Errorf("there are %v, want %v", got, names)
	}
}

// TestPodsOfLostNodes are deleted after the quarantine, and marked; a node that is back in time keeps
// its pods.
func TestPodsOfLostNodes(t *testing.T) {
	inWorld(t, podgc.Config{}, func(w *world) {
		for _, name := range []string{"a", "b", "c"} {
			w.node(name)
			w.pod("on-"+name, name, corev1.PodRunning)
		}
		w.pod("held", "a", corev1.PodRunning, "example.com/hold")
		w.pod("free", "", corev1.PodPending)
		time.Sleep(time.Hour)
		w.must(w.nodes.Delete(w.Context(), "", "a", metav1.DeleteOptions{}))
		w.must(w.nodes.Delete(w.Context(), "", "b", metav1.DeleteOptions{}))
		time.Sleep(39 * time.Second)
		w.node("b")
		w.want("free", "held", "on-a", "on-b", "on-c")
		time.Sleep(2 * time.Second)
		w.want("free", "held", "on-b", "on-c")
		held, err := w.pods.Get(w.Context(), "default", "held")
		w.must(err)
		i := slices.IndexFunc(held.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget })
		if held.Status.Phase != corev1.PodFailed || i < 0 || held.Status.Conditions[i].Reason != "DeletionByPodGC" || held.Status.Conditions[i].Message != "PodGC: node no longer exists" {
			t.Errorf("status %+v", held.Status)
		}
		time.Sleep(time.Hour)
		w.want("free", "held", "on-b", "on-c")
	})
}

// TestUnboundPodsFinish: a pod that was never bound has no kubelet that could end it.
func TestUnboundPodsFinish(t *testing.T) {
	inWorld(t, podgc.Config{}, func(w *world) {
		w.pod("held", "", corev1.PodPending, "example.com/hold")
		w.must(w.pods.Delete(w.Context(), "default", "held", metav1.DeleteOptions{}))
		synctest.Wait()
		held, err := w.pods.Get(w.Context(), "default", "held")
		w.must(err)
		if held.Status.Phase != corev1.PodFailed || *held.DeletionGracePeriodSeconds != 0 {
			t.Errorf("phase %s, grace %d", held.Status.Phase, *held.DeletionGracePeriodSeconds)
		}
	})
}

// TestEndedPodsAreKeptUpToTheThreshold deletes the oldest.
func TestEndedPodsAreKeptUpToTheThreshold(t *testing.T) {
	inWorld(t, podgc.Config{TerminatedThreshold: 2}, func(w *world) {
		for i := range 5 {
			w.pod(fmt.Sprintf("job-%d", i), "", corev1.PodSucceeded)
			time.Sleep(time.Minute)
		}
		w.want("job-3", "job-4")
	})
}

func TestBadConfig(t *testing.T) {
	for want, cfg := range map[string]podgc.Config{
		"Client is nil": {}, "Config.Quarantine is negative": {Client: nobody{}, Quarantine: -1},
	} {
		if _, err := podgc.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want %q", err, want)
		}
	}
}

type nobody struct{ client.Interface }
