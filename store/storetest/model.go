package storetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/inboard/inboard/store"
)

// item is the model's entry.
type item struct {
	key, value                string
	created, modified, change int64
}

// model is a store for which nobody needs a proof: a whole map for every revision.
type model struct {
	base   int64 // the oldest revision
	states []map[string]item
	events [][]string // what revision base+i changed, as text
}

func (m *model) rev() int64                   { return m.base + int64(len(m.states)) - 1 }
func (m *model) at(rev int64) map[string]item { return m.states[rev-m.base] }

func (m *model) pick(state map[string]item, key, end string) []item {
	var items []item
	for _, k := range slices.Sorted(maps.Keys(state)) {
		if (end == "" && k == key) || (end != "" && k >= key && (end == "\x00" || k < end)) {
			items = append(items, state[k])
		}
	}
	return items
}

func (m *model) holds(c store.Compare) bool {
	it, ok := m.at(m.rev())[c.Key]
	if !ok && c.Target == store.TargetValue {
		return false
	}
	order := 0
	switch n := map[store.CompareTarget]int64{
		store.TargetVersion: it.change, store.TargetCreateRevision: it.created, store.TargetModRevision: it.modified,
	}[c.Target]; {
	case c.Target == store.TargetValue && it.value < string(c.Value), c.Target != store.TargetValue && n < c.Number:
		order = -1
	case c.Target == store.TargetValue && it.value > string(c.Value), c.Target != store.TargetValue && n > c.Number:
		order = 1
	}
	return map[store.CompareResult]bool{
		store.Equal: order == 0, store.NotEqual: order != 0, store.Less: order < 0, store.Greater: order > 0,
	}[c.Result]
}

// txn runs a transaction and returns what a store should answer, as text.
func (m *model) txn(t store.Txn) string {
	ops, ok := t.Then, true
	for _, c := range t.If {
		if !m.holds(c) {
			ops, ok = t.Else, false
		}
	}
	state, rev := maps.Clone(m.at(m.rev())), m.rev()+1
	var events []string
	text := fmt.Sprint(ok)
	for _, op := range ops {
		found := m.pick(state, op.Key, op.End)
		switch op.Type {
		case store.TypeGet:
			text += fmt.Sprintf("; get %d", len(found))
			if op.Limit > 0 {
				found = found[:min(op.Limit, len(found))]
			}
			text += fmt.Sprint(found)
		case store.TypePut:
			it := state[op.Key]
			if it.change == 0 {
				it = item{key: op.Key, created: rev}
			}
			it.value, it.modified, it.change = string(op.Value), rev, it.change+1
			state[op.Key] = it
			text += "; put " + fmt.Sprint(found)
			events = append(events, fmt.Sprint("put ", it, found))
		case store.TypeDelete:
			text += fmt.Sprintf("; delete %d", len(found)) + fmt.Sprint(found)
			for _, it := range found {
				delete(state, it.key)
				events = append(events, fmt.Sprint("delete ", item{key: it.key, modified: rev}, []item{it}))
			}
		}
	}
	if len(events) > 0 {
		m.states, m.events = append(m.states, state), append(m.events, events)
	}
	return fmt.Sprint(text, " at ", m.rev())
}

func items(entries []*store.Entry) []item {
	var items []item
	for _, e := range entries {
		items = append(items, item{e.Key, string(e.Value), e.CreateRevision, e.ModRevision, e.Version})
	}
	return items
}

// show is what the store answered, as the model's text.
func show(res store.TxnResult, ops []store.Op) string {
	text := fmt.Sprint(res.Succeeded)
	for i, r := range res.Results {
		switch ops[i].Type {
		case store.TypeGet:
			text += fmt.Sprintf("; get %d", r.Count) + fmt.Sprint(items(r.Entries))
		case store.TypePut:
			text += "; put " + fmt.Sprint(items(r.Prev))
		case store.TypeDelete:
			text += fmt.Sprintf("; delete %d", r.Count) + fmt.Sprint(items(r.Prev))
		}
	}
	return fmt.Sprint(text, " at ", res.Revision)
}

