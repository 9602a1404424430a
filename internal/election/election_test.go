package election_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/internal/election"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network is a client whose requests get lost, or their answers, or that are late.
type network struct {
	client.Interface
	// fail is asked before each request, lose after it; either may wait.
	fail, lose func(ctx context.Context) error
	requests   atomic.Int64
}

func (n *network) around(ctx context.Context, f func(context.Context) (runtime.Object, error)) (runtime.Object, error) {
	n.requests.Add(1)
	if n.fail != nil {
		if err := n.fail(ctx); err != nil {
			return nil, err
		}
	}
	obj, err := f(ctx)
	if err == nil && n.lose != nil {
		err = n.lose(ctx)
	}
	return obj, err
}

func (n *network) Get(ctx context.Context, ref client.Ref, o metav1.GetOptions) (runtime.Object, error) {
	return n.around(ctx, func(ctx context.Context) (runtime.Object, error) { return n.Interface.Get(ctx, ref, o) })
}

func (n *network) Create(ctx context.Context, ref client.Ref, obj runtime.Object, o metav1.CreateOptions) (runtime.Object, error) {
	return n.around(ctx, func(ctx context.Context) (runtime.Object, error) { return n.Interface.Create(ctx, ref, obj, o) })
}

func (n *network) Update(ctx context.Context, ref client.Ref, obj runtime.Object, o metav1.UpdateOptions) (runtime.Object, error) {
	return n.around(ctx, func(ctx context.Context) (runtime.Object, error) { return n.Interface.Update(ctx, ref, obj, o) })
}

// candidate is an Elector that runs, and what is known of it.
type candidate struct {
	leading atomic.Bool
	stop    context.CancelFunc
	done    chan error
}

func start(t *testing.T, c client.Interface, name string) *candidate {
	t.Helper()
	e, err := election.New(election.Config{Client: c, Namespace: "kube-system", Name: "job", Identity: name})
	if err != nil {
		t.Fatal(err)
	}
	x := &candidate{done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	x.stop = cancel
	go func() {
		x.done <- e.Run(ctx, func(ctx context.Context) error {
			x.leading.Store(true)
			defer x.leading.Store(false)
			<-ctx.Done()
			return nil
		})
	}()
	return x
}

func lease(t *testing.T, c client.Interface) *coordinationv1.Lease {
	t.Helper()
	l, err := client.For[*coordinationv1.Lease](c).Get(t.Context(), "kube-system", "job")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// after lets time pass.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestHandover: one leads; when it stops, the other one does, without a wait for the Lease to run out.
func TestHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := apitest.Open(t).Admin()
		began := time.Now()
		a := start(t, c, "a")
		after(time.Second)
		b := start(t, c, "b")
		after(time.Minute)
		if !a.leading.Load() || b.leading.Load() {
			t.Fatal("the first candidate does not lead, or both do")
		}
		l := lease(t, c)
		if *l.Spec.HolderIdentity != "a" || *l.Spec.LeaseDurationSeconds != 15 || *l.Spec.LeaseTransitions != 0 ||
			!l.Spec.AcquireTime.Time.Equal(began.Truncate(time.Microsecond)) || time.Since(l.Spec.RenewTime.Time) > 2*time.Second {
			t.Errorf("the lease is %+v", l.Spec)
		}
		a.stop()
		if err := <-a.done; err != nil {
			t.Error(err)
		}
		if l := lease(t, c); *l.Spec.HolderIdentity != "" || *l.Spec.LeaseDurationSeconds != 1 {
			t.Errorf("the lease was not given back: %+v", l.Spec)
		}
		after(2400 * time.Millisecond)
		if l := lease(t, c); !b.leading.Load() || *l.Spec.HolderIdentity != "b" || *l.Spec.LeaseTransitions != 1 {
			t.Errorf("the second candidate does not lead: %+v", l.Spec)
		}
		b.stop()
		if err := <-b.done; err != nil {
			t.Error(err)
		}
	})
}

// TestSilence: a leader that can't renew stops in time, and only then another one begins.
func TestSilence(t *testing.T) {
	for name, fail := range map[string]func(context.Context) error{
		"errors": func(context.Context) error { return errors.New("no route to host") },
		"hangs": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := apitest.Open(t).Admin()
				var cut atomic.Bool
				mine := &network{Interface: c, fail: func(ctx context.Context) error {
					if cut.Load() {
						return fail(ctx)
					}
					return nil
				}}
				a := start(t, mine, "a")
				after(time.Second)
				b := start(t, c, "b")
				after(30 * time.Second)
				cut.Store(true)
				last := lease(t, c).Spec.RenewTime.Time
				after(time.Until(last.Add(10*time.Second - time.Millisecond)))
				if !a.leading.Load() {
					t.Fatal("the leader gave up before its time")
				}
				after(2 * time.Millisecond)
				if a.leading.Load() {
					t.Fatal("the leader goes on beyond its time")
				}
				if err := <-a.done; !errors.Is(err, election.ErrLost) {
					t.Errorf("Run returned %v", err)
				}
				after(time.Until(last.Add(15*time.Second - time.Millisecond)))
				if b.leading.Load() {
					t.Error("the other one did not wait until the lease had run out")
				}
				after(5 * time.Second)
				if !b.leading.Load() {
					t.Error("nobody leads after the lease had run out")
				}
				b.stop()
				<-b.done
			})
		})
	}
}

