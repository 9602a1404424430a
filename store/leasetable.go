package store

import (
	"encoding/binary"
	"fmt"
	"time"

	iradix "github.com/hashicorp/go-immutable-radix"
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
	keys   *iradix.Tree // without values; nil when there are none
}

// leaseTable holds the leases that were granted and neither revoked nor expired, and the keys of each. It
// is persistent, like the key space. The zero table is empty; an entry without a lease costs nothing here.
type leaseTable struct{ byID *iradix.Tree }

// leaseKey orders ids as numbers.
func leaseKey(id LeaseID) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(id)^(1<<63))
}

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
	l, ok := t.byID.Get(leaseKey(id))
	if !ok {
		return nil
	}
	return l.(*lease)
}

// with returns the table with a lease, in place of the one with its id.
func (t leaseTable) with(l *lease) leaseTable {
	byID := t.byID
	if byID == nil {
		byID = iradix.New()
	}
	byID, _, _ = byID.Insert(leaseKey(l.id), l)
	return leaseTable{byID}
}

func (t leaseTable) without(id LeaseID) leaseTable {
	byID, _, _ := t.byID.Delete(leaseKey(id))
	return leaseTable{byID}
}

// each calls f with all leases in the order of their ids until f returns false.
func (t leaseTable) each(f func(*lease) bool) {
	if t.byID == nil {
		return
	}
	t.byID.Root().Walk(func(_ []byte, v any) bool { return !f(v.(*lease)) })
}

// attach adds a key to a lease of the table.
func (t leaseTable) attach(id LeaseID, key string) leaseTable {
	l := *t.get(id)
	l.addKey(key)
	return t.with(&l)
}

// addKey adds a key to a lease that is not in a table yet.
func (l *lease) addKey(key string) {
	if l.keys == nil {
		l.keys = iradix.New()
	}
	l.keys, _, _ = l.keys.Insert(keyBytes(key), nil)
}

// detach takes a key away from a lease, if that is still there.
func (t leaseTable) detach(id LeaseID, key string) leaseTable {
	old := t.get(id)
	if old == nil {
		return t
	}
	l := *old
	if l.keys, _, _ = l.keys.Delete(keyBytes(key)); l.keys.Len() == 0 {
		l.keys = nil
	}
	return t.with(&l)
}

// eachKey calls f with the keys of a lease in order until f returns false.
func (l *lease) eachKey(f func(key string) bool) {
	if l.keys != nil {
		l.keys.Root().Walk(func(key []byte, _ any) bool { return !f(stringOf(key)) })
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
