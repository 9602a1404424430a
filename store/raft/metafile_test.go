package raft

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/types"

	"github.com/inboard/inboard/store"
)

// A log of a version that noted everything in the log's directory is read, and goes on in the new way.
func TestTakeOver(t *testing.T) {
	dir := t.TempDir()
	log := openLog(t, dir)
	appendLogs(t, log, 1, 5)
	if err := log.SetUint64([]byte("CurrentTerm"), 7); err != nil {
		t.Fatal(err)
	}
	if err := log.Set([]byte("LastVoteCand"), []byte("a")); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, metaName)
	m := metaFile{path: path}
	if err := m.read(dir); err != nil {
		t.Fatal(err)
	}
	var bolt metadb.BoltMetaDB
	if _, err := bolt.Load(dir); err != nil {
		t.Fatal(err)
	}
	if err := bolt.CommitState(m.state.PersistentState); err != nil {
		t.Fatal(err)
	}
	for key, value := range m.state.Stable {
		if err := bolt.SetStable([]byte(key), value); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(bolt.Close(), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		log = openLog(t, dir)
		var entry raft.Log
		if err := log.GetLog(5, &entry); err != nil || entry.Index != 5 {
			t.Errorf("entry 5: %+v, %v", entry, err)
		}
		term, err := log.GetUint64([]byte("CurrentTerm"))
		voted, err2 := log.Get([]byte("LastVoteCand"))
		if term != 7 || string(voted) != "a" || err != nil || err2 != nil {
			t.Errorf("term %d, %v; voted for %q, %v", term, err, voted, err2)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, metadb.FileName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old file is still there: %v", err)
	}
}

// Each byte of the file counts, and so does its length.
func TestMetaDamaged(t *testing.T) {
	state := metaState{
		PersistentState: types.PersistentState{NextSegmentID: 3, Segments: []types.SegmentInfo{{ID: 2, BaseIndex: 9, MinIndex: 10, SizeLimit: 64}}},
		Stable:          map[string][]byte{"CurrentTerm": {0, 1}}, Last: 12, Installing: 11,
	}
	whole, err := encodeMeta(state)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeMeta(whole); err != nil || !reflect.DeepEqual(got, state) {
		t.Errorf("got %+v, %v", got, err)
	}
	path := filepath.Join(t.TempDir(), metaName)
	damaged := func(b []byte, what string, at int) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		m := metaFile{path: path}
		if err := m.read(t.TempDir()); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s at %d: %v", what, at, err)
		}
	}
	for at := range whole {
		damaged(whole[:at], "cut off", at)
		flipped := bytes.Clone(whole)
		flipped[at] ^= 1
		damaged(flipped, "flipped", at)
	}
}

func FuzzDecodeMeta(f *testing.F) {
	whole, err := encodeMeta(metaState{Stable: map[string][]byte{"a": nil}, Last: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte("crc32c 00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeMeta(b)
		if err != nil {
			return
		}
		again, err := encodeMeta(s)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeMeta(again); err != nil || !reflect.DeepEqual(back, s) {
			t.Fatalf("%+v became %+v, %v", s, back, err)
		}
	})
}
