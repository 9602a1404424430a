package raft_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/storetest"
)

// target is a cluster as clients see it: stores that may be down, which is nil.
type target interface {
	size() int
	member(i int) storetest.Store
}

// workload is what clients and watchers do to a target, and what they saw.
type workload struct {
	t       testing.TB
	target  target
	seed    uint64
	history history
	first   world

	stop     chan struct{} // closed when clients shall stop
	finished chan struct{} // closed when last is set
	last     int64         // the revision that watchers wait for
	calls    atomic.Int64
	clients  sync.WaitGroup
	watchers sync.WaitGroup

	mu        sync.Mutex
	segments  []segment
	stale     []staleRead
	relists   int // a watcher found its history gone on every member
	refused   int // calls of which the store said that they did not happen
	reconnect int
}

// segment is what one watcher saw without a gap: every revision in (after, upTo].
type segment struct {
	after, upTo int64
	log         changeLog
}

// staleRead is what a serializable read said.
type staleRead struct {
	client, member int
	revision       int64
	values         [chaosKeys]string
}

const callTimeout = 3 * time.Second

func startWorkload(t testing.TB, target target, seed uint64, clients, watchers int) *workload {
	w := &workload{t: t, target: target, seed: seed, stop: make(chan struct{}), finished: make(chan struct{})}
	w.first.revision = w.settle()
	w.history.start = time.Now()
	for i := range clients {
		w.clients.Go(func() { w.client(i) })
	}
	for i := range watchers {
		w.watchers.Go(func() { w.watcher(i) })
	}
	return w
}

