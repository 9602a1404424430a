package store

import "time"

// Events are functions that a store calls when something happens; nil ones are not called. They must
// return quickly, must not call the store, and may be called from several goroutines at once.
type Events struct {
	// Applied is told of each command of the log that was applied: how many transactions and other requests
	// it held, the store's revision after it, and how long applying took.
	Applied func(txns int, revision int64, took time.Duration)
	// Proposed is told of each command that this replica proposed: its size in bytes, the requests in
	// it, how long it was on its way, and its outcome.
	Proposed func(txns, bytes int, took time.Duration, err error)
	// Compacted is told the oldest revision that can be read after a compaction by command.
	Compacted func(oldest int64)
	// WatcherCutOff is told of a watcher that was too slow: the history that it still needed is gone.
	WatcherCutOff func(key, end string)
	// LeaseExpired is told of a lease that this replica, the leader, found expired and revokes.
	LeaseExpired func(id LeaseID)
}

// Stats are a store's figures of the moment.
type Stats struct {
	Revision, OldestRevision int64
	Keys, Leases             int
	// Bytes is about how much the keys and values have, HistoryBytes about how much the kept past takes.
	Bytes, HistoryBytes int64
	Watchers            int
	// SlowWatchers are those with changes of interest that they have not looked at for the last 1,000
	// revisions or more.
	SlowWatchers int
}
