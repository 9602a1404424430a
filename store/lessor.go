package store

import (
	"container/heap"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// lessor keeps the deadlines of leases where that is this replica's business: in a store without a log,
// and on the leader's replica. Deadlines are not part of the state. They are told by the monotonic clock,
// so setting the machine's clock neither ends nor prolongs a lease.
//
// Whoever leads next starts all deadlines anew: a lease may live longer than its time, but not shorter. A
// lease that expired is gone for its keepers at once, while its keys go when the revocation is applied. If
// the leader changes in between, the lease may live for one more of its times; no keeper was told so.
type lessor struct {
	store *Store
	wg    sync.WaitGroup

	mu     sync.Mutex // taken after Store.mu
	closed bool
	tenure *tenure // nil while the deadlines are another replica's business
}

// tenure is a time in which this replica is in charge; guarded by lessor.mu. An expiry counts only while
// the state names the tenure that it comes from. That becomes so through the log, so that an expiry of an
// earlier leader, late in the log, cannot end a lease that was kept alive with the new one.
type tenure struct {
	id        uint64
	installed bool
	ctx       context.Context
	cancel    context.CancelFunc
	byID      map[LeaseID]*deadline
	due       deadlines
	// running tells that a goroutine waits for the first deadline; wake tells it to look again.
	running bool
	wake    chan struct{}
}

type deadline struct {
	id     LeaseID
	ttl    time.Duration
	serial uint64
	at     time.Time
	// inherited tells that the lease was granted before the tenure.
	inherited bool
	told      bool // to Events.LeaseExpired
	index     int  // in due; -1 while the lease is being revoked
}

// How many leases are revoked by one command, and how long to wait before trying again.
const (
	maxExpired  = 1024
	expireAgain = time.Second
)

// lead begins a tenure over leases that were granted before, or ends the one that is. Store.mu is held.
func (l *lessor) lead(leading bool, leases leaseTable) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
	if leading && !l.closed {
		l.begin(rand.Uint64(), leases)
	}
}

// restored begins the tenure that is anew, over the leases of another state. Store.mu is held.
func (l *lessor) restored(leases leaseTable) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenure != nil {
		l.end()
		l.begin(rand.Uint64(), leases)
	}
}

// serve begins the only tenure of a store without a log.
func (l *lessor) serve(m *machine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin(m.tenure, m.leases)
	l.tenure.installed = true
}

func (l *lessor) begin(id uint64, leases leaseTable) {
	t := &tenure{id: id, byID: map[LeaseID]*deadline{}, wake: make(chan struct{}, 1)}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	l.tenure = t
	leases.each(func(lease *lease) bool {
		t.add(lease).inherited = true
		return true
	})
	l.start(t)
}

func (l *lessor) end() {
	if l.tenure != nil {
		l.tenure.cancel()
		l.tenure = nil
	}
}

// close ends all and waits for it.
func (l *lessor) close() {
	l.mu.Lock()
	l.closed = true
	l.end()
	l.mu.Unlock()
	l.wg.Wait()
}

// start sees to it that a goroutine waits for the first deadline, if there is one.
func (l *lessor) start(t *tenure) {
	if t.running {
		select {
		case t.wake <- struct{}{}:
		default:
		}
		return
	}
	if len(t.byID) > 0 && !l.closed {
		t.running = true
		l.wg.Go(func() { l.run(t) })
	}
}

// granted and revoked tell of a change of the state, installed that it names another tenure. Store.mu is
// held.
func (l *lessor) granted(lease *lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.tenure; t != nil {
		t.add(lease)
		l.start(t)
	}
}

func (l *lessor) revoked(id LeaseID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tenure
	if t == nil || t.byID[id] == nil {
		return
	}
	if d := t.byID[id]; d.index >= 0 {
		heap.Remove(&t.due, d.index)
	}
	delete(t.byID, id)
	if len(t.byID) == 0 {
		l.start(t) // to let the goroutine end
	}
}

func (l *lessor) installed(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tenure
	if t == nil {
		return
	}
	if t.installed = t.id == id; !t.installed {
		l.start(t) // an earlier leader's came late: ask again
		return
	}
	// Deadlines that passed meanwhile do not count: nobody could have kept these leases alive.
	now := time.Now()
	for _, d := range t.due {
		if d.inherited {
			d.at = now.Add(d.ttl)
		}
	}
	heap.Init(&t.due)
}

func (t *tenure) add(lease *lease) *deadline {
	d := &deadline{id: lease.id, ttl: lease.ttl, serial: lease.serial, at: time.Now().Add(lease.ttl)}
	t.byID[d.id] = d
	heap.Push(&t.due, d)
	return d
}

// keepAlive renews a lease.
func (l *lessor) keepAlive(id LeaseID) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, err := l.find(id)
	if err != nil {
		return 0, err
	}
	if d.inherited && !l.tenure.installed {
		return 0, fmt.Errorf("%w: this one is not ready to keep lease %d alive", ErrNoLeader, id)
	}
	now := time.Now()
	if !now.Before(d.at) {
		return 0, fmt.Errorf("%w: %d has expired", ErrLeaseNotFound, id)
	}
	d.at = now.Add(d.ttl)
	heap.Fix(&l.tenure.due, d.index)
	return d.ttl, nil
}

// remaining is the time that is left of a lease, 0 when it has expired and is being revoked.
func (l *lessor) remaining(id LeaseID) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, err := l.find(id)
	if err != nil {
		return 0, err
	}
	return max(0, time.Until(d.at)), nil
}

func (l *lessor) find(id LeaseID) (*deadline, error) {
	if l.tenure == nil {
		return nil, ErrNoLeader
	}
	d := l.tenure.byID[id]
	if d == nil {
		return nil, fmt.Errorf("%w: %d", ErrLeaseNotFound, id)
	}
	return d, nil
}

// deadlines is a heap with the next one first.
type deadlines []*deadline

func (h deadlines) Len() int           { return len(h) }
func (h deadlines) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h deadlines) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *deadlines) Push(x any) {
	d := x.(*deadline)
	d.index = len(*h)
	*h = append(*h, d)
}

// Pop implements heap.Interface.
func (h *deadlines) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	d.index = -1
	return d
}
