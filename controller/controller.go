package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/client"
)

// Defaults of Config.
const (
	DefaultWorkers   = 4
	DefaultBaseDelay = 5 * time.Millisecond
	DefaultMaxDelay  = time.Minute
)

// Key names what to reconcile: usually one object.
type Key struct {
	// Resource tells kinds apart for a reconciler that serves several; it is what the Keys
	// function of a source puts there, and zero when that does not.
	Resource        schema.GroupVersionResource
	Namespace, Name string
}

// KeyOf returns the key of obj, with a zero Resource.
func KeyOf(obj metav1.Object) Key {
	return Key{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// String returns "namespace/name", or the name alone for cluster-scoped objects.
func (k Key) String() string {
	s := k.Name
	if k.Namespace != "" {
		s = k.Namespace + "/" + s
	}
	if k.Resource.Resource != "" {
		s = k.Resource.Resource + "/" + s
	}
	return s
}

// Result tells what a reconcile without error wants next.
type Result struct {
	// After asks for the key to be reconciled again after this time; 0 does not. A change that
	// comes earlier is reconciled earlier, and does not cancel the wish.
	After time.Duration
}

// Reconciler brings the world closer to what one key asks for. It is told which key, never what
// happened (level-triggered): it looks at the present state, acts, and returns. An error makes the
// loop call again after a back-off that doubles with each error in a row. One key is never
// reconciled by two workers at once. The context ends when the loop stops.
type Reconciler interface {
	Reconcile(ctx context.Context, key Key) (Result, error)
}

// Func makes a function a Reconciler.
type Func func(ctx context.Context, key Key) (Result, error)

// Reconcile calls f.
func (f Func) Reconcile(ctx context.Context, key Key) (Result, error) { return f(ctx, key) }

// PanicError is the error of a reconcile that panicked. The key is retried like after any error.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Config describes a controller.
type Config struct {
	// Name appears in logs and errors, such as "replicaset".
	Name string
	// Client is what New watches with. A Group has a client of its own and ignores this one.
	Client     client.Interface
	Reconciler Reconciler
	// Sources are the changes that lead to a reconcile.
	Sources []Source
	// Workers is how many keys may be reconciled at once; 0 is DefaultWorkers.
	Workers int
	// BaseDelay and MaxDelay bound the pause after errors, which doubles with each error in a
	// row for one key; 0 is DefaultBaseDelay and DefaultMaxDelay.
	BaseDelay, MaxDelay time.Duration
	// OnError, when not nil, is told each error, a *PanicError for a panic, after it was logged.
	OnError func(key Key, err error)
	// Logger nil is the group's logger; New's default discards.
	Logger *slog.Logger
}

func (cfg Config) complete() (Config, error) {
	cfg.Sources = append([]Source(nil), cfg.Sources...)
	cfg.Workers = cmp.Or(cfg.Workers, DefaultWorkers)
	cfg.BaseDelay = cmp.Or(cfg.BaseDelay, DefaultBaseDelay)
	cfg.MaxDelay = cmp.Or(cfg.MaxDelay, DefaultMaxDelay)
	var err error
	switch {
	case cfg.Name == "":
		err = errors.New("controller: Config.Name is empty")
	case cfg.Reconciler == nil:
		err = fmt.Errorf("controller %s: Config.Reconciler is nil", cfg.Name)
	case cfg.Workers < 0:
		err = fmt.Errorf("controller %s: Config.Workers is negative: %d", cfg.Name, cfg.Workers)
	case cfg.BaseDelay < 0:
		err = fmt.Errorf("controller %s: Config.BaseDelay is negative: %s", cfg.Name, cfg.BaseDelay)
	case cfg.MaxDelay < cfg.BaseDelay:
		err = fmt.Errorf("controller %s: Config.MaxDelay %s is less than BaseDelay %s", cfg.Name, cfg.MaxDelay, cfg.BaseDelay)
	}
	for i, s := range cfg.Sources {
		if s == nil && err == nil {
			err = fmt.Errorf("controller %s: Config.Sources[%d] is nil", cfg.Name, i)
		}
	}
	return cfg, err
}

// New returns a controller with views of its own. Controllers that watch the same kinds, or that
// read from views, belong into a Group. The error tells which field of cfg is wrong.
func New(cfg Config) (*Controller, error) {
	if cfg.Client == nil {
		return nil, fmt.Errorf("controller %s: Config.Client is nil", cfg.Name)
	}
	g, err := NewGroup(GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, err
	}
	c, err := g.Add(cfg)
	if err != nil {
		return nil, err
	}
	c.own = g
	return c, nil
}
