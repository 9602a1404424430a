package store

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// Every kept revision can be read, in any order, whether it is the last one of its command or not.
func TestPastOfCommands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine()
		var h history
		h.init(&record{rev: m.rev, tree: m.tree}, rapid.IntRange(1, 60).Draw(t, "revisions"), 1<<30, 0)
		state := map[string]string{}
		states := map[int64]map[string]string{m.rev: {}}
		for range rapid.IntRange(1, 8).Draw(t, "commands") {
			w := m.begin()
			for range rapid.IntRange(1, 20).Draw(t, "transactions") {
				txn := drawChange(t, len(states))
				res, err := w.apply(&txn)
				if err != nil {
					t.Fatal(err)
				}
				play(state, txn)
				states[res.Revision] = maps.Clone(state)
			}
			if records := w.commit(); len(records) > 0 {
				h.append(records)
			}
			if rapid.IntRange(0, 5).Draw(t, "compact") == 0 {
				h.compact(rapid.Int64Range(1, m.rev).Draw(t, "at"))
			}
			for range 5 {
				checkPast(t, &h, rapid.Int64Range(1, m.rev+1).Draw(t, "read"), m.rev, states)
			}
		}
		for rev := int64(1); rev <= m.rev+1; rev++ {
			checkPast(t, &h, rev, m.rev, states)
		}
	})
}

func drawChange(t *rapid.T, i int) Txn {
	key := rapid.SampledFrom([]string{"a", "a/b", "a/c", "b", "ba"}).Draw(t, "key")
	if rapid.IntRange(0, 2).Draw(t, "op") == 0 {
		return Txn{Then: []Op{OpDeletePrefix(key)}}
	}
	return Txn{Then: []Op{OpPut(key, fmt.Append(nil, i)), OpPut(key+"x", fmt.Append(nil, i))}}
}

// play does to a map what a transaction of drawChange does.
func play(state map[string]string, txn Txn) {
	for _, op := range txn.Then {
		if op.Type == TypePut {
			state[op.Key] = string(op.Value)
			continue
		}
		maps.DeleteFunc(state, func(k, _ string) bool { return inRange(k, op.Key, op.End) })
	}
}

func checkPast(t *rapid.T, h *history, rev, newest int64, states map[int64]map[string]string) {
	at, err := h.treeAt(rev)
	switch {
	case rev > newest:
		if !errors.Is(err, ErrFutureRevision) {
			t.Fatalf("revision %d of %d: %v", rev, newest, err)
		}
		return
	case rev < h.oldest():
		if !errors.Is(err, ErrCompacted) {
			t.Fatalf("revision %d, the oldest is %d: %v", rev, h.oldest(), err)
		}
		return
	case err != nil:
		t.Fatalf("revision %d: %v", rev, err)
	}
	got := map[string]string{}
	at.view().scan("", toEnd, func(e *Entry) bool {
		if e.ModRevision > rev {
			t.Fatalf("%s of revision %d at revision %d", e.Key, e.ModRevision, rev)
		}
		got[e.Key] = string(e.Value)
		return true
	})
	if !maps.Equal(got, states[rev]) || at.len() != len(got) {
		t.Fatalf("revision %d has %v, want %v", rev, got, states[rev])
	}
}

// However many revisions are read, few trees are kept for it.
func TestRebuiltTreesAreBounded(t *testing.T) {
	m := newMachine()
	var h history
	h.init(&record{rev: m.rev, tree: m.tree}, 1000, 1<<30, 0)
	w := m.begin()
	for i := range 500 {
		_, _ = w.apply(&Txn{Then: []Op{OpPut(fmt.Sprint("k", i), nil)}})
	}
	h.append(w.commit())
	for rev := int64(2); rev <= m.rev; rev++ {
		if at, err := h.treeAt(rev); err != nil || at.len() != int(rev-1) {
			t.Fatalf("revision %d: %v", rev, err)
		}
	}
	kept := 0
	for rev := int64(2); rev < m.rev; rev++ {
		if !h.at(rev).anyTree().isZero() {
			kept++
		}
	}
	if kept != maxRebuilt {
		t.Errorf("%d trees are kept", kept)
	}
}
