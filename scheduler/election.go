package scheduler

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/inboard/inboard/internal/election"
)

// LeaderElection lets one of several schedulers work at a time, by a Lease of coordination.k8s.io/v1, as
// kube-scheduler does with the same defaults; the two may compete for the same Lease. The zero value elects
// nobody: the scheduler works at once.
type LeaderElection struct {
	// Name is the Lease's, such as "kube-scheduler"; with it there is an election. Empty means none.
	Name string
	// Namespace is the Lease's; empty means kube-system.
	Namespace string
	// Identity tells the candidates apart, and must never be that of two; empty is the host's name and something
	// random.
	Identity string
	// LeaseDuration is how long the others wait, after the last sign of the leader, before one of them takes its
	// place; 0 means 15 s. It must be whole seconds.
	LeaseDuration time.Duration
	// RenewDeadline is how long the leader goes on without having renewed the Lease; 0 means 10 s. The rest of
	// LeaseDuration must be longer than a second, in which its last requests end.
	RenewDeadline time.Duration
	// RetryPeriod is the pause between two attempts to get or to renew the Lease; 0 means 2 s.
	RetryPeriod time.Duration
}

// ErrLeadershipLost is what Run's error is when the Lease could not be renewed in time, or someone else has it. As
// kube-scheduler, which ends then, a Scheduler does not go on: make and run a new one.
var ErrLeadershipLost = election.ErrLost

// elector returns nil when there is no election.
func (c *Config) elector() (*election.Elector, error) {
	l := c.LeaderElection
	if l.Name == "" {
		if l != (LeaderElection{}) {
			return nil, errors.New("scheduler: Config.LeaderElection.Name is empty; name the Lease")
		}
		return nil, nil
	}
	e, err := election.New(election.Config{
		Client: c.Client, Namespace: cmp.Or(l.Namespace, "kube-system"), Name: l.Name, Identity: l.Identity,
		LeaseDuration: l.LeaseDuration, RenewDeadline: l.RenewDeadline, RetryPeriod: l.RetryPeriod, Logger: c.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("scheduler: Config.LeaderElection: %w", err)
	}
	return e, nil
}
