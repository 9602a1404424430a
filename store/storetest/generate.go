package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/inboard/inboard/store"
)

// generator makes requests within a prefix of its own, so that runs do not see each other.
type generator struct {
	t      *rapid.T
	prefix string
}

// The keys are prefixes of each other, and have the bytes at which orders and ends go wrong.
var tails = []string{"a", "a/", "a/b", "a/bc", "a0", "b", "b\x00", "b\xff", "b\xff\xff", "c"}

func (g generator) key() string { return g.prefix + rapid.SampledFrom(tails).Draw(g.t, "key") }

// span is a key, a prefix or any range, also an empty or an inverted one.
func (g generator) span() (key, end string) {
	key = g.key()
	switch rapid.IntRange(0, 3).Draw(g.t, "span") {
	case 0:
		return key, ""
	case 1:
		return key, store.PrefixEnd(key)
	case 2:
		return g.prefix, store.PrefixEnd(g.prefix)
	}
	return key, g.key()
}

func (g generator) txn() store.Txn {
	var t store.Txn
	for range rapid.IntRange(0, 2).Draw(g.t, "conditions") {
		t.If = append(t.If, g.compare())
	}
	for range rapid.IntRange(0, 4).Draw(g.t, "then") {
		t.Then = append(t.Then, g.op())
	}
	for range rapid.IntRange(0, 2).Draw(g.t, "else") {
		t.Else = append(t.Else, g.op())
	}
	return t
}

func (g generator) op() store.Op {
	switch rapid.IntRange(0, 4).Draw(g.t, "op") {
	case 0:
		key, end := g.span()
		return store.Op{Type: store.TypeGet, Key: key, End: end, Limit: rapid.IntRange(0, 3).Draw(g.t, "limit")}
	case 1:
		key, end := g.span()
		return store.Op{Type: store.TypeDelete, Key: key, End: end}
	}
	return store.OpPut(g.key(), []byte(rapid.StringMatching("[xyz]{0,2}").Draw(g.t, "value")))
}

func (g generator) compare() store.Compare {
	c := store.Compare{
		Key: g.key(),
		Target: rapid.SampledFrom([]store.CompareTarget{
			store.TargetVersion, store.TargetCreateRevision, store.TargetModRevision, store.TargetValue,
		}).Draw(g.t, "target"),
		Result: rapid.SampledFrom([]store.CompareResult{store.Equal, store.NotEqual, store.Less, store.Greater}).Draw(g.t, "result"),
	}
	if c.Target == store.TargetValue {
		c.Value = []byte(rapid.StringMatching("[xyz]{0,2}").Draw(g.t, "compared"))
	} else {
		c.Number = rapid.Int64Range(0, 4).Draw(g.t, "number")
	}
	return c
}

func showEvent(rev int64, ev store.Event) string {
	verb := map[store.EventType]string{store.EventPut: "put ", store.EventDelete: "delete "}[ev.Type]
	var prev []item
	if ev.Prev != nil {
		prev = items([]*store.Entry{ev.Prev})
	}
	return fmt.Sprint(rev, " ", verb, items([]*store.Entry{ev.Entry})[0], prev)
}

// concerns tells whether the text of an event is about a key in a range.
func concerns(text, key, end string) bool {
	k := text[strings.IndexByte(text, '{')+1:]
	k = k[:strings.IndexByte(k, ' ')]
	if end == "" {
		return k == key
	}
	return k >= key && (end == "\x00" || k < end)
}

// awaitProgress waits until a watcher that has nothing to say says so of a revision.
func awaitProgress(t *testing.T, w Watcher, rev int64) {
	t.Helper()
	for w.Progress() < rev {
		if b, err := nextOrNothing(t, w); err != nil || b.Revision != 0 {
			t.Fatalf("got %+v, %v while waiting for revision %d", b, err, rev)
		}
	}
	if p := w.Progress(); p != rev {
		t.Fatalf("progress %d after revision %d", p, rev)
	}
}

// nextOrNothing is Next for a range in which nothing may have happened.
func nextOrNothing(t *testing.T, w Watcher) (store.Batch, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	b, err := w.Next(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return store.Batch{}, nil
	}
	return b, err
}
