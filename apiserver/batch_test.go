package apiserver_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/store"
)

var configMaps = corev1.SchemeGroupVersion.WithResource("configmaps")

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mapRef(name string) client.Ref {
	return client.Ref{GroupVersionResource: configMaps, Namespace: "default", Name: name}
}

func settings(name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string]string{"value": value}}
}

// TestBatchStory evicts a pod as a scheduler does: first it says why, then it deletes the pod, and a watcher sees
// both. In the same commit another pod gets its node, and a third write is refused.
func TestBatchStory(t *testing.T) {
	var commits int
	s := apitest.Open(t, func(cfg *apiserver.Config) { cfg.Store = &countingStore{Store: cfg.Store, txns: &commits} })
	c, ctx := s.Admin(), t.Context()
	pods := client.For[*corev1.Pod](c)
	victim, waiting := testPod("victim"), testPod("waiting")
	victim.Spec.NodeName, victim.Spec.TerminationGracePeriodSeconds = "node-1", new(int64)
	for _, p := range []*corev1.Pod{victim, waiting} {
		_, err := pods.Create(ctx, p)
		fatal(t, err)
	}
	now, err := pods.Get(ctx, "default", "victim")
	fatal(t, err)
	w, err := pods.Watch(ctx, "default", metav1.ListOptions{ResourceVersion: now.ResourceVersion})
	fatal(t, err)
	defer w.Stop()

	condemned := now.DeepCopy()
	condemned.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "PreemptionByScheduler"}}
	status, object, bind := pods.Ref("default", "victim"), pods.Ref("default", "victim"), pods.Ref("default", "waiting")
	status.Subresource, bind.Subresource = "status", "binding"
	before := commits
	errs := c.(client.Batcher).Batch(ctx, [][]client.Write{
		{{Ref: status, Update: condemned}, {Ref: object, Delete: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &now.UID}}}},
		{{Ref: pods.Ref("default", "nobody"), Delete: &metav1.DeleteOptions{}}},
		{{Ref: bind, Create: &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "waiting"}, Target: corev1.ObjectReference{Name: "node-1"}}}},
	})
	if errs[0] != nil || !apierrors.IsNotFound(errs[1]) || errs[2] != nil {
		t.Fatalf("the batch: %v", errs)
	}
	if commits != before+1 {
		t.Errorf("%d commits", commits-before)
	}
	var seen []string
	for ev := range w.ResultChan() {
		p := ev.Object.(*corev1.Pod)
		if p.Name == "waiting" && ev.Type == watch.Added {
			continue
		}
		seen = append(seen, fmt.Sprintf("%s %s on %q, %d conditions", ev.Type, p.Name, p.Spec.NodeName, len(p.Status.Conditions)))
		if p.Name == "waiting" {
			break
		}
	}
	want := `MODIFIED victim on "node-1", 1 conditions
DELETED victim on "node-1", 1 conditions
MODIFIED waiting on "node-1", 1 conditions`
	if got := strings.Join(seen, "\n"); got != want {
		t.Errorf("the watch told:\n%s\ninstead of\n%s", got, want)
	}
}

// countingStore counts commits.
type countingStore struct {
	apiserver.Store
	txns *int
}

func (s *countingStore) Txn(ctx context.Context, t store.Txn) (store.TxnResult, error) {
	*s.txns++
	return s.Store.Txn(ctx, t)
}

func (s *countingStore) Txns(ctx context.Context, txns []store.Txn) []store.Outcome {
	*s.txns++
	return s.Store.Txns(ctx, txns)
}

// TestBatchAsOneByOne gives random series to one server in batches, and to another one write by write: their
// answers and their objects are the same.
func TestBatchAsOneByOne(t *testing.T) {
	a, b := apitest.Open(t).Admin(), apitest.Open(t).Admin()
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var all [][]client.Write
		for i := range 1 + rnd.IntN(6) {
			var series []client.Write
			for range 1 + rnd.IntN(4) {
				series = append(series, randomWrite(rnd, i))
			}
			all = append(all, series)
		}
		got := a.(client.Batcher).Batch(t.Context(), all)
		for i, series := range all {
			if want := oneByOne(t.Context(), b, series); code(got[i]) != code(want) {
				t.Fatalf("round %d, series %d: %v in a batch, %v one by one", round, i, got[i], want)
			}
		}
		if x, y := contents(t, a), contents(t, b); x != y {
			t.Fatalf("round %d:\n%s\nin batches, one by one:\n%s", round, x, y)
		}
	}
}