// TestTaken: who finds someone else in the Lease stops at once.
func TestTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := apitest.Open(t).Admin()
		a := start(t, c, "a")
		after(time.Second)
		l := lease(t, c)
		other := "someone"
		l.Spec.HolderIdentity = &other
		if _, err := client.For[*coordinationv1.Lease](c).Update(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		after(2 * time.Second)
		if err := <-a.done; !errors.Is(err, election.ErrLost) || a.leading.Load() {
			t.Errorf("Run returned %v", err)
		}
		if l := lease(t, c); *l.Spec.HolderIdentity != other {
			t.Errorf("the lease of another one was given back: %+v", l.Spec)
		}
	})
}

// TestNeverTwo plays many candidates on a bad network, whose leaders take most of the time they have to stop.
func TestNeverTwo(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { neverTwo(t, seed) })
		})
	}
}

func neverTwo(t *testing.T, seed uint64) {
	c := apitest.Open(t).Admin()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var leaders, terms atomic.Int64
	var bad atomic.Bool
	bad.Store(true)
	for i := range 4 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		var mu sync.Mutex // a request may outlive its attempt
		trouble := func(ctx context.Context) error {
			mu.Lock()
			p, d := random.Float64(), time.Duration(random.Int64N(int64(20*time.Second)))
			mu.Unlock()
			switch {
			case !bad.Load() || p < 0.6:
				return nil
			case p < 0.8:
				return errors.New("lost")
			}
			select {
			case <-time.After(d):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		e, err := election.New(election.Config{Client: &network{Interface: c, fail: trouble, lose: trouble},
			Namespace: "kube-system", Name: "job", Identity: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = e.Run(ctx, func(ctx context.Context) error {
					if leaders.Add(1) > 1 {
						t.Error("there are two leaders")
					}
					terms.Add(1)
					mu.Lock()
					term := time.Duration(random.Int64N(int64(time.Minute)))
					mu.Unlock()
					select {
					case <-ctx.Done():
						time.Sleep(4900 * time.Millisecond)
					case <-time.After(term):
					}
					leaders.Add(-1)
					return nil
				})
			}
		})
	}
	time.Sleep(20 * time.Minute)
	// Once the network is good, somebody leads, and soon after each end of a term somebody else.
	bad.Store(false)
	before := terms.Load()
	time.Sleep(20 * time.Minute)
	if n := terms.Load() - before; before < 3 || n < 20 {
		t.Errorf("%d leaders on the bad network and %d on the good one, in 20 minutes each", before, n)
	}
	stop()
	wg.Wait()
}

// TestLead: the job's own end ends the leadership, with its error.
func TestLead(t *testing.T) {
	c := apitest.Open(t).Admin()
	broken := errors.New("broken")
	var told []bool
	e, err := election.New(election.Config{Client: c, Namespace: "kube-system", Name: "job", Leading: func(b bool) { told = append(told, b) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context(), func(context.Context) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("Run returned %v", err)
	}
	if l := lease(t, c); *l.Spec.HolderIdentity != "" {
		t.Errorf("the lease was not given back: %+v", l.Spec)
	}
	if len(told) != 2 || !told[0] || told[1] {
		t.Errorf("Leading was called with %v", told)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Run(ctx, func(context.Context) error { t.Error("led"); return nil }); err != nil {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	c := apitest.Open(t).Admin()
	for name, cfg := range map[string]election.Config{
		"no client":       {Namespace: "a", Name: "b"},
		"no name":         {Client: c, Namespace: "a"},
		"half a second":   {Client: c, Namespace: "a", Name: "b", LeaseDuration: 15500 * time.Millisecond},
		"late deadline":   {Client: c, Namespace: "a", Name: "b", RenewDeadline: 15 * time.Second},
		"long retries":    {Client: c, Namespace: "a", Name: "b", RetryPeriod: 9 * time.Second},
		"negative period": {Client: c, Namespace: "a", Name: "b", RetryPeriod: -1},
	} {
		if _, err := election.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	a, _ := election.New(election.Config{Client: c, Namespace: "a", Name: "b"})
	b, _ := election.New(election.Config{Client: c, Namespace: "a", Name: "b"})
	if a.Identity() == b.Identity() {
		t.Errorf("both candidates are called %q", a.Identity())
	}
}
