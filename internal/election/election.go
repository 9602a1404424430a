// Package election lets one of several programs do a job at a time, by a Lease of coordination.k8s.io/v1, as
// Kubernetes' components do: kube-scheduler and this package may compete for the same Lease.
package election

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// Config configures an Elector.
type Config struct {
	// Client reads, creates and updates the Lease.
	Client client.Interface
	// Namespace and Name are the Lease's.
	Namespace, Name string
	// Identity tells the candidates apart. Two must never have the same; empty is the host's name and
	// something random.
	Identity string
	// LeaseDuration is how long the others wait, after the last sign of the leader, before one of them takes
	// its place; 0 means 15 s. It is stored in whole seconds.
	LeaseDuration time.Duration
	// RenewDeadline is how long a leader goes on without having renewed the Lease; 0 means 10 s. There are never
	// two leaders as long as no clock runs more than LeaseDuration/RenewDeadline times as fast as another one.
	RenewDeadline time.Duration
	// RetryPeriod is the pause between two attempts to get or to renew the Lease; 0 means 2 s.
	RetryPeriod time.Duration
	// Leading, when not nil, is called with true when leadership begins and with false when it ends.
	Leading func(bool)
	// Logger is told who leads; nil discards.
	Logger *slog.Logger
}

// jitter is by how much pauses of candidates are longer at random, so that they don't all come at once.
const jitter = 0.2

func (c Config) withDefaults() (Config, error) {
	if c.Identity == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		c.Identity = host + "_" + rand.Text()
	}
	c.LeaseDuration = cmp.Or(c.LeaseDuration, 15*time.Second)
	c.RenewDeadline = cmp.Or(c.RenewDeadline, 10*time.Second)
	c.RetryPeriod = cmp.Or(c.RetryPeriod, 2*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.Leading == nil {
		c.Leading = func(bool) {}
	}
	switch {
	case c.Client == nil:
		return c, errors.New("election: Config.Client is nil")
	case c.Namespace == "" || c.Name == "":
		return c, errors.New("election: Config.Namespace and Name must not be empty")
	case c.LeaseDuration%time.Second != 0 || c.LeaseDuration <= 0:
		return c, fmt.Errorf("election: Config.LeaseDuration is %v; it must be whole seconds", c.LeaseDuration)
	case c.RenewDeadline >= c.LeaseDuration:
		return c, fmt.Errorf("election: Config.RenewDeadline (%v) must be shorter than LeaseDuration (%v)", c.RenewDeadline, c.LeaseDuration)
	case c.RetryPeriod <= 0 || float64(c.RenewDeadline) <= float64(c.RetryPeriod)*(1+jitter):
		return c, fmt.Errorf("election: Config.RetryPeriod (%v) must be positive and, with a fifth added, shorter than RenewDeadline (%v)",
			c.RetryPeriod, c.RenewDeadline)
	}
	return c, nil
}

// Elector is one candidate. Run may be called again after it has returned, but not twice at once.
type Elector struct {
	cfg    Config
	leases client.Typed[*coordinationv1.Lease]
	// seen is the Lease as it was last read or written, nil when it is not known; seenAt is since when, by this
	// process's clock: the times in a Lease are those of another machine and decide nothing.
	seen   *coordinationv1.Lease
	seenAt time.Time
	// wrote tells that the Lease may name this candidate.
	wrote bool
}

// ErrLost is returned by Run when the Lease could not be renewed in time, or someone else has it.
var ErrLost = errors.New("leadership lost")

// New returns a candidate. The error names the field of cfg that is wrong.
func New(cfg Config) (*Elector, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Elector{cfg: cfg, leases: client.For[*coordinationv1.Lease](cfg.Client)}, nil
}

// Identity is the name of this candidate in the Lease.
func (e *Elector) Identity() string { return e.cfg.Identity }

// Run waits until this candidate leads, and calls lead. The context of lead ends with ctx or when leadership is
// lost, RenewDeadline after the last renewal was begun: all that lead does must have stopped before the rest of
// LeaseDuration is over, because someone else may begin then. When lead returns, the Lease is given back, so that
// the next leader need not wait.
//
// Run returns lead's error, ErrLost when leadership was lost, and nil when ctx has ended before it was gained.
func (e *Elector) Run(ctx context.Context, lead func(context.Context) error) error {
	defer e.release(ctx)
	until, ok := e.acquire(ctx)
	if !ok {
		return nil
	}
	e.cfg.Logger.Info("leading", "lease", e.cfg.Namespace+"/"+e.cfg.Name, "identity", e.cfg.Identity)
	e.cfg.Leading(true)
	defer e.cfg.Leading(false)

	leadCtx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan error, 1)
	go func() { done <- lead(leadCtx) }()
	err, lost := e.keep(ctx, until, done, stop)
	if lost != nil {
		e.cfg.Logger.Error("leadership lost", "lease", e.cfg.Namespace+"/"+e.cfg.Name, "err", lost)
		if err == nil || errors.Is(err, ErrLost) { // the cause of the context that it got
			return lost
		}
		return errors.Join(lost, err)
	}
	return err
}

// acquire waits for the Lease, and returns until when it is this candidate's.
func (e *Elector) acquire(ctx context.Context) (until time.Time, ok bool) {
	for said := ""; ctx.Err() == nil; {
		started := time.Now()
		err := e.attempt(ctx, started.Add(e.cfg.RenewDeadline), false)
		if err == nil {
			return started.Add(e.cfg.RenewDeadline), true
		}
		if text := err.Error(); text != said && ctx.Err() == nil {
			e.cfg.Logger.Info("waiting to lead", "lease", e.cfg.Namespace+"/"+e.cfg.Name, "reason", text)
			said = text
		}
		sleep(ctx, e.cfg.RetryPeriod+randomPart(e.cfg.RetryPeriod))
	}
	return time.Time{}, false
}

// keep renews the Lease until lead is done, which it makes end when that fails for too long. The renewals go on
// while lead comes to its end, because it may still act.
func (e *Elector) keep(ctx context.Context, until time.Time, done <-chan error, stop context.CancelCauseFunc) (err, lost error) {
	renewing, end := context.WithCancel(context.WithoutCancel(ctx))
	results := make(chan renewal)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.renew(renewing, until, results)
	}()
	defer func() {
		end()
		<-ended
	}()
	// The deadline has a timer of its own: a request that hangs must not keep it from being heard.
	deadline := time.NewTimer(time.Until(until))
	defer deadline.Stop()
	cause := errors.New("the server does not answer")
	for {
		select {
		case err := <-done:
			return err, nil
		case r := <-results:
			if r.err == nil {
				deadline.Reset(time.Until(r.until))
				continue
			}
			if cause = r.err; !errors.Is(cause, errTaken) {
				continue
			}
		case <-deadline.C:
		}
		end()
		lost = fmt.Errorf("%w: %w", ErrLost, cause)
		stop(lost)
		return <-done, lost
	}
}

// renewal is the outcome of an attempt to renew; until is how long the leader may go on.
type renewal struct {
	until time.Time
	err   error
}

// renew renews the Lease until ctx ends.
func (e *Elector) renew(ctx context.Context, until time.Time, results chan<- renewal) {
	for sleep(ctx, e.cfg.RetryPeriod); ctx.Err() == nil; sleep(ctx, e.cfg.RetryPeriod) {
		started := time.Now()
		err := e.attempt(ctx, until, true)
		if err == nil {
			until = started.Add(e.cfg.RenewDeadline)
		}
		select {
		case results <- renewal{until, err}:
		case <-ctx.Done():
		}
	}
}