// testModel does random things to the store and to the model and compares all that can be seen.
func testModel(t *testing.T, s Store) {
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		g := generator{rt, fmt.Sprintf("run%06d/", run)}
		m := &model{base: revision(t, s), states: []map[string]item{{}}, events: [][]string{nil}}
		rt.Repeat(map[string]func(*rapid.T){
			"txn":     func(rt *rapid.T) { checkTxn(rt, t, s, m, g.txn()) },
			"range":   func(rt *rapid.T) { checkRange(rt, t, s, m, g) },
			"watch":   func(rt *rapid.T) { checkWatch(rt, t, s, m, g) },
			"compact": func(rt *rapid.T) { checkCompact(rt, t, s, m) },
		})
	})
}

func checkTxn(rt *rapid.T, t *testing.T, s Store, m *model, txn store.Txn) {
	res, err := s.Txn(t.Context(), txn)
	if errors.Is(err, store.ErrInvalid) {
		rt.Skip("a key changes twice")
	}
	ops := txn.Then
	if !res.Succeeded {
		ops = txn.Else
	}
	if got, want := show(res, ops), m.txn(txn); err != nil || got != want {
		rt.Fatalf("%+v\n got %s, %v\nwant %s", txn, got, err, want)
	}
}

func checkRange(rt *rapid.T, t *testing.T, s Store, m *model, g generator) {
	key, end := g.span()
	rev := rapid.Int64Range(m.base, m.rev()).Draw(rt, "revision")
	limit := rapid.IntRange(0, 4).Draw(rt, "limit")
	r, err := s.Range(t.Context(), store.Range{Key: key, End: end, Revision: rev, Limit: limit, Linearizable: true})
	want := m.pick(m.at(rev), key, end)
	count := len(want)
	if limit > 0 {
		want = want[:min(limit, count)]
	}
	if err != nil || fmt.Sprint(items(r.Entries)) != fmt.Sprint(want) || r.Count != count || r.Revision != rev || r.More != (len(want) < count) {
		rt.Fatalf("range %q to %q at %d, limit %d\n got %v of %d, %v\nwant %v of %d", key, end, rev, limit, items(r.Entries), r.Count, err, want, count)
	}
}

func checkWatch(rt *rapid.T, t *testing.T, s Store, m *model, g generator) {
	key, end := g.span()
	rev := rapid.Int64Range(m.base+1, m.rev()+1).Draw(rt, "revision")
	w, err := s.Watch(store.WatchConfig{Key: key, End: end, Revision: rev, Prev: true})
	if err != nil {
		rt.Fatal(err)
	}
	defer w.Close()
	var want []string
	for r := rev; r <= m.rev(); r++ {
		for _, text := range m.events[r-m.base] {
			want = append(want, fmt.Sprint(r, " ", text))
		}
	}
	var got []string
	for w.Progress() < m.rev() {
		// A change at the end of what was asked for shows that nothing is behind it.
		b, err := nextOrNothing(t, w)
		if err != nil {
			rt.Fatal(err)
		}
		for _, ev := range b.Events {
			got = append(got, showEvent(b.Revision, ev))
		}
	}
	want = slices.DeleteFunc(want, func(text string) bool { return !concerns(text, key, end) })
	if !slices.Equal(got, want) {
		rt.Fatalf("watch %q to %q from %d\n got %q\nwant %q", key, end, rev, got, want)
	}
}

func checkCompact(rt *rapid.T, t *testing.T, s Store, m *model) {
	rev := rapid.Int64Range(m.base, m.rev()).Draw(rt, "revision")
	if err := s.Compact(t.Context(), rev); err != nil && !errors.Is(err, store.ErrCompacted) {
		rt.Fatal(err)
	}
	m.states, m.events = m.states[rev-m.base:], m.events[rev-m.base:]
	m.base = rev
}