// settle waits until a linearizable read comes back, and returns its revision.
func (w *workload) settle() int64 {
	deadline := time.Now().Add(2 * time.Minute)
	for i := 0; ; i++ {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		_, rev, err := w.read(ctx, i%w.target.size(), true)
		cancel()
		if err == nil {
			return rev
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the cluster does not answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

var errDown = fmt.Errorf("%w: the member is down", store.ErrClosed)

func (w *workload) read(ctx context.Context, member int, linearizable bool) (values [chaosKeys]string, rev int64, err error) {
	s := w.target.member(member)
	if s == nil {
		return values, 0, errDown
	}
	r, err := s.Range(ctx, store.Range{Key: "chaos/", End: store.PrefixEnd("chaos/"), Linearizable: linearizable})
	for _, e := range r.Entries {
		var k int
		if _, err := fmt.Sscanf(e.Key, "chaos/%d", &k); err == nil && k < chaosKeys {
			values[k] = string(e.Value)
		}
	}
	return values, r.Revision, err
}

// client calls one random member after the other.
func (w *workload) client(id int) {
	rnd := rand.New(rand.NewPCG(w.seed, uint64(id)))
	var seen [chaosKeys]string // so that conditions hold now and then
	for n := 0; ; n++ {
		select {
		case <-w.stop:
			return
		default:
		}
		c := w.draw(rnd, seen, fmt.Sprintf("%d.%d", id, n))
		a, err := w.call(id, c, &seen)
		w.calls.Add(1)
		switch {
		case err == nil, a.known:
			continue
		case !errors.Is(err, store.ErrUnknownOutcome):
			w.mu.Lock()
			w.refused++
			w.mu.Unlock()
		}
		time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
	}
}

// draw makes up a call.
func (w *workload) draw(rnd *rand.Rand, seen [chaosKeys]string, value string) call {
	k := rnd.IntN(chaosKeys)
	c := call{ifKey: -1, puts: map[int]string{}, member: rnd.IntN(w.target.size())}
	switch rnd.IntN(10) {
	case 0, 1, 2:
		c.read = true
	case 3, 4, 5:
		c.puts[k] = value
	case 6, 7: // compare and swap
		c.ifKey, c.ifValue = k, seen[k]
		c.puts[k] = value
	case 8: // several keys, on a condition
		c.ifKey, c.ifValue = k, seen[k]
		c.puts[(k+1)%chaosKeys], c.puts[(k+2)%chaosKeys] = value, value
		c.deletes = []int{(k + 3) % chaosKeys}
	default:
		c.deletes = []int{k}
	}
	return c
}

func (w *workload) call(client int, c call, seen *[chaosKeys]string) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	called := w.history.now()
	if c.read {
		values, rev, err := w.read(ctx, c.member, true)
		a := answer{known: err == nil, revision: rev, values: values}
		if err == nil {
			w.history.add(client, c, called, a)
			*seen = values
		}
		w.readStale(client, c.member)
		return a, err
	}
	s := w.target.member(c.member)
	if s == nil {
		return answer{}, errDown
	}
	res, err := s.Txn(ctx, c.txn())
	a := answer{known: err == nil, ok: res.Succeeded, revision: res.Revision}
	if err == nil || errors.Is(err, store.ErrUnknownOutcome) {
		w.history.add(client, c, called, a)
	}
	return a, err
}

// readStale reads a member's own state, which may be old but must have been.
func (w *workload) readStale(client, member int) {
	values, rev, err := w.read(context.Background(), member, false)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stale = append(w.stale, staleRead{client, member, rev, values})
}

// watcher follows all changes, on one member after the other, until the last revision.
func (w *workload) watcher(id int) {
	rnd := rand.New(rand.NewPCG(w.seed, uint64(1000+id)))
	seg := segment{after: w.first.revision, upTo: w.first.revision, log: changeLog{}}
	done := func() bool {
		select {
		case <-w.finished:
			return seg.upTo >= w.last
		default:
			return false
		}
	}
	giveUp := time.Time{}
	for gone := 0; !done(); {
		if w.overdue(&giveUp) {
			w.t.Errorf("watcher %d is at revision %d and does not get to the last one, %d", id, seg.upTo, w.last)
			break
		}
		s := w.target.member(rnd.IntN(w.target.size()))
		if s == nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		err := w.follow(s, &seg, rnd)
		if gone++; !errors.Is(err, store.ErrCompacted) {
			gone = 0
		}
		if gone > 10*w.target.size() {
			// All members have made a snapshot since: list again, as any client must.
			w.keep(seg)
			rev := w.settle()
			seg, gone = segment{after: rev, upTo: rev, log: changeLog{}}, 0
			w.mu.Lock()
			w.relists++
			w.mu.Unlock()
		}
	}
	w.keep(seg)
}

// overdue tells whether the last write is older than any watcher may need to see it.
func (w *workload) overdue(giveUp *time.Time) bool {
	select {
	case <-w.finished:
	default:
		return false
	}
	if giveUp.IsZero() {
		*giveUp = time.Now().Add(2 * time.Minute)
	}
	return time.Now().After(*giveUp)
}

func (w *workload) keep(seg segment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.segments = append(w.segments, seg)
}

// follow watches on one member for a while.
func (w *workload) follow(s storetest.Store, seg *segment, rnd *rand.Rand) error {
	watcher, err := s.Watch(store.WatchConfig{Key: "chaos/", End: store.PrefixEnd("chaos/"), Revision: seg.upTo + 1})
	if err != nil {
		time.Sleep(10 * time.Millisecond)
		return err
	}
	defer watcher.Close()
	w.mu.Lock()
	w.reconnect++
	w.mu.Unlock()
	until := time.Now().Add(time.Duration(rnd.IntN(3000)) * time.Millisecond)
	for time.Now().Before(until) {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		b, err := watcher.Next(ctx)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			// Quiet up to here; nothing but the keys is written, so there is nothing in between.
			select {
			case <-w.finished:
				return nil
			default:
				continue
			}
		case err != nil:
			return err
		case b.Revision <= seg.upTo:
			w.t.Errorf("a watcher at revision %d was given %d", seg.upTo, b.Revision)
			return nil
		}
		seg.log[b.Revision] = changesOf(b)
		seg.upTo = b.Revision
	}
	return nil
}

// finish ends the workload: one last change, which every watcher must see, then the checks.
func (w *workload) finish() {
	close(w.stop)
	w.clients.Wait()
	w.last = w.lastWrite()
	close(w.finished)
	w.watchers.Wait()
}

// lastPrefix is how the values of last writes begin.
const lastPrefix = "last."

// lastWrite writes until it is told that it has.
func (w *workload) lastWrite() int64 {
	deadline := time.Now().Add(2 * time.Minute)
	for n := 0; ; n++ {
		c := call{ifKey: -1, puts: map[int]string{0: fmt.Sprint(lastPrefix, n)}, member: n % w.target.size()}
		var seen [chaosKeys]string
		a, err := w.call(-1, c, &seen)
		if err == nil {
			return a.revision
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the cluster did not recover: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// changes puts together what all watchers saw. No two may differ, and nobody may have missed what another
// one saw.
func (w *workload) changes() changeLog {
	all := changeLog{}
	for _, seg := range w.segments {
		for rev, changes := range seg.log {
			if other, ok := all[rev]; ok && !slices.Equal(other, changes) {
				w.t.Errorf("revision %d: one watcher saw %v, another %v", rev, other, changes)
			}
			all[rev] = changes
		}
	}
	for _, seg := range w.segments {
		for rev := range all {
			if rev > seg.after && rev <= seg.upTo && seg.log[rev] == nil {
				w.t.Errorf("a watcher from %d to %d missed revision %d: %v", seg.after, seg.upTo, rev, all[rev])
			}
		}
	}
	return all
}
