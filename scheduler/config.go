package scheduler

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/inboard/inboard/apiserver/client"
)

// DefaultSchedulerName is the spec.schedulerName of pods that ask for no other scheduler.
const DefaultSchedulerName = "default-scheduler"

// Config configures a Scheduler.
type Config struct {
	// Client is where pods and nodes are watched and pods are bound.
	Client client.Interface
	// SchedulerName is the spec.schedulerName of the pods to place with the default plugins, when
	// Profiles is nil; empty means DefaultSchedulerName.
	SchedulerName string
	// Profiles decide for the pods whose spec.schedulerName is the key. Other pods are left alone.
	Profiles map[string]*Profile
	// Seed makes the choice between equally good nodes repeatable; 0 takes one at random.
	Seed uint64
	// InitialBackoff is how long a pod waits after its first failed attempt; the time doubles with
	// each further one up to MaxBackoff. 0 means 1 s and 10 s.
	InitialBackoff, MaxBackoff time.Duration
	// Concurrency bounds the requests under way at once; 0 means 64. Bindings that meet in a
	// server of the same process are committed together.
	Concurrency int
	// RequestTimeout bounds each of them; 0 means 30 s.
	RequestTimeout time.Duration
	// LeaderElection, when not zero, makes Run wait until this scheduler is the one that works.
	LeaderElection LeaderElection
	// Events are told what happens; package scheduler/metrics counts it for Prometheus.
	Events Events
	// Logger receives what goes wrong, and each binding at debug level; nil discards.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.Profiles == nil {
		p, err := NewProfile(ProfileConfig{})
		if err != nil {
			return c, err
		}
		c.Profiles = map[string]*Profile{cmp.Or(c.SchedulerName, DefaultSchedulerName): p}
	} else {
		c.Profiles = maps.Clone(c.Profiles)
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	c.InitialBackoff = cmp.Or(c.InitialBackoff, time.Second)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, max(10*time.Second, c.InitialBackoff))
	c.Concurrency = cmp.Or(c.Concurrency, 64)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, 30*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c, c.validate()
}

func (c *Config) validate() error {
	if c.Client == nil {
		return errors.New("scheduler: Config.Client is nil; give it a client.Interface")
	}
	if len(c.Profiles) == 0 {
		return errors.New("scheduler: Config.Profiles is empty; leave it nil for the default plugins")
	}
	for name, p := range c.Profiles {
		if name == "" || p == nil {
			return fmt.Errorf("scheduler: Config.Profiles[%q] needs a name and a profile", name)
		}
	}
	sort := c.queueSort().Name()
	for name, p := range c.Profiles {
		if p.queueSort.Name() != sort {
			return fmt.Errorf("scheduler: Config.Profiles[%q] sorts pods by %s, another one by %s; all need the same QueueSortPlugin",
				name, p.queueSort.Name(), sort)
		}
	}
	if c.InitialBackoff < 0 || c.MaxBackoff < c.InitialBackoff {
		return fmt.Errorf("scheduler: Config.InitialBackoff (%v) and MaxBackoff (%v) must be positive, and the first not the longer one",
			c.InitialBackoff, c.MaxBackoff)
	}
	if c.Concurrency < 0 {
		return fmt.Errorf("scheduler: Config.Concurrency is %d; it must not be negative", c.Concurrency)
	}
	if c.RequestTimeout < 0 {
		return fmt.Errorf("scheduler: Config.RequestTimeout is %v; it must not be negative", c.RequestTimeout)
	}
	return nil
}

// queueSort returns the plugin that orders the pods of all profiles.
func (c *Config) queueSort() QueueSortPlugin {
	for _, p := range c.Profiles {
		return p.queueSort
	}
	return PrioritySort{}
}
