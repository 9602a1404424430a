package builtin_test

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver/client"
)

// TestRolloutKeepsServing rolls one image after another, changing the image again while a rollout
// is under way, and follows every change of a pod in its true order: never are fewer than eight
// pods ready, never are there more than ten.
func TestRolloutKeepsServing(t *testing.T) {
	t.Run("in process", func(t *testing.T) { newWorld(t, nil).rollAndFollow() })
	t.Run("over HTTPS", func(t *testing.T) { newWorldOver(t, overHTTPS(t)).rollAndFollow() })
}

func (w *world) rollAndFollow() {
	w.Helper()
	d := deploymentOf("web", 8, "v0")
	d.Spec.Strategy.RollingUpdate = rolling(2, 0)
	w.create(d)
	w.complete("web", 8)
	check := w.follow(8, 10)
	for i := range 10 {
		w.patch("web", fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"v%d"}]}}}}`, i+1))
		if i%3 == 0 {
			w.complete("web", 8)
		}
	}
	w.complete("web", 8)
	check()
}

// follow watches the pods from now on. What it returns ends that and reports.
func (w *world) follow(least, most int) (check func()) {
	w.Helper()
	l, err := client.For[*corev1.Pod](w.c).List(w.ctx, "", metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	events, err := client.For[*corev1.Pod](w.c).Watch(ctx, "", metav1.ListOptions{ResourceVersion: l.ResourceVersion})
	if err != nil {
		w.Fatal(err)
	}
	pods := map[types.UID]*corev1.Pod{}
	for _, p := range l.Items {
		pods[p.UID] = p
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range events.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			pods[p.UID] = p
			if e.Type == watch.Deleted || p.DeletionTimestamp != nil {
				delete(pods, p.UID)
			}
			ready := 0
			for _, p := range pods {
				for _, c := range p.Status.Conditions {
					if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
						ready++
					}
				}
			}
			if ready < least || len(pods) > most {
				w.Errorf("at %s of %s: %d pods, %d ready", e.Type, p.Name, len(pods), ready)
			}
		}
	}()
	return func() { cancel(); <-done }
}