// randomWrite is to one of the two maps of a series: between series there is no order.
func randomWrite(rnd *rand.Rand, series int) client.Write {
	name := fmt.Sprintf("map-%d-%d", series, rnd.IntN(2))
	w := client.Write{Ref: mapRef(name)}
	m := settings(name, fmt.Sprint(rnd.IntN(3)))
	switch rnd.IntN(6) {
	case 0:
		w.Ref.Name, w.Create = "", m
	case 1:
		w.Delete = &metav1.DeleteOptions{}
	case 2:
		m.Data["not a key"] = "" // invalid
		w.Update = m
	case 3:
		m.Finalizers = []string{"example.com/hold"}
		w.Update = m
	default:
		w.Update = m
	}
	return w
}

func oneByOne(ctx context.Context, c client.Interface, series []client.Write) error {
	for _, w := range series {
		var err error
		switch {
		case w.Create != nil:
			_, err = c.Create(ctx, w.Ref, w.Create, metav1.CreateOptions{})
		case w.Update != nil:
			_, err = c.Update(ctx, w.Ref, w.Update, metav1.UpdateOptions{})
		default:
			err = c.Delete(ctx, w.Ref, *w.Delete)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprint(apierrors.ReasonForError(err))
}

func contents(t *testing.T, c client.Interface) string {
	l, err := client.For[*corev1.ConfigMap](c).List(t.Context(), "default", metav1.ListOptions{})
	fatal(t, err)
	var out strings.Builder
	for _, m := range l.Items {
		fmt.Fprintln(&out, m.Name, m.Data, m.Finalizers, m.DeletionTimestamp != nil, len(m.ManagedFields))
	}
	return out.String()
}

// TestBatchAmongOthers has writers count up under each other's eyes: a batch that comes too late for one of its objects
// does that one again, and no count is lost or made twice.
func TestBatchAmongOthers(t *testing.T) {
	c := apitest.Open(t).Admin()
	const names, writers, rounds = 3, 4, 25
	for i := range names {
		_, err := c.Create(t.Context(), mapRef(""), settings(fmt.Sprint("map-", i), ""), metav1.CreateOptions{})
		fatal(t, err)
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range rounds {
				if err := countUp(t.Context(), c, names); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range names {
		m, err := client.For[*corev1.ConfigMap](c).Get(t.Context(), "default", fmt.Sprint("map-", i))
		fatal(t, err)
		if got := len(m.Data["value"]); got != writers*rounds {
			t.Errorf("%s was counted to %d", m.Name, got)
		}
	}
}

// countUp makes each map's value one longer.
func countUp(ctx context.Context, c client.Interface, names int) error {
	left := map[string]bool{}
	for i := range names {
		left[fmt.Sprint("map-", i)] = true
	}
	for len(left) > 0 {
		var series [][]client.Write
		var of []string
		for name := range left {
			m, err := client.For[*corev1.ConfigMap](c).Get(ctx, "default", name)
			if err != nil {
				return err
			}
			m.Data["value"] += "x"
			series, of = append(series, []client.Write{{Ref: mapRef(name), Update: m}}), append(of, name)
		}
		for i, err := range c.(client.Batcher).Batch(ctx, series) {
			switch {
			case err == nil:
				delete(left, of[i])
			case !apierrors.IsConflict(err):
				return err
			}
		}
	}
	return nil
}

// TestBatchOfNothing: a write that says nothing is a bad request, and a context that is over is said.
func TestBatchOfNothing(t *testing.T) {
	c := apitest.Open(t).Admin().(client.Batcher)
	if errs := c.Batch(t.Context(), [][]client.Write{{{Ref: mapRef("x")}}, {}}); !apierrors.IsBadRequest(errs[0]) || errs[1] != nil {
		t.Error(errs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if errs := c.Batch(ctx, [][]client.Write{{{Ref: mapRef(""), Create: settings("x", "")}}}); !errors.Is(errs[0], context.Canceled) {
		t.Error(errs)
	}
}

// TestEvictionIsTold: a pod that goes at once says first why it goes, for those who watch; both are one commit.
func TestEvictionIsTold(t *testing.T) {
	var commits int
	s := apitest.Open(t, func(cfg *apiserver.Config) { cfg.Store = &countingStore{Store: cfg.Store, txns: &commits} })
	c, ctx := s.Admin(), t.Context()
	pods := client.For[*corev1.Pod](c)
	made, err := pods.Create(ctx, testPod("p"))
	fatal(t, err)
	w, err := pods.Watch(ctx, "default", metav1.ListOptions{ResourceVersion: made.ResourceVersion})
	fatal(t, err)
	defer w.Stop()
	before := commits
	fatal(t, evictNow(t, c, "p"))
	if commits != before+1 {
		t.Errorf("%d commits", commits-before)
	}
	for _, want := range []watch.EventType{watch.Modified, watch.Deleted} {
		ev := <-w.ResultChan()
		p := ev.Object.(*corev1.Pod)
		if conditions := p.Status.Conditions; ev.Type != want || len(conditions) != 1 || conditions[0].Type != corev1.DisruptionTarget {
			t.Errorf("%s: %+v", ev.Type, conditions)
		}
	}
}
