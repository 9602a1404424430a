package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/inboard/inboard/store"
)

func testCompaction(t *testing.T, s Store) {
	for i := range 10 {
		mustPut(t, s, "k", fmt.Sprint(i)) // revisions 2 to 11
	}
	if err := s.Compact(t.Context(), 12); !errors.Is(err, store.ErrFutureRevision) {
		t.Errorf("compact the future: %v", err)
	}
	if err := s.Compact(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context(), 6); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("compact twice: %v", err)
	}
	_, err := s.Range(t.Context(), store.Range{Key: "k", Revision: 5, Linearizable: true})
	checkCompacted(t, "read the compacted", err, 6)
	// Over a wire, Oldest is where a watch can begin: with etcd at the oldest revision, here right after it.
	if err := watchError(t, s, store.WatchConfig{Key: "k", Revision: 5}); !oldestIs(err, 7) {
		checkCompacted(t, "watch the compacted", err, 6)
	}
	if r, err := s.Range(t.Context(), store.Range{Key: "k", Revision: 6, Linearizable: true}); err != nil || string(r.Entries[0].Value) != "4" {
		t.Errorf("read the oldest: %v, %v", r, err)
	}
	w := mustWatch(t, s, store.WatchConfig{Key: "k", Revision: 7})
	if b, err := w.Next(t.Context()); err != nil || b.Revision != 7 {
		t.Errorf("watch after the compacted: %v, %v", b, err)
	}
	// A watcher that is behind a compaction may have got what it needs already, or is told so.
	if err := s.Compact(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	b, err := w.Next(t.Context())
	for want := int64(8); err == nil && want <= 11; want++ {
		if b.Revision != want {
			t.Fatalf("a gap: got revision %d, want %d", b.Revision, want)
		}
		if want < 11 {
			b, err = w.Next(t.Context())
		}
	}
	if err != nil && !oldestIs(err, 11) {
		checkCompacted(t, "watcher behind the compaction", err, 10)
	}
}

// watchError is the error of a watch that cannot begin.
func watchError(t *testing.T, s Store, cfg store.WatchConfig) error {
	w, err := s.Watch(cfg)
	if err != nil {
		return err
	}
	defer w.Close()
	b, err := w.Next(t.Context())
	if err == nil {
		return fmt.Errorf("no error but revision %d", b.Revision)
	}
	return err
}

func oldestIs(err error, rev int64) bool {
	var compacted *store.CompactedError
	return errors.As(err, &compacted) && compacted.Oldest == rev
}

func checkCompacted(t *testing.T, what string, err error, oldest int64) {
	t.Helper()
	if !errors.Is(err, store.ErrCompacted) {
		t.Errorf("%s: %v", what, err)
	}
	var compacted *store.CompactedError
	if errors.As(err, &compacted) && compacted.Oldest != oldest {
		t.Errorf("%s: the oldest is said to be %d, want %d", what, compacted.Oldest, oldest)
	}
}

func testContexts(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := put(ctx, s, "k", "v"); !errors.Is(err, context.Canceled) {
		t.Errorf("Txn: %v", err)
	}
	if _, err := s.Range(ctx, store.Range{Key: "k"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Range: %v", err)
	}
	w := mustWatch(t, s, store.WatchConfig{Key: "k"})
	if _, err := w.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next: %v", err)
	}
	if e, rev, err := get(t.Context(), s, "k"); e != nil || rev != 1 || err != nil {
		t.Errorf("something happened: %v %d %v", e, rev, err)
	}
}

func testBadRequests(t *testing.T, s Store) {
	put := store.OpPut("k", nil)
	for name, txn := range map[string]store.Txn{
		"put without a key":       {Then: []store.Op{store.OpPut("", nil)}},
		"two puts of a key":       {Then: []store.Op{put, store.OpPut("j", nil), put}},
		"put and deletion":        {Else: []store.Op{put, store.OpDelete("k")}},
		"put within a deletion":   {Else: []store.Op{store.OpDeletePrefix("k"), put}},
		"condition without a key": {If: []store.Compare{{}}, Then: []store.Op{put}},
	} {
		if _, err := s.Txn(t.Context(), txn); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	big := store.Txn{Then: []store.Op{store.OpPut("k", make([]byte, 3<<20))}}
	if _, err := s.Txn(t.Context(), big); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := s.Range(t.Context(), store.Range{Key: "k", Revision: 99}); !errors.Is(err, store.ErrFutureRevision) {
		t.Errorf("range in the future: %v", err)
	}
	if _, err := s.Range(t.Context(), store.Range{}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("range without a key: %v", err)
	}
	if rev := revision(t, s); rev != 1 {
		t.Errorf("revision %d: a bad request changed something", rev)
	}
}
