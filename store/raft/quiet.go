package raft

import (
	"log/slog"
	"sync"
	"time"
)

// quietEvery is how often the same warning is given, at most.
const quietEvery = time.Second

// quiet gives a warning that strangers can cause, no more than once in a while, with how often it was not given.
type quiet struct {
	mu      sync.Mutex
	last    time.Time
	skipped int
}

func (q *quiet) warn(logger *slog.Logger, text string, args ...any) {
	q.mu.Lock()
	if !q.last.IsZero() && time.Since(q.last) < quietEvery {
		q.skipped++
		q.mu.Unlock()
		return
	}
	skipped := q.skipped
	q.last, q.skipped = time.Now(), 0
	q.mu.Unlock()
	if skipped > 0 {
		args = append(args, "more", skipped)
	}
	logger.Warn(text, args...)
}
