package scheduler_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/scheduler"
)

// TestTimeOfRetries runs server and scheduler on a clock of their own.
func TestTimeOfRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.addNode("node-a", "4")
		var broken atomic.Bool
		broken.Store(true)
		f := &faulty{Interface: c.c, fail: func(client.Ref) error {
			if broken.Load() {
				return apierrors.NewInternalError(errors.New("out of order"))
			}
			return nil
		}}
		stop := c.start(scheduler.Config{Client: f})
		c.addPod(newPod("web", "1"))
		time.Sleep(40 * time.Second)
		synctest.Wait()
		f.mu.Lock()
		var pauses []time.Duration
		for i := 1; i < len(f.times); i++ {
			pauses = append(pauses, f.times[i].Sub(f.times[i-1]).Round(100*time.Millisecond))
		}
		f.mu.Unlock()
		want := []time.Duration{1, 2, 4, 8, 10, 10}
		for i := range want {
			if i >= len(pauses) || pauses[i] != want[i]*time.Second {
				t.Fatalf("pauses are %v, want %v s", pauses, want)
			}
		}
		broken.Store(false)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		p, err := client.For[*corev1.Pod](c.c).Get(context.Background(), "default", "web")
		check(t, err)
		if p.Spec.NodeName != "node-a" {
			t.Error("the pod was not bound after the server had recovered")
		}
		stop()
	})
}

// TestAPodThatFitsNowhereIsLeftInPeace: nothing that can't help makes the scheduler look at it again.
func TestAPodThatFitsNowhereIsLeftInPeace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.addNode("node-a", "4")
		asked := &counting{}
		profile, err := scheduler.NewProfile(scheduler.ProfileConfig{Plugins: append([]scheduler.WeightedPlugin{{Plugin: asked}}, scheduler.DefaultPlugins()...)})
		check(t, err)
		c.start(scheduler.Config{Profiles: map[string]*scheduler.Profile{scheduler.DefaultSchedulerName: profile}})
		c.addPod(newPod("large", "100"))
		c.waitRefused("large", "Unschedulable")
		synctest.Wait()
		before := asked.count("large")
		for _, name := range podNames("other", 10) {
			c.addPod(newPod(name, "100m"))
			c.waitBound(name)
		}
		c.addNode("too-small", "8")
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := asked.count("large"); n != before {
			t.Errorf("the pod was tried %d times more", n-before)
		}
		// But never for ever, should a hint be wrong.
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := asked.count("large"); n != before+1 {
			t.Errorf("the pod was tried %d times more after five minutes", n-before)
		}
	})
}
