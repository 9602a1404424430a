package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
)

// testLeasesExpire lets one lease expire while another is kept alive: the keys of the first go, not before
// its time; the other's stay.
func testLeasesExpire(t *testing.T, s Store) {
	const ttl = 3 * time.Second
	ctx := t.Context()
	for id := store.LeaseID(1); id <= 2; id++ {
		if got, err := s.Grant(ctx, id, ttl); err != nil || got != id {
			t.Fatal(got, err)
		}
	}
	put := func(key string, lease store.LeaseID) store.Op {
		return store.Op{Type: store.TypePut, Key: key, Value: []byte("v"), Lease: lease}
	}
	res, err := s.Txn(ctx, store.Txn{Then: []store.Op{put("kept", 1), put("b", 2), put("a", 2), put("free", 0)}})
	if err != nil {
		t.Fatal(err)
	}
	w := mustWatch(t, s, store.WatchConfig{Key: "a", End: "z", Revision: res.Revision + 1})
	renewed := time.Now()
	if left, err := s.KeepAlive(ctx, 2); err != nil || left != ttl {
		t.Fatal(left, err)
	}
	keep, stop := context.WithCancel(ctx)
	defer stop()
	kept := make(chan error, 1)
	go func() { kept <- keepAlive(keep, s, 1, ttl) }()
	b, err := w.Next(ctx)
	if took := time.Since(renewed); took < ttl-100*time.Millisecond {
		t.Errorf("gone after %s", took)
	}
	if err != nil || len(b.Events) != 2 || b.Events[0].Entry.Key != "a" || b.Events[1].Entry.Key != "b" {
		t.Fatalf("got %+v, %v", b, err)
	}
	if _, err := s.Lease(ctx, 2); !errors.Is(err, store.ErrLeaseNotFound) {
		t.Errorf("the lease that expired: %v", err)
	}
	time.Sleep(ttl / 2)
	stop()
	if err := <-kept; err != nil {
		t.Error(err)
	}
	for _, key := range []string{"kept", "free"} {
		if e, _, err := get(ctx, s, key); e == nil || err != nil {
			t.Errorf("%s: %v, %v", key, e, err)
		}
	}
}

// keepAlive keeps a lease alive until ctx ends.
func keepAlive(ctx context.Context, s Store, id store.LeaseID, ttl time.Duration) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(ttl / 10):
		}
		if _, err := s.KeepAlive(context.WithoutCancel(ctx), id); err != nil {
			return err
		}
	}
}
