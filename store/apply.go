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
		err = w.grant(q.id, q.ttl)
	case requestRevoke:
		err = w.revoke(q.id)
	case requestExpire:
		err = w.expire(q)
	case requestTenure:
		w.m.tenure = q.tenure
	}
	return TxnResult{Revision: w.rev}, err
}
