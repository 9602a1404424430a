package scheduler

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/replica"
	"github.com/inboard/inboard/internal/election"
	"github.com/inboard/inboard/internal/events"
)

// Scheduler is the loop around Profile.Place: it watches, queues, places and binds.
type Scheduler struct {
	cfg        Config
	pods       *replica.Replica[*corev1.Pod]
	nodes      *replica.Replica[*corev1.Node]
	namespaces *replica.Replica[*corev1.Namespace]
	// objects are the kinds that plugins watch, besides pods when watchesPods.
	objects     map[reflect.Type]*watched
	watchesPods bool
	// sharesObjects tells that the API server is part of this program.
	sharesObjects bool
	handle        *Handle
	waiting       waitingPods
	// slow are the binding cycles that do more than to bind; they have goroutines of their own.
	slow      sync.WaitGroup
	recorder  *events.Recorder
	podClient client.Typed[*corev1.Pod]
	inbox     inbox
	jobs      chan job
	// batcher is the client when it can store many writes at once, and batches the jobs that make use of that.
	batcher client.Batcher
	batches chan batched
	ready   chan struct{}
	ran     atomic.Bool
	// elector is nil when the scheduler works whoever else does.
	elector *election.Elector
	// snapshot is the newest state, assumed pods included, for Snapshot.
	snapshot atomic.Pointer[Snapshot]
	statsMu  sync.Mutex
	stats    Stats
	// binding is how many goroutines are binding a pod.
	binding atomic.Int64
}

// New returns a scheduler that does nothing until Run is called. The error names the field of cfg
// that is wrong.
func New(cfg Config) (*Scheduler, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Scheduler{cfg: cfg, ready: make(chan struct{}), inbox: newInbox(), podClient: client.For[*corev1.Pod](cfg.Client)}
	s.handle = &Handle{s}
	if c, ok := cfg.Client.(interface{ SharesObjects() bool }); ok {
		s.sharesObjects = c.SharesObjects()
	}
	s.waiting.pods = map[string]*bindingCycle{}
	s.batcher, _ = cfg.Client.(client.Batcher)
	s.jobs, s.batches = make(chan job, 2*cfg.Concurrency), make(chan batched, 2*cfg.Concurrency)
	s.snapshot.Store(emptySnapshot)
	if s.pods, err = replica.New(replica.Config[*corev1.Pod]{Client: cfg.Client, Logger: cfg.Logger}); err != nil {
		return nil, fmt.Errorf("scheduler: pods: %w", err)
	}
	if s.nodes, err = replica.New(replica.Config[*corev1.Node]{Client: cfg.Client, Logger: cfg.Logger}); err != nil {
		return nil, fmt.Errorf("scheduler: nodes: %w", err)
	}
	if s.namespaces, err = replica.New(replica.Config[*corev1.Namespace]{Client: cfg.Client, Logger: cfg.Logger}); err != nil {
		return nil, fmt.Errorf("scheduler: namespaces: %w", err)
	}
	if err := s.watchObjects(); err != nil {
		return nil, err
	}
	if s.elector, err = cfg.elector(); err != nil {
		return nil, err
	}
	component := DefaultSchedulerName
	if len(cfg.Profiles) == 1 {
		for name := range cfg.Profiles {
			component = name
		}
	}
	s.recorder, err = events.New(events.Config{Client: cfg.Client, Component: component, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("scheduler: %w", err)
	}
	return s, nil
}

// Ready is closed once the scheduler has seen all pods and nodes that existed when it began to work, which is
// after it was elected when there is an election.
func (s *Scheduler) Ready() <-chan struct{} { return s.ready }

// Snapshot returns the state that the scheduler decides on now, with the pods that it is binding on
// their nodes: ask it what-if questions, with Profile.Schedule on changed copies.
func (s *Scheduler) Snapshot() *Snapshot { return s.snapshot.Load() }

// Run schedules until ctx ends, and returns nil then, after everything it started has stopped. With a
// Config.LeaderElection it waits for leadership first, reads nothing before that, and returns an
// ErrLeadershipLost when it is over. It can be called once.
func (s *Scheduler) Run(ctx context.Context) error {
	if !s.ran.CompareAndSwap(false, true) {
		return errors.New("scheduler: Run was called before")
	}
	if s.elector == nil {
		return s.run(ctx)
	}
	return s.elector.Run(ctx, s.run)
}

func (s *Scheduler) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	// Events of the last bindings are still written: the recorder stops last.
	recordCtx, stopRecorder := context.WithCancel(context.WithoutCancel(ctx))
	recorded := make(chan struct{})
	go func() {
		defer close(recorded)
		_ = s.recorder.Run(recordCtx)
	}()
	var wg sync.WaitGroup
	s.subscribe()
	for _, run := range []func(context.Context) error{s.nodes.Run, s.namespaces.Run, s.pods.Run} {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				cancel(fmt.Errorf("scheduler: %w", err))
			}
		})
	}
	for _, w := range s.objects {
		wg.Go(func() {
			if err := w.run(ctx, s.cfg.Client); err != nil {
				cancel(fmt.Errorf("scheduler: %w", err))
			}
		})
	}
	requestCtx, stopRequests := lingering(ctx, lastRequests)
	defer stopRequests()
	s.workers(ctx, requestCtx, wg.Go)
	l := newLoop(ctx, requestCtx, s)
	l.run()
	l.queue.forgetBlames()
	s.setStats(Stats{})
	err := context.Cause(ctx)
	cancel(nil)
	wg.Wait()
	s.slow.Wait()
	stopRecorder()
	<-recorded
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// lastRequests is how long requests that are under way when Run's context ends may take: to cut a binding
// short leaves it open whether the pod is bound.
const lastRequests = time.Second

