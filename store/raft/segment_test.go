package raft

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// openLog opens a log without raft.
func openLog(t *testing.T, dir string) *wal.WAL {
	t.Helper()
	meta := logMeta{metaFile: metaFile{path: filepath.Join(dir, metaName)}}
	log, err := wal.Open(dir, wal.WithMetaStore(&meta), wal.WithSegmentSize(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = log.Close()
		_ = meta.Close()
	})
	return log
}

func appendLogs(t *testing.T, log *wal.WAL, from, n int) {
	t.Helper()
	var logs []*raft.Log
	for i := range n {
		logs = append(logs, &raft.Log{Index: uint64(from + i), Term: 1, Data: bytes.Repeat([]byte{byte(from)}, 1000)})
	}
	if err := log.StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
}

// A crash can cut the last write off anywhere, also the one that fills a file up. What was acknowledged
// before is there afterwards, and the log goes on.
func TestTornWrite(t *testing.T) {
	for _, batches := range []int{1, 5, 12, 13} { // the thirteenth fills the file up
		dir := t.TempDir()
		log := openLog(t, dir)
		var meta []byte
		for i := range batches {
			var err error // as it is before the log notes that a file is full
			if meta, err = os.ReadFile(filepath.Join(dir, metaName)); err != nil {
				t.Fatal(err)
			}
			appendLogs(t, log, 1+5*i, 5)
		}
		files, _ := filepath.Glob(filepath.Join(dir, "*.wal"))
		before, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		whole, err := readSegment(before)
		if err != nil || whole.entries != 5*batches || (whole.indexStart != 0) != (batches == 13) {
			t.Fatalf("%d batches: %+v, %v", batches, whole, err)
		}
		for range 20 {
			torn := bytes.Clone(before)
			start := max(whole.end-5100, segmentHeader) // within the last batch
			clear(torn[start+rand.IntN(whole.end-start):])
			tornIs(t, meta, filepath.Base(files[0]), torn, 5*(batches-1))
		}
		tornIs(t, meta, filepath.Base(files[0]), before, 5*batches)
	}
}

// tornIs opens the log with another file in it and expects at least some entries.
func tornIs(t *testing.T, meta []byte, name string, file []byte, entries int) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, metaName), meta, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), file, 0o600); err != nil {
		t.Fatal(err)
	}
	log := openLog(t, dir)
	last, err := log.LastIndex()
	if err != nil || last < uint64(entries) || last > uint64(entries+5) {
		t.Fatalf("last entry %d, %v; want %d", last, err, entries)
	}
	appendLogs(t, log, int(last)+1, 3)
	appendLogs(t, log, int(last)+4, 80)
	for i := uint64(1); i <= last+83; i++ {
		var entry raft.Log
		if err := log.GetLog(i, &entry); err != nil || entry.Index != i {
			t.Fatalf("entry %d: %+v, %v", i, entry, err)
		}
	}
}

func FuzzReadSegment(f *testing.F) {
	f.Add([]byte{})
	f.Add(append(make([]byte, 32), frameEntry, 0, 0, 0, 0xff, 0xff, 0xff, 0xff))
	f.Fuzz(func(t *testing.T, b []byte) {
		if tail, err := readSegment(b); tail.end > len(b) {
			t.Fatal(tail, err)
		}
	})
}

// A file that begins with something else was not cut off by a crash: nothing is cleared in it.
func TestOverwrittenBeginning(t *testing.T) {
	dir := t.TempDir()
	log := openLog(t, dir)
	appendLogs(t, log, 1, 5)
	files, _ := filepath.Glob(filepath.Join(dir, "*.wal"))
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	whole, err := readSegment(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b[:whole.end] {
		b[i] ^= 0x5a
	}
	path := filepath.Join(t.TempDir(), "copy.wal")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := repairSegment(path, segmentWant{}); !errors.Is(err, errNoHeader) {
		t.Errorf("repairSegment: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, b) {
		t.Errorf("the file was changed, %v", err)
	}
}
