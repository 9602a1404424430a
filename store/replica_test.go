package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
)

// testLog is a log in memory that applies to one replica, or holds everything back.
type testLog struct {
	replica *store.Replica
	held    chan struct{} // when not nil: received from before anything happens
	err     error         // returned instead of applying

	mu       sync.Mutex
	commands [][]byte
}

func (l *testLog) Propose(ctx context.Context, command []byte) error {
	if l.held != nil {
		select {
		case <-l.held:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, ctx.Err())
		}
	}
	if l.err != nil {
		return l.err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commands = append(l.commands, command)
	return l.replica.Apply(command)
}

func (l *testLog) Confirm(context.Context) error { return l.err }

func (l *testLog) KeepAlive(_ context.Context, id store.LeaseID) (time.Duration, error) {
	return l.replica.KeepAlive(id)
}

func (l *testLog) Remaining(_ context.Context, id store.LeaseID) (time.Duration, error) {
	return l.replica.Remaining(id)
}

func openReplica(t *testing.T, l *testLog) *store.Replica {
	t.Helper()
	r, err := store.OpenReplica(store.Config{}, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	l.replica = r
	return r
}

func snapshot(t *testing.T, r *store.Replica) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := r.Snapshot().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Two replicas that apply the same commands are the same, byte by byte, and so is one that was restored
// in the middle.
func TestReplicasAgree(t *testing.T) {
	log := &testLog{}
	leader := openReplica(t, log)
	var middle []byte
	var at int
	for i := range 200 {
		if i == 100 {
			middle, at = snapshot(t, leader), len(log.commands)
		}
		txn := store.Txn{
			If:   []store.Compare{store.IfMissing(fmt.Sprint("k", i%7))},
			Then: []store.Op{store.OpPut(fmt.Sprint("k", i%7), fmt.Append(nil, i))},
			Else: []store.Op{store.OpPut(fmt.Sprint("k", i%5, "/x"), nil), store.OpDeletePrefix(fmt.Sprint("k", i%11))},
		}
		if i%50 == 49 {
			if err := leader.Store().Compact(t.Context(), leader.Store().Revision()-3); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := leader.Store().Txn(t.Context(), txn); err != nil && !errors.Is(err, store.ErrInvalid) {
			t.Fatal(err)
		}
	}
	follower, restored := openReplica(t, &testLog{}), openReplica(t, &testLog{})
	if err := restored.Restore(bytes.NewReader(middle)); err != nil {
		t.Fatal(err)
	}
	for i, command := range log.commands {
		for _, r := range []*store.Replica{follower, restored} {
			if r == restored && i < at {
				continue
			}
			if err := r.Apply(command); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := snapshot(t, leader)
	if !bytes.Equal(snapshot(t, follower), want) || !bytes.Equal(snapshot(t, restored), want) {
		t.Error("the replicas differ")
	}
}

func TestManyShareOneCommand(t *testing.T) {
	log := &testLog{held: make(chan struct{})}
	s := openReplica(t, log).Store()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { put(t, s, fmt.Sprint(i), "v") })
		for s.Proposed() == 0 { // the first goes alone
			runtime.Gosched()
		}
	}
	for s.Queued() < 99 { // behind the one that the log holds back
		runtime.Gosched()
	}
	close(log.held)
	wg.Wait()
	if s.Revision() != 101 || len(log.commands) != 2 {
		t.Errorf("revision %d by %d commands", s.Revision(), len(log.commands))
	}
}

// A caller that stops waiting is told what is known.
func TestStopWaiting(t *testing.T) {
	log := &testLog{held: make(chan struct{})}
	s := openReplica(t, log).Store()
	txn := store.Txn{Then: []store.Op{store.OpPut("k", nil)}}
	call := func() (cancel func(), outcome chan error) {
		ctx, cancel := context.WithCancel(t.Context())
		outcome = make(chan error, 1)
		go func() {
			_, err := s.Txn(ctx, txn)
			outcome <- err
		}()
		return cancel, outcome
	}
	cancelFirst, first := call()
	log.held <- struct{}{} // the log has it: it happens
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	cancelFirst()
	cancelSecond, second := call()
	for s.Proposed() < 2 { // the log has it, but holds it back
		runtime.Gosched()
	}
	cancelThird, third := call() // waits behind it
	cancelThird()
	if err := <-third; !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnknownOutcome) {
		t.Errorf("not proposed: %v", err)
	}
	cancelSecond()
	if err := <-second; !errors.Is(err, context.Canceled) || !errors.Is(err, store.ErrUnknownOutcome) {
		t.Errorf("proposed: %v", err)
	}
	log.held <- struct{}{}
	w, err := s.Watch(store.WatchConfig{Key: "k", Revision: 3})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := w.Next(t.Context()); err != nil || b.Revision != 3 {
		t.Errorf("it happened all the same: %v, %v", b, err)
	}
}

// Callers that come and go while a command is filling up leave no empty commands and no lost calls.
func TestChangeOfMind(t *testing.T) {
	log := &testLog{}
	s := openReplica(t, log).Store()
	txn := store.Txn{Then: []store.Op{store.OpPut("k", nil)}}
	var wg sync.WaitGroup
	var happened, open atomic.Int64
	for range 50 {
		wg.Go(func() {
			for i := range 100 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%2 == 0 {
					go cancel()
				}
				switch _, err := s.Txn(ctx, txn); {
				case err == nil:
					happened.Add(1)
				case errors.Is(err, store.ErrUnknownOutcome):
					open.Add(1)
				case !errors.Is(err, context.Canceled):
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if _, err := s.Txn(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
	// Each transaction that happened made one revision, beginning at 2.
	if n := s.Revision() - 2; n < happened.Load() || n > happened.Load()+open.Load() {
		t.Errorf("%d transactions happened; %d callers were told so, %d were told that it is open", n, happened.Load(), open.Load())
	}
	for _, command := range log.commands {
		if n := store.CommandRequests(command); n < 1 {
			t.Fatal("an empty command went through the log")
		}
	}
}

func TestLogRefuses(t *testing.T) {
	log := &testLog{err: store.ErrNoLeader}
	s := openReplica(t, log).Store()
	if _, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut("k", nil)}}); !errors.Is(err, store.ErrNoLeader) {
		t.Errorf("got %v", err)
	}
}

// A replica that cannot read a command takes no further one: it would differ from the others.
func TestUnreadableCommand(t *testing.T) {
	log := &testLog{}
	r := openReplica(t, log)
	put(t, r.Store(), "k", "v")
	if err := r.Apply([]byte{9}); err == nil {
		t.Fatal("no error")
	}
	if err := r.Apply(log.commands[0]); err == nil || r.Store().Revision() != 2 {
		t.Error("applied after an unreadable command")
	}
}

func TestRestoreUnderWatch(t *testing.T) {
	ahead, behind := openReplica(t, &testLog{}), openReplica(t, &testLog{})
	for range 10 {
		put(t, ahead.Store(), "k", "v")
	}
	if err := ahead.Store().Compact(t.Context(), 11); err != nil {
		t.Fatal(err)
	}
	watchers := map[string]*store.Watcher{}
	for name, cfg := range map[string]store.WatchConfig{
		"key": {Key: "k"}, "prefix": {Key: "k", End: "l"}, "range": {Key: "a", End: "z"},
	} {
		w, err := behind.Store().Watch(cfg)
		if err != nil {
			t.Fatal(err)
		}
		watchers[name] = w
	}
	if err := behind.Restore(strings.NewReader("nonsense")); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("restore nonsense: %v", err)
	}
	if err := behind.Restore(bytes.NewReader(snapshot(t, ahead))); err != nil {
		t.Fatal(err)
	}
	for name, w := range watchers {
		var compacted *store.CompactedError
		if _, err := w.Next(t.Context()); !errors.As(err, &compacted) || compacted.Oldest != 11 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if e, rev, err := behind.Store().Get(t.Context(), "k"); err != nil || rev != 11 || e.Version != 10 {
		t.Errorf("%+v %d %v", e, rev, err)
	}
}
