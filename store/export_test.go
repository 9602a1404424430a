package store

// Proposed tells how many commands were given to the log.
func (s *Store) Proposed() uint64 {
	s.proposals.mu.Lock()
	defer s.proposals.mu.Unlock()
	return s.proposals.number
}

// Queued tells how many callers wait for the next command.
func (s *Store) Queued() int {
	s.proposals.mu.Lock()
	defer s.proposals.mu.Unlock()
	return len(s.proposals.queue)
}
