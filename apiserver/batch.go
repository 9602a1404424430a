package apiserver

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

var _ client.Batcher = (*inProcess)(nil)

// Batch implements client.Batcher. The writes are prepared one after the other, stored together, and those that
// somebody else came in between of are done again, each by itself.
func (c *inProcess) Batch(ctx context.Context, series [][]client.Write) []error {
	errs := make([]error, len(series))
	rest := make([]int, len(series)) // where in each series to go on
	b := newBatch()
	for i, writes := range series {
		rest[i], errs[i] = c.prepare(ctx, b, i, writes)
	}
	outcomes := c.server.store.Txns(ctx, b.txns)
	for at := len(outcomes) - 1; at >= 0; at-- { // what came first has the last word
		part, out := b.parts[at], outcomes[at]
		switch {
		case out.Err != nil:
			rest[part.series], errs[part.series] = len(series[part.series]), storeError(out.Err, 0)
		case !out.Succeeded:
			rest[part.series], errs[part.series] = part.step, nil
		}
	}
	for i, writes := range series {
		for _, w := range writes[rest[i]:] {
			if errs[i] != nil {
				break
			}
			errs[i] = c.write(ctx, nil, w)
		}
	}
	return errs
}

// prepare adds the first writes of a series to a batch, as far as they are about one object, and returns how many.
func (c *inProcess) prepare(ctx context.Context, b *batch, series int, writes []client.Write) (int, error) {
	for i, w := range writes {
		if i > 0 && !sameObject(w.Ref, writes[0].Ref) {
			return i, nil
		}
		b.next = batchPart{series, i}
		if err := c.write(ctx, b, w); err != nil {
			return i, err
		}
	}
	return len(writes), nil
}

func sameObject(a, b client.Ref) bool {
	a.Subresource, b.Subresource = "", ""
	return a == b && a.Name != ""
}

// write carries out one write, or adds it to a batch.
func (c *inProcess) write(ctx context.Context, b *batch, w client.Write) error {
	verb := verbDelete
	switch {
	case w.Create != nil:
		verb = verbCreate
	case w.Update != nil:
		verb = verbUpdate
	case w.Delete == nil:
		return badRequest("the write of %s says nothing to do", w.Ref)
	}
	rq, err := c.server.begin(ctx, c.user, verb, w.Ref)
	if err != nil {
		return err
	}
	rq.batch = b
	switch verb {
	case verbCreate:
		_, _, err = c.create(ctx, rq, w.Create, &metav1.CreateOptions{})
	case verbUpdate:
		_, err = c.update(ctx, rq, w.Update, &metav1.UpdateOptions{})
	default:
		opts := *w.Delete
		_, err = c.server.delete(ctx, rq, &opts)
	}
	return err
}

// batch collects the transactions of several requests. Requests that are about an object that is in it already
// see the state that they will meet.
type batch struct {
	txns  []store.Txn
	parts []batchPart
	// next is what is being prepared.
	next    batchPart
	pending map[string]*pendingChange
}

func newBatch() *batch { return &batch{pending: map[string]*pendingChange{}} }

// batchPart names the write that a transaction is for.
type batchPart struct{ series, step int }

// pendingChange is what will have become of an object; state nil means that it will be gone.
type pendingChange struct{ found }

// add takes in a request's transaction, of which the first condition and the first operation are about the
// request's object.
func (b *batch) add(key string, txn store.Txn, obj client.Object) found {
	before := b.pending[key]
	now := &pendingChange{}
	if op := txn.Then[0]; op.Type == store.TypePut {
		e := &store.Entry{Key: key, Value: op.Value}
		now.found = found{state: e, at: e, obj: obj}
	}
	if before != nil && before.state != nil && txn.If[0].Target == store.TargetModRevision {
		// Its revision is not known yet.
		txn.If[0] = store.Compare{Key: key, Target: store.TargetValue, Value: before.state.Value}
	}
	b.pending[key] = now
	b.txns, b.parts = append(b.txns, txn), append(b.parts, b.next)
	return found{obj: obj}
}
