package controller_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nobody is a client for loops that watch nothing.
type nobody struct{ client.Interface }

// start runs a controller without sources in a synctest bubble, and stops it when the test ends.
func start(t *testing.T, cfg controller.Config) *controller.Controller {
	t.Helper()
	cfg.Name, cfg.Client = "test", nobody{}
	c, err := controller.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	<-c.Ready()
	return c
}

func key(name string) controller.Key { return controller.Key{Namespace: "default", Name: name} }

func TestBackoffDoublesUpToItsCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pauses []time.Duration
		last := time.Now()
		c := start(t, controller.Config{
			BaseDelay: 10 * time.Millisecond, MaxDelay: 100 * time.Millisecond,
			Reconciler: controller.Func(func(context.Context, controller.Key) (controller.Result, error) {
				pauses = append(pauses, time.Since(last))
				last = time.Now()
				if len(pauses) == 8 {
					return controller.Result{}, nil
				}
				return controller.Result{}, errors.New("not yet")
			}),
		})
		c.Enqueue(key("a"))
		time.Sleep(time.Hour)
		synctest.Wait()
		want := "[0s 10ms 20ms 40ms 80ms 100ms 100ms 100ms]"
		if got := fmt.Sprint(pauses); got != want {
			t.Errorf("paused %s, want %s", got, want)
		}
	})
}

func TestSuccessEndsTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n int
		var pauses []time.Duration
		last := time.Now()
		c := start(t, controller.Config{
			BaseDelay: time.Second,
			Reconciler: controller.Func(func(context.Context, controller.Key) (controller.Result, error) {
				pauses = append(pauses, time.Since(last))
				last = time.Now()
				if n++; n == 3 {
					return controller.Result{}, nil
				}
				return controller.Result{}, errors.New("not yet")
			}),
		})
		c.Enqueue(key("a"))
		time.Sleep(time.Minute)
		synctest.Wait()
		last = time.Now()
		n = 1 // the next try fails once more
		c.Enqueue(key("a"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, want := fmt.Sprint(pauses), "[0s 1s 2s 0s 1s]"; got != want {
			t.Errorf("paused %s, want %s", got, want)
		}
	})
}

func TestAfterComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		c := start(t, controller.Config{
			Reconciler: controller.Func(func(context.Context, controller.Key) (controller.Result, error) {
				at = append(at, time.Since(begin))
				if len(at) < 3 {
					return controller.Result{After: time.Minute}, nil
				}
				return controller.Result{}, nil
			}),
		})
		c.Enqueue(key("a"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if got, want := fmt.Sprint(at), "[0s 1m0s 2m0s]"; got != want {
			t.Errorf("reconciled at %s, want %s", got, want)
		}
	})
}

func TestPanicIsContainedAndReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []error
		var good atomic.Int32
		var log bytes.Buffer
		c := start(t, controller.Config{
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
			OnError: func(_ controller.Key, err error) {
				told = append(told, err)
				panic("and the callback panics as well")
			},
			Workers: 1,
			Reconciler: controller.Func(func(_ context.Context, k controller.Key) (controller.Result, error) {
				if k.Name == "bad" && len(told) == 0 {
					panic("out of cheese")
				}
				good.Add(1)
				return controller.Result{}, nil
			}),
		})
		c.Enqueue(key("bad"))
		c.Enqueue(key("good"))
		time.Sleep(time.Second)
		synctest.Wait()
		if good.Load() != 2 {
			t.Errorf("%d keys were reconciled, want both", good.Load())
		}
		var p *controller.PanicError
		if len(told) != 1 || !errors.As(told[0], &p) || p.Value != "out of cheese" || !strings.Contains(string(p.Stack), "loop_test.go") {
			t.Errorf("OnError was told %v", told)
		}
		if !strings.Contains(log.String(), "out of cheese") || !strings.Contains(log.String(), "key=default/bad") {
			t.Errorf("the log does not tell of the panic:\n%s", log.String())
		}
	})
}

func TestOneKeyIsNeverReconciledTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		busy := map[string]bool{}
		most, runs := 0, 0
		c := start(t, controller.Config{
			Workers: 3,
			Reconciler: controller.Func(func(_ context.Context, k controller.Key) (controller.Result, error) {
				mu.Lock()
				if busy[k.Name] {
					t.Errorf("%s is reconciled twice at once", k)
				}
				busy[k.Name] = true
				n := 0
				for _, b := range busy {
					if b {
						n++
					}
				}
				most = max(most, n)
				runs++
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				busy[k.Name] = false
				mu.Unlock()
				return controller.Result{}, nil
			}),
		})
		for range 10 { // while all workers are busy, repeats of a key become one
			for i := range 5 {
				c.Enqueue(key(fmt.Sprint(i)))
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if most != 3 {
			t.Errorf("%d keys were reconciled at once, want 3", most)
		}
		if runs > 10 || runs < 5 {
			t.Errorf("5 keys were reconciled %d times", runs)
		}
	})
}

func TestStopEndsTheReconcileUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started, ended := make(chan struct{}), false
		c, err := controller.New(controller.Config{
			Name: "slow", Client: nobody{},
			Reconciler: controller.Func(func(ctx context.Context, _ controller.Key) (controller.Result, error) {
				close(started)
				<-ctx.Done()
				time.Sleep(time.Second)
				ended = true
				return controller.Result{}, ctx.Err()
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Enqueue(key("early")) // kept until Run
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-started; cancel() }()
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if !ended {
			t.Error("Run returned before the reconcile did")
		}
		c.Enqueue(key("late")) // nothing happens
		if err := c.Run(t.Context()); err == nil {
			t.Error("a second Run is no error")
		}
	})
}

func TestBadConfig(t *testing.T) {
	f := controller.Func(func(context.Context, controller.Key) (controller.Result, error) { return controller.Result{}, nil })
	for want, cfg := range map[string]controller.Config{
		"Config.Client is nil":            {Name: "x", Reconciler: f},
		"Config.Name is empty":            {Client: nobody{}, Reconciler: f},
		"Config.Reconciler is nil":        {Client: nobody{}, Name: "x"},
		"Config.Workers is negative":      {Client: nobody{}, Name: "x", Reconciler: f, Workers: -1},
		"Config.BaseDelay is negative":    {Client: nobody{}, Name: "x", Reconciler: f, BaseDelay: -1},
		"Config.MaxDelay 1ms is less":     {Client: nobody{}, Name: "x", Reconciler: f, MaxDelay: time.Millisecond},
		"Config.Sources[0] is nil":        {Client: nobody{}, Name: "x", Reconciler: f, Sources: []controller.Source{nil}},
		"interface type needs a resource": {Client: nobody{}, Name: "x", Reconciler: f, Sources: []controller.Source{controller.On[client.Object]{}}},
	} {
		if _, err := controller.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want %q", err, want)
		}
	}
	if _, err := controller.NewGroup(controller.GroupConfig{}); err == nil {
		t.Error("a group without client is no error")
	}
	g, err := controller.NewGroup(controller.GroupConfig{Client: nobody{}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := g.Add(controller.Config{Name: "x", Reconciler: f})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Add(controller.Config{Name: "x", Reconciler: f}); err == nil || !strings.Contains(err.Error(), "has one of that name") {
		t.Errorf("two of a name: %v", err)
	}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "run the group") {
		t.Errorf("Run of a member: %v", err)
	}
}

func TestParallel(t *testing.T) {
	var mu sync.Mutex
	var seen []int
	err := controller.Parallel(100, func(i int) error {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, i)
		switch i {
		case 40:
			panic("forty")
		case 60:
			return errors.New("sixty")
		}
		return nil
	})
	var p *controller.PanicError
	if !errors.As(err, &p) || p.Value != "forty" {
		t.Errorf("error %v, want the panic of the lowest number", err)
	}
	slices.Sort(seen)
	if len(seen) != 100 || seen[99] != 99 {
		t.Errorf("called for %v", seen)
	}
}
