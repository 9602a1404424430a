package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
)

func testWatchWaits(t *testing.T, s Store) {
	w := mustWatch(t, s, store.WatchConfig{Key: "pods/", End: store.PrefixEnd("pods/"), Prev: true})
	got := make(chan store.Batch, 1)
	go func() {
		b, _ := w.Next(context.Background())
		got <- b
	}()
	mustPut(t, s, "nodes/a", "of no interest")
	select {
	case b := <-got:
		t.Fatalf("woken by %v", b)
	case <-time.After(10 * time.Millisecond):
	}
	rev := mustPut(t, s, "pods/a", "new")
	if b := <-got; b.Revision != rev || len(b.Events) != 1 || b.Events[0].Prev != nil {
		t.Errorf("got %+v", b)
	}
	last := mustPut(t, s, "nodes/a", "again of no interest")
	awaitProgress(t, w, last)
	rev = mustPut(t, s, "pods/a", "changed")
	if p := w.Progress(); p != last {
		t.Errorf("progress %d with revision %d not seen", p, rev)
	}
	if b, err := w.Next(t.Context()); err != nil || string(b.Events[0].Prev.Value) != "new" {
		t.Errorf("got %+v, %v", b, err)
	}
	w.Close()
	if _, err := w.Next(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Next of a closed watcher: %v", err)
	}
}

func testWatchOfTheFuture(t *testing.T, s Store) {
	w := mustWatch(t, s, store.WatchConfig{Key: "k", Revision: 5})
	for range 6 {
		mustPut(t, s, "k", "v") // revisions 2 to 7
	}
	for want := int64(5); want <= 7; want++ {
		b, err := w.Next(t.Context())
		if err != nil || b.Revision != want {
			t.Fatalf("got revision %d, %v; want %d", b.Revision, err, want)
		}
		if b.Events[0].Prev != nil {
			t.Error("previous state without asking")
		}
	}
}

