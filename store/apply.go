package store

import "context"

// change applies a request, by way of the log if there is one.
func (s *Store) change(ctx context.Context, q request) (TxnResult, error) {
	if s.proposals != nil {
		p := &proposal{request: q}
		if err := s.proposals.propose(ctx, p); err != nil {
			return TxnResult{}, err
		}
		return p.res, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.machine.begin()
	res, err := s.apply(&w, &q)
	s.publish(w.commit())
	return res, err
}

// changeAll applies requests together, in their order, and waits until they are, or failed, or ctx ends.
func (s *Store) changeAll(ctx context.Context, list []request) []Outcome {
	out := make([]Outcome, len(list))
	if s.proposals == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		w := s.machine.begin()
		for i := range list {
			out[i].TxnResult, out[i].Err = s.apply(&w, &list[i])
		}
		s.publish(w.commit())
		return out
	}
	all := make([]*proposal, len(list))
	for i := range list {
		all[i] = &proposal{request: list[i]}
	}
	err := s.proposals.enqueue(all...)
	for i, p := range all {
		if out[i].Err = err; err == nil {
			if out[i].Err = s.proposals.await(ctx, p); out[i].Err == nil {
				out[i].TxnResult = p.res
			}
		}
	}
	return out
}

// apply applies one request of a command; s.mu is held. An error means that the request changed nothing.
func (s *Store) apply(w *writer, q *request) (TxnResult, error) {
	var err error
	switch q.kind {
	case requestTxn:
		return w.apply(q.txn)
	case requestCompact:
		// What the command's requests before it did is history by then.
		s.publish(w.commit())
		err = s.applyCompact(q.rev)
		*w = s.machine.begin()
	case requestGrant:
		if err = w.grant(q.id, q.ttl); err == nil {
			s.lessor.granted(w.leases.get(q.id))
		}
	case requestRevoke, requestExpire:
		if q.kind == requestExpire {
			err = w.mayExpire(q)
		}
		if err == nil {
			err = w.revoke(q.id)
		}
		if err == nil {
			s.lessor.revoked(q.id)
		}
	case requestTenure:
		w.m.tenure = q.tenure
		s.lessor.installed(q.tenure)
	}
	return TxnResult{Revision: w.rev}, err
}
