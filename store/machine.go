package store

// firstRevision is the revision of an empty store, as in etcd: 0 stays free to mean "none".
const firstRevision = 1

// machine is the replicated state machine. Applying the same commands in the same order gives the same
// state everywhere: it reads no clock, no randomness and no configuration.
type machine struct {
	tree tree
	rev  int64
	// compacted is the highest revision that was compacted away by command.
	compacted int64
}

func newMachine() machine { return machine{tree: newTree(), rev: firstRevision} }

// record is one revision: what it changed and, when it is the last one of a command, the key space
// after it. The others' key space can be made of a later one: see history.treeAt.
type record struct {
	rev    int64
	events []Event
	tree   tree
	size   int
	// rebuilt is the key space after a revision in the middle of a command, while somebody reads it;
	// guarded by history.mu.
	rebuilt tree
}

// writer runs the transactions of one command, all in one edit of the tree: each sees what those before
// it did, and nobody else sees anything before commit.
type writer struct {
	m       *machine
	rev     int64
	edit    *treeEdit // made by the first change
	records []*record
}

func (m *machine) begin() writer { return writer{m: m, rev: m.rev} }

// commit makes the writer's state the machine's. It returns a record for each revision, in order.
func (w *writer) commit() []*record {
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
	ops := t.Then
	ok := w.evaluate(t.If)
	if !ok {
		ops = t.Else
	}
	run := branch{writer: w, rev: w.rev + 1}
	res := TxnResult{Succeeded: ok, Results: make([]OpResult, len(ops))}
	for i := range ops {
		run.do(&ops[i], &res.Results[i])
	}
	if len(run.events) > 0 {
		w.rev = run.rev
		w.records = append(w.records, &record{rev: run.rev, events: run.events, size: sizeOf(run.events)})
	}
	res.Revision = w.rev
	return res, nil
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

// evaluate tells whether all conditions hold.
func (w *writer) evaluate(conditions []Compare) bool {
	for i := range conditions {
		if !conditions[i].holds(w.view().get(conditions[i].Key)) {
			return false
		}
	}
	return true
}

// branch is the running branch of one transaction.
type branch struct {
	*writer
	rev    int64 // of its changes
	events []Event
}

func (b *branch) do(op *Op, res *OpResult) {
	switch op.Type {
	case TypeGet:
		res.Entries, res.Count = b.view().collect(op.Key, op.End, op.Limit)
	case TypePut:
		b.put(op, res)
	case TypeDelete:
		b.delete(op, res)
	}
}

func (b *branch) put(op *Op, res *OpResult) {
	prev := b.view().get(op.Key)
	e := &Entry{
		Key: op.Key, Value: op.Value, Lease: op.Lease,
		CreateRevision: b.rev, ModRevision: b.rev, Version: 1,
	}
	if prev != nil {
		// The old key string is kept, so that all revisions of a key share one.
		e.Key, e.CreateRevision, e.Version = prev.Key, prev.CreateRevision, prev.Version+1
		res.Prev, res.Count = []*Entry{prev}, 1
	}
	if op.Decoded != nil {
		e.presetDecoded(op.Decoded)
	}
	b.write().put(e)
	b.events = append(b.events, Event{Type: EventPut, Entry: e, Prev: prev})
	res.Entries = []*Entry{e}
}

func (b *branch) delete(op *Op, res *OpResult) {
	res.Prev, res.Count = b.view().collect(op.Key, op.End, 0)
	for _, prev := range res.Prev {
		b.write().delete(prev.Key)
		gone := &Entry{Key: prev.Key, ModRevision: b.rev}
		b.events = append(b.events, Event{Type: EventDelete, Entry: gone, Prev: prev})
	}
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
