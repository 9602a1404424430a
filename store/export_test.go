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

// CommandRequests tells how many requests a command has, -1 when it is none.
func CommandRequests(command []byte) int {
	c, err := decodeCommand(command)
	if err != nil {
		return -1
	}
	return len(c.requests)
}
