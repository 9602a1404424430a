package store

import "fmt"

// decide finds, before anything is changed, whether the transaction's conditions hold, and notes the same
// of all nested ones that are going to run. The error tells why an operation cannot be done.
func (w *writer) decide(t *Txn) (succeeded bool, err error) {
	succeeded = true
	for i := range t.If {
		if !t.If[i].holds(w.view()) {
			succeeded = false
			break
		}
	}
	ops := t.branch(succeeded)
	for i := range ops {
		switch op := &ops[i]; op.Type {
		case TypeTxn:
			at := len(w.path)
			w.path = append(w.path, false)
			nested, err := w.decide(op.Txn)
			if err != nil {
				return succeeded, err
			}
			w.path[at] = nested
		case TypePut:
			if err := w.checkPut(op); err != nil {
				return succeeded, err
			}
		}
	}
	return succeeded, nil
}

// checkPut tells why a put cannot be done. No other operation of the transaction changes the same key,
// so the state before all of them is the one to ask.
func (w *writer) checkPut(op *Op) error {
	if op.Lease != 0 && w.leases.get(op.Lease) == nil {
		return fmt.Errorf("%w: lease %d, which a put of %q names", ErrLeaseNotFound, op.Lease, op.Key)
	}
	if (op.KeepValue || op.KeepLease) && w.view().get(op.Key) == nil {
		return fmt.Errorf("%w: %q, of which a put keeps something", ErrKeyNotFound, op.Key)
	}
	return nil
}

// branch is the running branch of one transaction, with all that is nested in it.
type branch struct {
	*writer
	rev    int64  // of its changes
	path   []bool // the writer's, from the next nested transaction on
	events []Event
}

// txn runs a transaction that was decided.
func (b *branch) txn(t *Txn, succeeded bool) TxnResult {
	ops := t.branch(succeeded)
	res := TxnResult{Succeeded: succeeded, Results: make([]OpResult, len(ops))}
	for i := range ops {
		b.do(&ops[i], &res.Results[i])
	}
	return res
}

func (b *branch) do(op *Op, res *OpResult) {
	switch op.Type {
	case TypeGet:
		res.Entries, res.Count = b.view().collect(op.Key, op.End, op.Limit)
	case TypePut:
		b.put(op, res)
	case TypeDelete:
		res.Prev, res.Count = b.view().collect(op.Key, op.End, 0)
		for _, prev := range res.Prev {
			b.delete(prev)
		}
	case TypeTxn:
		succeeded := b.path[0]
		b.path = b.path[1:]
		nested := b.txn(op.Txn, succeeded)
		res.Txn = &nested
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
		b.bytes -= int64(prev.size())
		if op.KeepValue {
			e.Value = prev.Value
		}
		if op.KeepLease {
			e.Lease = prev.Lease
		}
	}
	if op.Decoded != nil {
		e.presetDecoded(op.Decoded)
	}
	b.attach(e, prev)
	b.bytes += int64(e.size())
	b.write().put(e)
	b.events = append(b.events, Event{Type: EventPut, Entry: e, Prev: prev})
	res.Entries = []*Entry{e}
}

func (b *branch) delete(prev *Entry) {
	if prev.Lease != 0 {
		b.leases = b.leases.detach(prev.Lease, prev.Key)
	}
	b.bytes -= int64(prev.size())
	b.write().delete(prev.Key)
	gone := &Entry{Key: prev.Key, ModRevision: b.rev}
	b.events = append(b.events, Event{Type: EventDelete, Entry: gone, Prev: prev})
}

// attach moves a key from the lease that it had to the one that it gets.
func (b *branch) attach(e, prev *Entry) {
	if prev != nil {
		if prev.Lease == e.Lease {
			return
		}
		if prev.Lease != 0 {
			b.leases = b.leases.detach(prev.Lease, prev.Key)
		}
	}
	if e.Lease != 0 {
		b.leases = b.leases.attach(e.Lease, e.Key)
	}
}

// setRevision sets the revision of a result and, when it has such, of all nested ones.
func (r *TxnResult) setRevision(rev int64, nests bool) {
	r.Revision = rev
	for i := 0; nests && i < len(r.Results); i++ {
		if nested := r.Results[i].Txn; nested != nil {
			nested.setRevision(rev, true)
		}
	}
}