// lingering returns a context that ends some time after its parent.
func lingering(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	unhook := context.AfterFunc(parent, func() {
		timer := time.AfterFunc(d, cancel)
		context.AfterFunc(ctx, func() { timer.Stop() })
	})
	return ctx, func() {
		unhook()
		cancel()
	}
}

// subscribe turns changes of the replicas into messages for the loop, which alone owns the state.
func (s *Scheduler) subscribe() {
	s.nodes.Subscribe(func(c replica.Change[*corev1.Node]) {
		if c.Kind != replica.Synced {
			s.inbox.post(func(l *loop) { l.nodeChanged(c.Old, c.New) })
		}
	})
	s.namespaces.Subscribe(func(c replica.Change[*corev1.Namespace]) {
		if c.Kind != replica.Synced {
			s.inbox.post(func(l *loop) { l.namespaceChanged(c.Old, c.New) })
		}
	})
	s.pods.Subscribe(func(c replica.Change[*corev1.Pod]) {
		if c.Kind != replica.Synced {
			s.inbox.post(func(l *loop) { l.podChanged(c.Old, c.New) })
		}
	})
	for _, w := range s.objects {
		w.view.Subscribe(func(c replica.Change[client.Object]) {
			if c.Kind != replica.Synced {
				s.inbox.post(func(l *loop) { l.objectChanged(c.Old, c.New) })
			}
		})
	}
}

// inbox carries messages to the loop. It has no bound of its own: it holds at most what the replicas
// were told since the loop last looked, and the answers to a bounded number of requests.
type inbox struct {
	mu     *sync.Mutex
	queue  *[]func(*loop)
	signal chan struct{}
}

func newInbox() inbox {
	return inbox{mu: &sync.Mutex{}, queue: new([]func(*loop)), signal: make(chan struct{}, 1)}
}

func (b *inbox) post(f func(*loop)) {
	b.mu.Lock()
	*b.queue = append(*b.queue, f)
	b.mu.Unlock()
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

// take returns all messages; spare is memory to use again.
func (b *inbox) take(spare []func(*loop)) []func(*loop) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := *b.queue
	*b.queue = spare[:0]
	return out
}

// synced waits until the replicas hold everything. Messages may be handled meanwhile.
func (s *Scheduler) synced(ctx context.Context) bool {
	for _, c := range []<-chan struct{}{s.nodes.Ready(), s.namespaces.Ready(), s.pods.Ready()} {
		select {
		case <-c:
		case <-ctx.Done():
			return false
		}
	}
	for _, w := range s.objects {
		if !w.synced(ctx) {
			return false
		}
	}
	return true
}

// flushInterval is how often pods that have waited too long are looked for.
const flushInterval = 30 * time.Second
