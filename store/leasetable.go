package store

import (
	"fmt"
	"time"

	"github.com/tidwall/btree"
)

// How long a lease may be granted for: whole seconds, as etcd's protocol has it, up to etcd's maximum.
const (
	minTTL = time.Second
	maxTTL = 9_000_000_000 * time.Second
)

// lease is a granted lease. It is immutable, as the tables that it is in.
type lease struct {
	id  LeaseID
	ttl time.Duration
	// serial is unique among all leases that there ever were.
	serial uint64
	keys   *btree.BTreeG[string] // nil when there are none
}

// leaseTable holds the leases that were granted and neither revoked nor expired, and the keys of each. It
// is persistent, like the key space: a change makes another table. Whoever changes one holds Store.mu, which
// copying needs. The zero table is empty; an entry without a lease costs nothing here.
type leaseTable struct{ byID *btree.BTreeG[*lease] }

func leaseBefore(a, b *lease) bool { return a.id < b.id }

var leaseTreeOptions = btree.Options{Degree: treeDegree, NoLocks: true}

func (t leaseTable) len() int {
	if t.byID == nil {
		return 0
	}
	return t.byID.Len()
}

// get returns a lease, nil when there is none.
func (t leaseTable) get(id LeaseID) *lease {
	if t.byID == nil {
		return nil
	}
	l, _ := t.byID.Get(&lease{id: id})
	return l
}

// edit returns a copy that may be changed.
func (t leaseTable) edit() leaseTable {
	if t.byID == nil {
		return leaseTable{btree.NewBTreeGOptions(leaseBefore, leaseTreeOptions)}
	}
	return leaseTable{t.byID.Copy()}
}

// with returns the table with a lease, in place of the one with its id.
func (t leaseTable) with(l *lease) leaseTable {
	t = t.edit()
	t.byID.Set(l)
	return t
}

func (t leaseTable) without(id LeaseID) leaseTable {
	t = t.edit()
	t.byID.Delete(&lease{id: id})
	return t
}

// each calls f with all leases in the order of their ids until f returns false.
func (t leaseTable) each(f func(*lease) bool) {
	if t.byID != nil {
		t.byID.Scan(f)
	}
}

// attach adds a key to a lease of the table.
func (t leaseTable) attach(id LeaseID, key string) leaseTable {
	l := *t.get(id)
	if l.keys != nil {
		l.keys = l.keys.Copy()
	}
	l.addKey(key)
	return t.with(&l)
}

// addKey adds a key to a lease that nobody else has yet.
func (l *lease) addKey(key string) {
	if l.keys == nil {
		l.keys = btree.NewBTreeGOptions(func(a, b string) bool { return a < b }, leaseTreeOptions)
	}
	l.keys.Set(key)
}

// detach takes a key away from a lease, if that is still there.
func (t leaseTable) detach(id LeaseID, key string) leaseTable {
	old := t.get(id)
	if old == nil {
		return t
	}
	l := *old
	l.keys = l.keys.Copy()
	if l.keys.Delete(key); l.keys.Len() == 0 {
		l.keys = nil
	}
	return t.with(&l)
}

// eachKey calls f with the keys of a lease in order until f returns false.
func (l *lease) eachKey(f func(key string) bool) {
	if l.keys != nil {
		l.keys.Scan(f)
	}
}

// grant makes a lease.
func (w *writer) grant(id LeaseID, ttl time.Duration) error {
	if w.leases.get(id) != nil {
		return fmt.Errorf("%w: %d", ErrLeaseExists, id)
	}
	w.m.granted++
	w.leases = w.leases.with(&lease{id: id, ttl: ttl, serial: w.m.granted})
	return nil
}

// revoke ends a lease and deletes its keys in one revision.
func (w *writer) revoke(id LeaseID) error {
	l := w.leases.get(id)
	if l == nil {
		return fmt.Errorf("%w: %d", ErrLeaseNotFound, id)
	}
	w.leases = w.leases.without(id)
	run := branch{writer: w, rev: w.rev + 1}
	l.eachKey(func(key string) bool {
		run.delete(run.view().get(key))
		return true
	})
	w.finish(&run)
	return nil
}

// mayExpire tells whether a lease that a lessor found expired is to be revoked. Requests to do so may come
// late, after another lessor took over and the lease was kept alive there, or after the id was granted anew.
func (w *writer) mayExpire(q *request) error {
	l := w.leases.get(q.id)
	if l == nil || l.serial != q.serial || w.m.tenure != q.tenure {
		return fmt.Errorf("%w: %d", ErrLeaseNotFound, q.id)
	}
	return nil
}

// roundTTL is a time to live as it is granted.
func roundTTL(ttl time.Duration) time.Duration {
	return max(minTTL, (ttl+time.Second-1)/time.Second*time.Second)
}
