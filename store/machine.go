package store

import (
	"sync/atomic"
	"time"
)

// firstRevision is the revision of an empty store, as in etcd: 0 stays free to mean "none".
const firstRevision = 1

// machine is the replicated state machine. Applying the same commands in the same order gives the same
// state everywhere: it reads no clock, no randomness and no configuration.
type machine struct {
	tree tree
	rev  int64
	// compacted is the highest revision that was compacted away by command.
	compacted int64
	// bytes is the size of all keys and values.
	bytes  int64
	leases leaseTable
	// granted is how many leases there ever were.
	granted uint64
	// tenure names the lessor whose word counts that a lease expired; see lessor.
	tenure uint64
}

func newMachine() machine { return machine{tree: newTree(), rev: firstRevision} }

// record is one revision: what it changed and, when it is the last one of a command, the key space
// after it. The others' key space can be made of a later one: see history.treeAt.
type record struct {
	rev    int64
	events []Event
	tree   tree
	size   int
	at     time.Duration // when it was appended to the history, by aging's clock
	// bare is for withoutPrev.
	bare atomic.Pointer[[]Event]
	// rebuilt is the key space after a revision in the middle of a command, while somebody reads it;
	// guarded by history.mu.
	rebuilt tree
}

// writer runs the transactions of one command, all in one edit of the tree: each sees what those before
// it did, and nobody else sees anything before commit.
type writer struct {
	m       *machine
	rev     int64
	bytes   int64
	leases  leaseTable
	edit    *treeEdit // made by the first change
	records []*record
	// path tells of each nested transaction that is going to run, in order, whether its conditions hold.
	path []bool
}

func (m *machine) begin() writer { return writer{m: m, rev: m.rev, bytes: m.bytes, leases: m.leases} }

// commit makes the writer's state the machine's. It returns a record for each revision, in order.
func (w *writer) commit() []*record {
	w.m.bytes, w.m.leases = w.bytes, w.leases
	if w.edit == nil {
		return nil
	}
	w.m.rev, w.m.tree = w.rev, w.edit.commit()
	w.records[len(w.records)-1].tree = w.m.tree
	return w.records
}

// apply runs a valid transaction. An error means that it cannot be done in this state; it has changed
// nothing then, and the command's other transactions are not concerned.
func (w *writer) apply(t *Txn) (TxnResult, error) {
	w.path = w.path[:0]
	succeeded, err := w.decide(t)
	if err != nil {
		return TxnResult{}, err
	}
	run := branch{writer: w, rev: w.rev + 1, path: w.path}
	res := run.txn(t, succeeded)
	w.finish(&run)
	res.setRevision(w.rev, len(w.path) > 0)
	return res, nil
}

// finish makes what a branch changed the next revision, if it changed something.
func (w *writer) finish(run *branch) {
	if len(run.events) == 0 {
		return
	}
	w.rev = run.rev
	w.records = append(w.records, &record{rev: run.rev, events: run.events, size: sizeOf(run.events)})
}

// view is the key space after what was applied so far.
func (w *writer) view() view {
	if w.edit != nil {
		return w.edit.view()
	}
	return w.m.tree.view()
}

func (w *writer) write() *treeEdit {
	if w.edit == nil {
		w.edit = w.m.tree.edit()
	}
	return w.edit
}

// What history costs beside keys and values, by BenchmarkHistory's measure: a revision with one change, alone
// in its command, takes 1.7 KB, for the copied nodes of the tree, the entry and the event.
const (
	revisionCost = 704
	eventCost    = 1024
)

func sizeOf(events []Event) int {
	n := revisionCost
	for i := range events {
		n += eventCost + events[i].Entry.size()
	}
	return n
}
