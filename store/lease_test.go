package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inboard/inboard/store"
)

func grant(t *testing.T, s *store.Store, id store.LeaseID, ttl time.Duration) store.LeaseID {
	t.Helper()
	id, err := s.Grant(t.Context(), id, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func putLeased(t *testing.T, s *store.Store, key string, id store.LeaseID) {
	t.Helper()
	op := store.OpPut(key, []byte("v"))
	op.Lease = id
	if _, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{op}}); err != nil {
		t.Fatal(err)
	}
}

func exists(t *testing.T, s *store.Store, key string) bool {
	t.Helper()
	e, _, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return e != nil
}

func TestLeaseExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var expired []store.LeaseID
		s := open(t, store.Config{Events: store.Events{LeaseExpired: func(id store.LeaseID) { expired = append(expired, id) }}})
		long, short := grant(t, s, 0, time.Hour), grant(t, s, 0, 10*time.Second)
		for _, key := range []string{"c", "a", "b"} {
			putLeased(t, s, key, short)
		}
		putLeased(t, s, "long", long)
		w, err := s.Watch(store.WatchConfig{End: "\x00", Revision: s.Revision() + 1})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		for range 5 {
			time.Sleep(9 * time.Second)
			if left, err := s.KeepAlive(t.Context(), short); left != 10*time.Second || err != nil {
				t.Fatal(left, err)
			}
		}
		time.Sleep(10*time.Second - time.Nanosecond)
		if info, err := s.Lease(t.Context(), short); err != nil || info.Remaining != 1 || !slices.Equal(info.Keys, []string{"a", "b", "c"}) {
			t.Fatalf("%+v, %v", info, err)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		b, err := w.Next(t.Context())
		if err != nil || len(b.Events) != 3 || b.Events[0].Entry.Key != "a" || b.Events[2].Entry.Key != "c" {
			t.Fatalf("%+v, %v", b, err)
		}
		if _, err := s.KeepAlive(t.Context(), short); !errors.Is(err, store.ErrLeaseNotFound) {
			t.Error(err)
		}
		if ids, err := s.Leases(t.Context()); !slices.Equal(ids, []store.LeaseID{long}) || err != nil {
			t.Error(ids, err)
		}
		if !slices.Equal(expired, []store.LeaseID{short}) {
			t.Error(expired)
		}
	})
}

// The last change of a key decides which lease it goes with.
func TestLeaseMoves(t *testing.T) {
	s := open(t, store.Config{})
	one, two := grant(t, s, 1, time.Hour), grant(t, s, 2, time.Hour)
	for _, key := range []string{"stays", "moves", "freed", "gone"} {
		putLeased(t, s, key, one)
	}
	putLeased(t, s, "moves", two)
	put(t, s, "freed", "no lease")
	keep := store.Op{Type: store.TypePut, Key: "stays", Value: []byte("new"), KeepLease: true}
	if _, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{keep, store.OpDelete("gone")}}); err != nil {
		t.Fatal(err)
	}
	if info, err := s.Lease(t.Context(), one); err != nil || !slices.Equal(info.Keys, []string{"stays"}) {
		t.Errorf("%+v, %v", info, err)
	}
	before := s.Revision()
	if err := s.Revoke(t.Context(), one); err != nil || s.Revision() != before+1 {
		t.Error(s.Revision(), err)
	}
	for key, want := range map[string]bool{"stays": false, "moves": true, "freed": true} {
		if exists(t, s, key) != want {
			t.Errorf("%s: exists = %v", key, !want)
		}
	}
	if err := s.Revoke(t.Context(), two); err != nil || exists(t, s, "moves") {
		t.Error(err)
	}
	if err := s.Revoke(t.Context(), two); !errors.Is(err, store.ErrLeaseNotFound) {
		t.Error(err)
	}
}

func TestGrant(t *testing.T) {
	s := open(t, store.Config{})
	for ttl, want := range map[time.Duration]time.Duration{
		-1: time.Second, 0: time.Second, time.Second: time.Second, 1500 * time.Millisecond: 2 * time.Second,
		9_000_000_000 * time.Second: 9_000_000_000 * time.Second,
	} {
		if info, err := s.Lease(t.Context(), grant(t, s, 0, ttl)); err != nil || info.TTL != want {
			t.Errorf("%v: %+v, %v", ttl, info, err)
		}
	}
	if _, err := s.Grant(t.Context(), 0, 1<<63-1); !errors.Is(err, store.ErrInvalid) {
		t.Error(err)
	}
	grant(t, s, -5, time.Hour)
	if _, err := s.Grant(t.Context(), -5, time.Hour); !errors.Is(err, store.ErrLeaseExists) {
		t.Error(err)
	}
	if rev := s.Revision(); rev != 1 {
		t.Errorf("revision %d: a lease is no change of a key", rev)
	}
}

// A transaction that names an unknown lease changes nothing, and the others of its command are not concerned.
func TestUnknownLease(t *testing.T) {
	for name, s := range map[string]*store.Store{"memory": open(t, store.Config{}), "log": openReplica(t, &testLog{}).Store()} {
		bad := store.Op{Type: store.TypePut, Key: "b", Lease: 9}
		txn := store.Txn{Then: []store.Op{store.OpPut("a", nil), store.OpTxn(store.Txn{Then: []store.Op{bad}})}}
		if _, err := s.Txn(t.Context(), txn); !errors.Is(err, store.ErrLeaseNotFound) || exists(t, s, "a") || s.Revision() != 1 {
			t.Errorf("%s: %v", name, err)
		}
		keep := store.Op{Type: store.TypePut, Key: "b", KeepValue: true}
		if _, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut("a", nil), keep}}); !errors.Is(err, store.ErrKeyNotFound) || exists(t, s, "a") {
			t.Errorf("%s: %v", name, err)
		}
		txn.If = []store.Compare{store.IfExists("none")} // the other branch runs
		if _, err := s.Txn(t.Context(), txn); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// cluster is several replicas of one log, of which one at a time leads.
