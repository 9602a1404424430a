package aggregate

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

var servicesResource = apiregistrationv1.SchemeGroupVersion.WithResource("apiservices")

// systemUser is who the API server itself writes as.
var systemUser = apiserver.Identity{User: "system:apiserver", Groups: []string{apiserver.GroupMasters}}

// Run keeps what the layer keeps until ctx ends: APIServices of what the server itself serves, the conditions of all
// others, what these serve, and the ConfigMap by which they know this server. The server's Run calls it.
func (a *Aggregator) Run(ctx context.Context, s *apiserver.Server) error {
	k := &keeper{Aggregator: a, client: s.Client(systemUser), served: s.GroupVersions, watchers: map[string]*worker{}, kick: make(chan struct{}, 1)}
	return k.run(ctx)
}

// keeper is what runs.
type keeper struct {
	*Aggregator
	client client.Interface
	// served returns the groups and versions that the server itself serves.
	served func(ctx context.Context) ([]apiserver.ServedVersion, error)
	// atStart are the APIServices that were there at the start, synced the names of those that were seen to since.
	atStart  map[string]*entry
	synced   map[string]bool
	watchers map[string]*worker // by the APIService's name
	kick     chan struct{}
	workers  sync.WaitGroup
}

// interests are the keys whose changes matter.
func (k *keeper) interests() []string {
	return []string{k.services(), k.read.services.Prefix(), k.read.slices.Prefix(), definitionsPrefix, trustKey}
}

func (k *keeper) services() string {
	return "/registry/" + apiregistrationv1.GroupName + "/apiservices/"
}

// definitionsPrefix is where custom kinds are defined, as which the server comes to serve more.
const definitionsPrefix = "/registry/apiextensions.k8s.io/customresourcedefinitions/"

func (k *keeper) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer k.workers.Wait()
	defer cancel()
	var news *news
	defer func() { news.close() }()
	tick := time.NewTicker(k.cfg.Refresh)
	defer tick.Stop()
	for {
		changed, err := news.take(k.read.services.Prefix(), k.read.slices.Prefix())
		if news == nil || err != nil {
			news.close()
			if news, err = k.listen(); err != nil {
				return err
			}
			changed = k.interests() // whatever happened before
		}
		retry := k.round(ctx, changed)
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.kick:
		case <-retry:
		case <-tick.C:
			news.close()
			news = nil
		}
	}
}

// round sees to what changed; the channel is due when something has to be tried again.
func (k *keeper) round(ctx context.Context, changed []string) <-chan time.Time {
	var errs []error
	for _, key := range changed {
		switch {
		case strings.HasPrefix(key, k.read.services.Prefix()), strings.HasPrefix(key, k.read.slices.Prefix()):
			k.wake(key)
		case key == trustKey:
			errs = append(errs, k.keepTrust(ctx))
		case key == definitionsPrefix:
			errs = append(errs, k.keepLocal(ctx))
		case key == k.services():
			errs = append(errs, k.keepLocal(ctx), k.employ(ctx))
		}
	}
	err := errors.Join(errs...)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	k.cfg.Logger.Warn("keeping API services failed; trying again", "error", err)
	return time.After(time.Second)
}

// wake has the workers look again whose Service may be concerned.
func (k *keeper) wake(key string) {
	rest := strings.TrimPrefix(strings.TrimPrefix(key, k.read.services.Prefix()), k.read.slices.Prefix())
	namespace, _, _ := strings.Cut(rest, "/")
	for _, w := range k.watchers {
		if namespace == "" || w.entry.Spec.Service.Namespace == namespace {
			w.wake()
		}
	}
}

// employ sees to it that there is a worker for each APIService that another server is to answer for.
func (k *keeper) employ(ctx context.Context) error {
	entries, err := k.entries(ctx)
	if err != nil {
		return err
	}
	wanted := map[string]*entry{}
	var errs []error
	for _, e := range entries {
		if e.target != nil {
			wanted[e.Name] = e
		} else if c := availability(e.APIService); c == nil || c.Status != apiregistrationv1.ConditionTrue || c.Reason != "Local" {
			errs = append(errs, k.tellLocal(ctx, e))
		}
	}
	for name, w := range k.watchers {
		if e := wanted[name]; e == nil || e.target != w.entry.target {
			w.stop()
			<-w.done
			delete(k.watchers, name)
			k.note(name, nil, nil)
		}
	}
	for name, e := range wanted {
		if k.watchers[name] == nil {
			k.watchers[name] = k.newWorker(ctx, e)
		}
	}
	return errors.Join(errs...)
}

// worker watches over one APIService.
type worker struct {
	entry *entry
	again chan struct{}
	stop  context.CancelFunc
	done  chan struct{}
}

func (w *worker) wake() {
	select {
	case w.again <- struct{}{}:
	default:
	}
}

func (k *keeper) newWorker(ctx context.Context, e *entry) *worker {
	ctx, cancel := context.WithCancel(ctx)
	w := &worker{entry: e, again: make(chan struct{}, 1), stop: cancel, done: make(chan struct{})}
	k.workers.Go(func() {
		defer close(w.done)
		defer cancel()
		k.watch(ctx, w)
	})
	return w
}

// minPause is how long after a failure a server is asked again; it doubles up to Config.Refresh.
const minPause = 250 * time.Millisecond

func (k *keeper) watch(ctx context.Context, w *worker) {
	var before string
	var asked time.Time
	failed, pause := minPause, time.Duration(0)
	for ctx.Err() == nil {
		// Other Services of the namespace come and go; the server need not be asked each time.
		now := k.signature(ctx, w.entry)
		if time.Since(asked) >= pause || now != before {
			if now != before {
				failed = minPause
			}
			before, asked, pause = now, time.Now(), k.cfg.Refresh
			if err := k.look(ctx, w.entry.Name); err != nil {
				k.cfg.Logger.Debug("an API service is not well", "name", w.entry.Name, "error", err)
				pause, failed = min(failed, k.cfg.Refresh), 2*failed
			} else {
				failed = minPause
			}
		}
		select {
		case <-ctx.Done():
		case <-w.again:
		case <-time.After(max(0, pause-time.Since(asked))):
		}
	}
}

// signature changes when the Service of an APIService or its endpoints do.
func (k *keeper) signature(ctx context.Context, e *entry) string {
	ref := e.Spec.Service
	var out strings.Builder
	if svc, err := k.read.service(ctx, ref.Namespace, ref.Name); err == nil {
		out.WriteString(svc.ResourceVersion)
	}
	list, err := k.read.slicesOf(ctx, ref.Namespace, ref.Name)
	if err != nil {
		return out.String()
	}
	for _, s := range list {
		out.WriteString(" " + s.Name + " " + s.ResourceVersion)
	}
	return out.String()
}

// look asks an APIService's server whether it is well and what it serves, and tells others.
func (k *keeper) look(ctx context.Context, name string) (err error) {
	defer func() {
		if p := recover(); p != nil { // at what another server said
			err = fmt.Errorf("a panic: %v", p)
			k.cfg.Logger.Error("looking after an API service panicked", "name", name, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	e, err := k.entry(ctx, name)
	if err != nil || e == nil || e.target == nil {
		return err
	}
	c := k.judge(ctx, e)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// First what it serves, so that who sees that it is available finds that.
	found := k.discover(ctx, e)
	if c.Status != apiregistrationv1.ConditionTrue {
		return errors.Join(fmt.Errorf("%s: %s", c.Reason, c.Message), tell(ctx, k.client, e.APIService, c))
	}
	return errors.Join(found, k.describe(ctx, e), tell(ctx, k.client, e.APIService, c))
}
