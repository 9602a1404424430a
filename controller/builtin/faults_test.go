package builtin_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver/client"
)

// faulty is a client whose requests go wrong at random: refused before they take effect, their
// answers lost after they did, conflicts, watches that end or are late.
type faulty struct {
	client.Interface
	mu   sync.Mutex
	rand *rand.Rand
	one  int // one request in so many goes wrong
}

var errBroken = errors.New("connection reset by peer")

func (f *faulty) roll(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rand.IntN(n) == 0
}

func (f *faulty) before(ref client.Ref) error {
	if !f.roll(f.one) {
		return nil
	}
	if f.roll(2) {
		return apierrors.NewConflict(ref.GroupVersionResource.GroupResource(), ref.Name, errors.New("a lie"))
	}
	return apierrors.NewInternalError(errBroken)
}

func (f *faulty) after(err error) error {
	if err == nil && f.roll(f.one) {
		return fmt.Errorf("read the answer: %w", errBroken)
	}
	return err
}

func (f *faulty) Create(ctx context.Context, ref client.Ref, obj runtime.Object, o metav1.CreateOptions) (runtime.Object, error) {
	if err := f.before(ref); err != nil {
		return nil, err
	}
	out, err := f.Interface.Create(ctx, ref, obj, o)
	return out, f.after(err)
}

func (f *faulty) Update(ctx context.Context, ref client.Ref, obj runtime.Object, o metav1.UpdateOptions) (runtime.Object, error) {
	if err := f.before(ref); err != nil {
		return nil, err
	}
	out, err := f.Interface.Update(ctx, ref, obj, o)
	return out, f.after(err)
}

func (f *faulty) Patch(ctx context.Context, ref client.Ref, pt types.PatchType, patch []byte, o metav1.PatchOptions) (runtime.Object, error) {
	if err := f.before(ref); err != nil {
		return nil, err
	}
	out, err := f.Interface.Patch(ctx, ref, pt, patch, o)
	return out, f.after(err)
}

func (f *faulty) Delete(ctx context.Context, ref client.Ref, o metav1.DeleteOptions) error {
	if err := f.before(ref); err != nil {
		return err
	}
	return f.after(f.Interface.Delete(ctx, ref, o))
}

func (f *faulty) Get(ctx context.Context, ref client.Ref, o metav1.GetOptions) (runtime.Object, error) {
	if f.roll(f.one) {
		return nil, errBroken
	}
	return f.Interface.Get(ctx, ref, o)
}

func (f *faulty) List(ctx context.Context, ref client.Ref, o metav1.ListOptions) (*client.List, error) {
	if f.roll(f.one) {
		return nil, errBroken
	}
	return f.Interface.List(ctx, ref, o)
}

func (f *faulty) Watch(ctx context.Context, ref client.Ref, o metav1.ListOptions) (watch.Interface, error) {
	if f.roll(f.one) {
		return nil, errBroken
	}
	w, err := f.Interface.Watch(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	late := &lateWatch{Interface: w, events: make(chan watch.Event)}
	go late.run(ctx, f)
	return late, nil
}

// lateWatch delivers what another does, later, and not to the end.
type lateWatch struct {
	watch.Interface
	events chan watch.Event
}

func (l *lateWatch) ResultChan() <-chan watch.Event { return l.events }

func (l *lateWatch) run(ctx context.Context, f *faulty) {
	defer close(l.events)
	defer l.Stop()
	for e := range l.Interface.ResultChan() {
		if f.roll(2) {
			time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		}
		if f.roll(10 * f.one) {
			return
		}
		select {
		case l.events <- e:
		case <-ctx.Done():
			return
		}
	}
}

// TestConvergesThroughFaults scales and rolls while one request in six goes wrong. At the end the
// pods are exactly those asked for: none was made twice because its answer got lost.
func TestConvergesThroughFaults(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c client.Interface) client.Interface {
				return &faulty{Interface: c, rand: rand.New(rand.NewPCG(seed, 1)), one: 6}
			})
			w.create(deploymentOf("web", 4, "v1"))
			most := w.watchMost()
			w.complete("web", 4)
			w.patch("web", `{"spec":{"replicas":9}}`)
			w.complete("web", 9)
			w.patch("web", `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"v2"}]}}}}`)
			w.complete("web", 9)
			w.patch("web", `{"spec":{"replicas":2}}`)
			w.complete("web", 2)
			eventually[*corev1.Pod](w, "two pods", func() bool { return len(list[*corev1.Pod](w, "default")) == 2 })
			if n := most(); n > 9 {
				t.Errorf("a set had %d pods at once, and never asked for more than 9", n)
			}
			w.delete(deploymentOf("web", 0, ""), metav1.DeletePropagationForeground)
			eventually[*appsv1.Deployment](w, "deployment gone", func() bool { return len(list[*appsv1.Deployment](w, "default")) == 0 })
			eventually[*corev1.Pod](w, "pods gone", func() bool { return len(list[*corev1.Pod](w, "default")) == 0 })
		})
	}
}

// watchMost returns a function that tells how many pods one set had at once at most, terminating
// ones left out, by the true order of events.
func (w *world) watchMost() func() int {
	w.Helper()
	ctx, cancel := context.WithCancel(w.ctx)
	events, err := client.For[*corev1.Pod](w.c).Watch(ctx, "", metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	most, alive, owner := 0, map[types.UID]bool{}, map[types.UID]types.UID{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range events.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			alive[p.UID] = e.Type != watch.Deleted && p.DeletionTimestamp == nil
			owner[p.UID] = metav1.GetControllerOf(p).UID
			n := map[types.UID]int{}
			for uid, ok := range alive {
				if ok {
					n[owner[uid]]++
				}
			}
			most = max(most, n[owner[p.UID]])
		}
	}()
	var once sync.Once
	stop := func() { once.Do(func() { cancel(); <-done }) }
	w.Cleanup(stop)
	return func() int { stop(); return most }
}