// testWatchIsComplete lets writers write and watchers of several ranges come and go: each must see
// exactly the transactions after its start that concern it, once, in order.
func testWatchIsComplete(t *testing.T, s Store) {
	const writers, each = 4, 200
	var seen sync.WaitGroup
	last := make(chan struct{}) // closed when all is written
	var final int64
	for i := range 12 {
		// A key, a prefix, a range that is none, everything.
		cfg := []store.WatchConfig{
			{Key: "0/1"}, {Key: "1/", End: "10"}, {Key: "0/5", End: "2/5"}, {End: store.PrefixEnd("")},
		}[i%4]
		cfg.Prev = i%2 == 0
		seen.Go(func() { watchAll(t, s, cfg, last, &final, i > 6) })
	}
	var wrote sync.WaitGroup
	for i := range writers {
		wrote.Go(func() {
			for range each {
				if err := writeSome(t.Context(), s, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wrote.Wait()
	final = revision(t, s)
	close(last)
	seen.Wait()
}

func writeSome(ctx context.Context, s Store, writer int) error {
	key := func(w int) string { return fmt.Sprintf("%d/%d", w, rand.IntN(10)) }
	txn := store.Txn{Then: []store.Op{store.OpPut(key(writer), []byte("v"))}}
	switch rand.IntN(4) {
	case 0:
		txn.Then = []store.Op{store.OpDelete(key(writer))}
	case 1:
		txn.Then = append(txn.Then, store.OpPut(key(writer+1), []byte("v")), store.OpPut(key(writer+2), nil))
	}
	_, err := s.Txn(ctx, txn)
	return err
}

// watchAll keeps a copy of a range by watching, until the final revision, and compares it on the way
// with what the store says about each revision. With again it starts a new watcher now and then.
func watchAll(t *testing.T, s Store, cfg store.WatchConfig, last <-chan struct{}, final *int64, again bool) {
	copied := map[string]int64{}
	next := int64(2)
	done, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { <-last; cancel() }()
	for {
		cfg.Revision = next
		w, err := s.Watch(cfg)
		if err != nil {
			t.Error(err)
			return
		}
		for {
			b, err := w.Next(done)
			if errors.Is(err, context.Canceled) {
				if w.Progress() >= *final {
					w.Close()
					compareCopy(t, s, cfg, *final, copied)
					return
				}
				b, err = nextOrNothing(t, w)
			}
			if err == nil && b.Revision == 0 {
				continue
			}
			if err != nil || b.Revision < next {
				t.Errorf("revision %d at %d: %v", b.Revision, next, err)
				return
			}
			next = b.Revision + 1
			follow(t, cfg, b, copied)
			if again && rand.IntN(20) == 0 {
				compareCopy(t, s, cfg, b.Revision, copied)
				break
			}
		}
		w.Close()
	}
}

// follow applies a batch to a copy. A skipped or repeated change shows by the previous state.
func follow(t *testing.T, cfg store.WatchConfig, b store.Batch, copied map[string]int64) {
	for _, ev := range b.Events {
		if cfg.Prev {
			prev := int64(0)
			if ev.Prev != nil {
				prev = ev.Prev.ModRevision
			}
			if prev != copied[ev.Entry.Key] {
				t.Errorf("revision %d of %s follows %d, seen was %d", b.Revision, ev.Entry.Key, prev, copied[ev.Entry.Key])
			}
		}
		if ev.Entry.ModRevision != b.Revision {
			t.Errorf("event of revision %d in the batch of %d", ev.Entry.ModRevision, b.Revision)
		}
		if ev.Type == store.EventDelete {
			delete(copied, ev.Entry.Key)
		} else {
			copied[ev.Entry.Key] = b.Revision
		}
	}
}

func compareCopy(t *testing.T, s Store, cfg store.WatchConfig, rev int64, copied map[string]int64) {
	r, err := s.Range(t.Context(), store.Range{Key: cfg.Key, End: cfg.End, Revision: rev, Linearizable: true})
	if err != nil {
		t.Error(err)
		return
	}
	for _, e := range r.Entries {
		if copied[e.Key] != e.ModRevision {
			t.Errorf("at %d %s is of revision %d, watched was %d", rev, e.Key, e.ModRevision, copied[e.Key])
		}
	}
	if len(copied) != r.Count {
		t.Errorf("at %d there are %d keys, watched were %d", rev, r.Count, len(copied))
	}
}

// testReadsAreNotTorn reads while writers write; each list must be of one revision.
func testReadsAreNotTorn(t *testing.T, s Store) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			v := fmt.Appendf(nil, "%d", i)
			txn := store.Txn{Then: []store.Op{store.OpPut("a", v), store.OpPut("b", v), store.OpPut("c", v)}}
			if _, err := s.Txn(context.Background(), txn); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 2000 {
		r, err := s.Range(t.Context(), store.Range{Key: "a", End: "d"})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Entries {
			if string(e.Value) != string(r.Entries[0].Value) || e.ModRevision > r.Revision || len(r.Entries) != 3 {
				t.Fatalf("torn read at %d: %+v", r.Revision, e)
			}
		}
	}
	close(stop)
	wg.Wait()
}

// awaitProgress waits until a watcher that has nothing to say says so of a revision.
func awaitProgress(t *testing.T, w Watcher, rev int64) {
	t.Helper()
	for w.Progress() < rev {
		if b, err := nextOrNothing(t, w); err != nil || b.Revision != 0 {
			t.Fatalf("got %+v, %v while waiting for revision %d", b, err, rev)
		}
	}
	if p := w.Progress(); p != rev {
		t.Fatalf("progress %d after revision %d", p, rev)
	}
}

// nextOrNothing is Next for a range in which nothing may have happened.
func nextOrNothing(t *testing.T, w Watcher) (store.Batch, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	b, err := w.Next(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return store.Batch{}, nil
	}
	return b, err
}
