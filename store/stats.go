package store

// slowWatcher is how many revisions a watcher may be behind before it counts as slow.
const slowWatcher = 1000

// Stats returns the store's figures of the moment. It looks at every watcher.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	m := s.machine
	s.mu.Unlock()
	st := Stats{Revision: m.rev, Keys: m.tree.len(), Leases: m.leases.len(), Bytes: m.bytes}
	st.OldestRevision, st.HistoryBytes = s.history.size()
	s.watchers.each(func(w *Watcher) {
		st.Watchers++
		if first, _ := w.pending(); first != 0 && m.rev-first >= slowWatcher {
			st.SlowWatchers++
		}
	})
	return st
}

// size is the oldest revision and about how much memory those after it take.
func (h *history) size() (oldest, bytes int64) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.base.rev, int64(h.bytes)
}