type cluster struct {
	replicas []*store.Replica
	leader   int
	refuse   atomic.Bool
	commands atomic.Int64
}

type member struct{ c *cluster }

func (m member) Propose(_ context.Context, command []byte) error {
	if m.c.refuse.Load() {
		return store.ErrNoLeader
	}
	m.c.commands.Add(1)
	for _, r := range m.c.replicas {
		if err := r.Apply(command); err != nil {
			return err
		}
	}
	return nil
}

func (m member) Confirm(context.Context) error { return nil }

func (m member) KeepAlive(_ context.Context, id store.LeaseID) (time.Duration, error) {
	return m.c.replicas[m.c.leader].KeepAlive(id)
}

func (m member) Remaining(_ context.Context, id store.LeaseID) (time.Duration, error) {
	return m.c.replicas[m.c.leader].Remaining(id)
}

func openCluster(t *testing.T, n int) *cluster {
	c := &cluster{}
	for range n {
		r, err := store.OpenReplica(store.Config{}, member{c})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		c.replicas = append(c.replicas, r)
	}
	return c
}

func (c *cluster) lead(i int) {
	c.replicas[c.leader].Lead(false)
	c.leader = i
	c.replicas[i].Lead(true)
	synctest.Wait()
}

// Leases that were granted with one leader expire with the next, which gives them their whole time again.
func TestLeasesOutliveTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := openCluster(t, 3)
		follower := c.replicas[2].Store()
		if _, err := follower.KeepAlive(t.Context(), 1); !errors.Is(err, store.ErrNoLeader) {
			t.Fatal(err)
		}
		c.lead(0)
		grant(t, follower, 7, 10*time.Second)
		if _, err := follower.KeepAlive(t.Context(), 7); err != nil {
			t.Fatal("right after the grant:", err)
		}
		putLeased(t, follower, "k", 7)
		time.Sleep(9 * time.Second)
		c.lead(1)
		if info, err := follower.Lease(t.Context(), 7); err != nil || info.Remaining != 10*time.Second {
			t.Fatal(info, err)
		}
		if _, err := c.replicas[0].KeepAlive(7); !errors.Is(err, store.ErrNoLeader) {
			t.Error("the former leader:", err)
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if left, err := follower.KeepAlive(t.Context(), 7); err != nil || left != 10*time.Second {
			t.Fatal(left, err)
		}
		// The log refuses for a while: the lease has expired, but its key is still there.
		c.refuse.Store(true)
		time.Sleep(25 * time.Second)
		if _, err := follower.KeepAlive(t.Context(), 7); !errors.Is(err, store.ErrLeaseNotFound) || !exists(t, follower, "k") {
			t.Fatal(err)
		}
		c.refuse.Store(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if exists(t, follower, "k") {
			t.Error("the key outlived its lease")
		}
		for _, r := range c.replicas[1:] {
			if !bytes.Equal(snapshot(t, r), snapshot(t, c.replicas[0])) {
				t.Error("the replicas differ")
			}
		}
		commands := c.commands.Load()
		time.Sleep(time.Hour)
		if c.commands.Load() != commands {
			t.Error("something goes on without leases")
		}
	})
}

// A thousand leases that expire together share few commands.
func TestExpiriesShareCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := openCluster(t, 1)
		c.lead(0)
		s := c.replicas[0].Store()
		for i := range 1000 {
			grant(t, s, store.LeaseID(i+1), time.Minute)
			putLeased(t, s, fmt.Sprint(i), store.LeaseID(i+1))
		}
		before := c.commands.Load()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if ids, err := s.Leases(t.Context()); len(ids) != 0 || err != nil || s.Stats().Revision != 2001 {
			t.Error(len(ids), err, s.Stats().Revision)
		}
		if n := c.commands.Load() - before; n > 10 {
			t.Errorf("%d commands", n)
		}
	})
}

// An expiry that a former leader proposed comes late: its lease was kept alive with the new one.
func TestLateExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lateLog{}
		r, err := store.OpenReplica(store.Config{}, log)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		log.replica = r
		r.Lead(true)
		grant(t, r.Store(), 7, 10*time.Second)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		log.hold.Store(true)
		time.Sleep(5500 * time.Millisecond)
		synctest.Wait()
		if len(log.held) != 1 {
			t.Fatalf("%d commands are held", len(log.held))
		}
		log.hold.Store(false)
		r.Lead(false)
		r.Lead(true)
		synctest.Wait()
		if left, err := r.KeepAlive(7); err != nil || left != 10*time.Second {
			t.Fatal(left, err)
		}
		if err := r.Apply(log.held[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := r.KeepAlive(7); err != nil {
			t.Errorf("ended by a late expiry: %v", err)
		}
	})
}

// lateLog applies, or holds commands back and says that it does not know what will become of them.
type lateLog struct {
	testLog
	hold atomic.Bool
	held [][]byte // read when nothing is proposed
}

func (l *lateLog) Propose(ctx context.Context, command []byte) error {
	if l.hold.Load() {
		l.held = append(l.held, command)
		return store.ErrUnknownOutcome
	}
	return l.testLog.Propose(ctx, command)
}
