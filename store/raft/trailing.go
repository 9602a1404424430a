package raft

import "sync"

// trailing knows the sizes of the newest entries, so that those that stay in the log behind a snapshot are bounded
// by bytes as well.
type trailing struct {
	mu    sync.Mutex
	sizes [trailingLogsCluster]int
	next  int
}

func (t *trailing) add(size int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sizes[t.next] = size
	t.next = (t.next + 1) % len(t.sizes)
}

// within is how many of the newest entries have no more than so many bytes in all: at most most, and one at least,
// since an empty log is one that lost something.
func (t *trailing) within(bytes int64, most int) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := range min(most, len(t.sizes)) {
		bytes -= int64(t.sizes[(t.next-1-n+2*len(t.sizes))%len(t.sizes)])
		if bytes < 0 {
			return uint64(max(n, 1))
		}
	}
	return uint64(most)
}

// boundLog has raft keep no more of the log behind the next snapshot than may be in it before one.
func (n *Node) boundLog() {
	most := trailingLogsCluster
	if n.alone() {
		most = trailingLogs
	}
	rc := n.raft.ReloadableConfig()
	rc.TrailingLogs = n.fsm.trailing.within(n.cfg.SnapshotBytes, most)
	if err := n.raft.ReloadConfig(rc); err != nil {
		n.cfg.Logger.Warn("the log cannot be bounded", "error", err)
	}
}
