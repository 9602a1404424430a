package store

import (
	"errors"
	"fmt"
	"time"
)

// treeEvery is after how many revisions of a loaded history there is a tree to read the past from.
const treeEvery = 64

// loader makes a state and its history out of a snapshot's items.
type loader struct {
	machine machine
	oldest  int64
	base    *record
	edit    *treeEdit
	records []*record
	seen    map[LeaseID]*lease

	last    itemKind
	lastKey string
	leases  uint64
	entries uint64
	events  uint64
	ended   bool
}

func newLoader() *loader { return &loader{machine: newMachine(), seen: map[LeaseID]*lease{}} }

var errOrder = errors.New("items out of order")

// items loads the items of a block.
func (l *loader) items(b []byte) error {
	r := wireReader{b: b}
	for len(r.b) > 0 {
		kind := itemKind(r.byte())
		if !l.mayFollow(kind) {
			return errOrder
		}
		if err := l.item(kind, &r); err != nil {
			return err
		}
		if r.bad {
			return errMalformed
		}
		l.last = kind
	}
	return nil
}

func (l *loader) mayFollow(kind itemKind) bool {
	switch kind {
	case itemHeader:
		return l.last == 0
	case itemLease, itemEntry:
		return l.last != 0 && l.last <= kind
	case itemRevision, itemEnd:
		return l.last != 0 && !l.ended
	case itemPut, itemDelete:
		return l.last >= itemRevision && !l.ended
	}
	return false
}

func (l *loader) item(kind itemKind, r *wireReader) error {
	if kind >= itemRevision && l.base == nil {
		l.endBase()
	}
	switch kind {
	case itemHeader:
		return l.header(r)
	case itemLease:
		return l.lease(r)
	case itemEntry:
		return l.entry(r)
	case itemRevision:
		return l.revision()
	case itemPut, itemDelete:
		return l.event(kind, r)
	}
	l.ended = true
	for _, n := range [3]uint64{l.leases, l.entries, l.events} {
		if want := r.uvarint(); want != n && !r.bad {
			return fmt.Errorf("%d items of a kind where there should be %d", n, want)
		}
	}
	return nil
}

func (l *loader) header(r *wireReader) error {
	m := &l.machine
	m.rev, m.compacted = r.varint(), r.varint()
	m.granted, m.tenure = r.uvarint(), r.uvarint()
	l.oldest = r.varint()
	if l.oldest < firstRevision || m.rev < l.oldest || m.compacted < 0 || m.compacted > l.oldest {
		return fmt.Errorf("revision %d, compacted to %d, history from %d", m.rev, m.compacted, l.oldest)
	}
	l.edit = m.tree.edit()
	return nil
}

func (l *loader) lease(r *wireReader) error {
	n := &lease{id: LeaseID(r.varint()), ttl: time.Duration(r.varint()), serial: r.uvarint()}
	if n.id == 0 || n.ttl < minTTL || n.ttl > maxTTL || n.serial == 0 || n.serial > l.machine.granted || l.seen[n.id] != nil {
		return fmt.Errorf("a lease %d for %v, number %d", n.id, n.ttl, n.serial)
	}
	l.seen[n.id] = n
	l.leases++
	return nil
}

func (l *loader) entry(r *wireReader) error {
	e := &Entry{Key: r.string()}
	e.CreateRevision, e.ModRevision, e.Version = r.varint(), r.varint(), r.varint()
	e.Lease = LeaseID(r.varint())
	e.Value = r.bytes()
	if e.Key <= l.lastKey || e.Version < 1 || e.CreateRevision <= firstRevision ||
		e.ModRevision < e.CreateRevision || e.ModRevision > l.oldest {
		return fmt.Errorf("an entry %q, version %d, of revisions %d to %d", e.Key, e.Version, e.CreateRevision, e.ModRevision)
	}
	l.edit.load(e)
	l.lastKey = e.Key
	l.entries++
	return nil
}

// endBase ends the entries of the oldest revision.
func (l *loader) endBase() {
	l.base = &record{rev: l.oldest, tree: l.edit.commit()}
	l.edit = l.base.tree.edit()
}

// revision begins the next revision.
func (l *loader) revision() error {
	n := len(l.records)
	if err := l.endRevision(); err != nil {
		return err
	}
	if n > 0 && n%treeEvery == 0 {
		l.records[n-1].tree = l.edit.commit()
		l.edit = l.records[n-1].tree.edit()
	}
	l.records = append(l.records, &record{rev: l.oldest + int64(n) + 1})
	return nil
}

func (l *loader) endRevision() error {
	n := len(l.records)
	if n == 0 {
		return nil
	}
	r := l.records[n-1]
	if len(r.events) == 0 {
		return fmt.Errorf("revision %d changes nothing", r.rev)
	}
	r.size = sizeOf(r.events)
	return nil
}

// event applies one event of the revision that was begun.
func (l *loader) event(kind itemKind, r *wireReader) error {
	rec := l.records[len(l.records)-1]
	e := &Entry{Key: r.string(), ModRevision: rec.rev}
	prev := l.edit.view().get(e.Key)
	ev := Event{Type: EventDelete, Entry: e, Prev: prev}
	switch {
	case e.Key == "" || (prev != nil && prev.ModRevision == rec.rev):
		return fmt.Errorf("revision %d changes %q twice, or a key without a name", rec.rev, e.Key)
	case kind == itemDelete && prev == nil:
		return fmt.Errorf("revision %d deletes %q, which does not exist", rec.rev, e.Key)
	case kind == itemDelete:
		e.Key = prev.Key
		l.edit.delete(e.Key)
	default:
		ev.Type = EventPut
		e.Lease, e.Value = LeaseID(r.varint()), r.bytes()
		e.CreateRevision, e.Version = rec.rev, 1
		if prev != nil {
			e.Key, e.CreateRevision, e.Version = prev.Key, prev.CreateRevision, prev.Version+1
		}
		l.edit.put(e)
	}
	rec.events = append(rec.events, ev)
	l.events++
	return nil
}

// finish completes the state.
func (l *loader) finish() error {
	if err := l.endRevision(); err != nil {
		return err
	}
	n := len(l.records)
	if l.oldest+int64(n) != l.machine.rev {
		return fmt.Errorf("%d revisions after %d, which should lead to %d", n, l.oldest, l.machine.rev)
	}
	l.machine.tree = l.base.tree
	if n > 0 {
		l.machine.tree = l.edit.commit()
		l.records[n-1].tree = l.machine.tree
	}
	return l.attach()
}

// attach gives the leases their keys, and adds up.
func (l *loader) attach() error {
	var unknown *Entry
	l.machine.tree.view().scan("", toEnd, func(e *Entry) bool {
		l.machine.bytes += int64(e.size())
		if e.Lease == 0 {
			return true
		}
		n := l.seen[e.Lease]
		if n == nil {
			unknown = e
			return false
		}
		n.addKey(e.Key)
		return true
	})
	if unknown != nil {
		return fmt.Errorf("the lease %d of %q does not exist", unknown.Lease, unknown.Key)
	}
	l.machine.leases = leaseTable{}.edit()
	for _, n := range l.seen {
		l.machine.leases.byID.Set(n)
	}
	return nil
}
