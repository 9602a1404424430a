package clienttest

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver/client"
)

// Guard returns c with a mutation detector: at the end of the test, each object that List, Watch
// and GetShared handed out through it must be what it was, and no write may have changed the object it was given.
func Guard(t testing.TB, c client.Interface) client.Interface {
	g := &guard{Interface: c, t: t, seen: map[runtime.Object]string{}}
	t.Cleanup(g.check)
	return g
}

type guard struct {
	client.Interface
	t    testing.TB
	mu   sync.Mutex
	seen map[runtime.Object]string
}

func (g *guard) see(objs ...runtime.Object) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, obj := range objs {
		if _, ok := g.seen[obj]; !ok {
			g.seen[obj] = text(obj)
		}
	}
}

func (g *guard) check() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for obj, was := range g.seen {
		if now := text(obj); now != was {
			g.t.Errorf("a shared object was changed:\n before %s\n after  %s", was, now)
		}
	}
}

// text is the JSON of obj; whoever changes a shared object changes it.
func text(obj runtime.Object) string {
	b, err := json.Marshal(obj)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (g *guard) GetShared(ctx context.Context, ref client.Ref, opts metav1.GetOptions) (runtime.Object, error) {
	obj, err := client.GetShared(ctx, g.Interface, ref, opts)
	if err == nil {
		g.see(obj)
	}
	return obj, err
}

func (g *guard) List(ctx context.Context, ref client.Ref, opts metav1.ListOptions) (*client.List, error) {
	l, err := g.Interface.List(ctx, ref, opts)
	if err == nil {
		g.see(l.Items...)
	}
	return l, err
}

func (g *guard) Watch(ctx context.Context, ref client.Ref, opts metav1.ListOptions) (watch.Interface, error) {
	w, err := g.Interface.Watch(ctx, ref, opts)
	if err != nil {
		return nil, err
	}
	return newSeen(w, g), nil
}

// seen passes a watch on. Unlike watch.Filter's, its goroutine also ends when it is stopped while nobody
// takes the next event.
type seen struct {
	watch.Interface
	events  chan watch.Event
	stopped chan struct{}
	once    sync.Once
}

func newSeen(w watch.Interface, g *guard) *seen {
	s := &seen{Interface: w, events: make(chan watch.Event), stopped: make(chan struct{})}
	go func() {
		defer close(s.events)
		for ev := range w.ResultChan() {
			g.see(ev.Object)
			select {
			case s.events <- ev:
			case <-s.stopped:
				return
			}
		}
	}()
	return s
}

func (s *seen) ResultChan() <-chan watch.Event { return s.events }

func (s *seen) Stop() {
	s.once.Do(func() { close(s.stopped) })
	s.Interface.Stop()
}

// unchanged fails the test when a write changed what it was given.
func (g *guard) unchanged(obj runtime.Object, verb string) func() {
	was := text(obj)
	return func() {
		g.t.Helper()
		if now := text(obj); now != was {
			g.t.Errorf("%s changed the object it was given:\n before %s\n after  %s", verb, was, now)
		}
	}
}

func (g *guard) Create(ctx context.Context, ref client.Ref, obj runtime.Object, opts metav1.CreateOptions) (runtime.Object, error) {
	defer g.unchanged(obj, "Create")()
	return g.Interface.Create(ctx, ref, obj, opts)
}

func (g *guard) Update(ctx context.Context, ref client.Ref, obj runtime.Object, opts metav1.UpdateOptions) (runtime.Object, error) {
	defer g.unchanged(obj, "Update")()
	return g.Interface.Update(ctx, ref, obj, opts)
}

func (g *guard) Patch(ctx context.Context, ref client.Ref, pt types.PatchType, patch []byte, opts metav1.PatchOptions) (runtime.Object, error) {
	was := string(patch)
	defer func() {
		if string(patch) != was {
			g.t.Errorf("Patch changed the patch it was given")
		}
	}()
	return g.Interface.Patch(ctx, ref, pt, patch, opts)
}
