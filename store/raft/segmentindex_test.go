package raft

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/segment"
)

// takenBack is a log whose entries at the end were taken back, as a follower does when its leader has others, and
// which was closed then. The file that they were in is full by decree, and has no index.
func takenBack(t *testing.T) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	log := openLog(t, dir)
	appendLogs(t, log, 1, 5)
	appendLogs(t, log, 6, 5)
	if err := log.DeleteRange(8, 10); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	m := metaFile{path: filepath.Join(dir, metaName)}
	if err := m.read(dir); err != nil {
		t.Fatal(err)
	}
	first := m.state.Segments[0]
	if first.SealTime.IsZero() || first.IndexStart != 0 || first.MaxIndex != 7 {
		t.Fatalf("raft-wal notes %+v; is it mended there?", first)
	}
	return dir, filepath.Join(dir, segment.FileName(first))
}

// readsBack opens the log, reads what is left, writes on, and does so once more.
func readsBack(t *testing.T, dir string) {
	t.Helper()
	for last := uint64(7); last < 17; last += 5 {
		log := openLog(t, dir)
		if got, err := log.LastIndex(); err != nil || got != last {
			t.Fatalf("the last entry is %d, %v, not %d", got, err, last)
		}
		for i := uint64(1); i <= last; i++ {
			var entry raft.Log
			if err := log.GetLog(i, &entry); err != nil || entry.Index != i {
				t.Errorf("entry %d: %+v, %v", i, entry, err)
			}
		}
		appendLogs(t, log, int(last)+1, 5)
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEntriesTakenBack(t *testing.T) {
	dir, _ := takenBack(t)
	readsBack(t, dir)
}

// A process may end anywhere while it writes the index, or before it has noted it.
func TestEntriesTakenBackTorn(t *testing.T) {
	dir, file := takenBack(t)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	start, err := indexSegment(file, 7)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	end := len(bytes.TrimRight(after, "\x00"))
	for at := start - frameHeader; at <= end; at += 3 {
		copied := t.TempDir()
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		torn := append(bytes.Clone(after[:at]), before[at:]...)
		if err := os.WriteFile(filepath.Join(copied, filepath.Base(file)), torn, 0o600); err != nil {
			t.Fatal(err)
		}
		readsBack(t, copied)
	}
	if again, err := indexSegment(file, 7); err != nil || again != start {
		t.Errorf("the index is at %d, and when asked again at %d, %v", start, again, err)
	}
}

// A file that has lost entries gets no index: the error is there before anything is written.
func TestEntriesTakenBackLost(t *testing.T) {
	_, file := takenBack(t)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tail, err := readBatchEnd(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[tail:])
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := indexSegment(file, 7); !errors.Is(err, errLostEnd) {
		t.Errorf("indexSegment: %v", err)
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, b) {
		t.Errorf("the file was changed, %v", err)
	}
}

// readBatchEnd is where the first batch ends.
func readBatchEnd(b []byte) (int, error) {
	tail, ok := readBatch(b, 0)
	if !ok {
		return 0, errors.New("no whole batch")
	}
	return tail.end, nil
}
