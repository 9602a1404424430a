package raft_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/inboard/inboard/store"
)

// chaosKeys are few, so that clients meet.
const chaosKeys = 5

func chaosKey(i int) string { return fmt.Sprintf("chaos/%d", i) }

// call is what a client asked for: a transaction on some of the keys. Values are unique.
type call struct {
	// puts and deletes happen when ifKey is -1 or has the value ifValue, where "" is no such key.
	ifKey   int
	ifValue string
	puts    map[int]string
	deletes []int
	read    bool // reads all keys, and changes nothing
	member  int
}

func (c call) txn() store.Txn {
	var t store.Txn
	switch {
	case c.ifKey < 0:
	case c.ifValue == "":
		t.If = []store.Compare{store.IfMissing(chaosKey(c.ifKey))}
	default:
		t.If = []store.Compare{{Key: chaosKey(c.ifKey), Target: store.TargetValue, Value: []byte(c.ifValue)}}
	}
	for k, v := range c.puts {
		t.Then = append(t.Then, store.OpPut(chaosKey(k), []byte(v)))
	}
	for _, k := range c.deletes {
		t.Then = append(t.Then, store.OpDelete(chaosKey(k)))
	}
	return t
}

// answer is what a client was told.
type answer struct {
	known    bool // false when the outcome is unknown
	ok       bool // whether the condition held
	revision int64
	values   [chaosKeys]string // for a read; "" is no such key
}

// world is the model's state: the revision and all values.
type world struct {
	revision int64
	values   [chaosKeys]string
}

// step tells the state after a call that happens.
func (w world) step(c call) (world, bool) {
	if c.ifKey >= 0 && w.values[c.ifKey] != c.ifValue {
		return w, false
	}
	changed := false
	for k, v := range c.puts {
		w.values[k], changed = v, true
	}
	for _, k := range c.deletes {
		if w.values[k] != "" {
			w.values[k], changed = "", true
		}
	}
	if changed {
		w.revision++
	}
	return w, true
}

// history gathers what all clients did.
type history struct {
	mu    sync.Mutex
	start time.Time
	ops   []porcupine.Operation
}

func (h *history) now() int64 { return int64(time.Since(h.start)) }

func (h *history) add(client int, c call, called int64, a answer) {
	op := porcupine.Operation{ClientId: client, Input: c, Call: called, Output: a, Return: h.now()}
	if !a.known {
		op.Return = math.MaxInt64 // it may still happen
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
}

// model describes a store for Porcupine. Revisions make the search short: a call with a known outcome
// fits in one place only. One whose outcome is unknown can have had any revision that nobody else got; as
// long as it has no effect it can as well come last.
func (h *history) model(first world) porcupine.Model {
	taken, last := map[int64]bool{}, first.revision
	for _, op := range h.ops {
		c, a := op.Input.(call), op.Output.(answer)
		if a.known && a.ok && len(c.puts) > 0 { // a deletion may have changed nothing
			taken[a.revision] = true
		}
		last = max(last, a.revision)
	}
	return porcupine.Model{
		Init: func() any { return first },
		Step: func(state, in, out any) (bool, any) {
			w, c, a := state.(world), in.(call), out.(answer)
			next, ok := w.step(c)
			switch {
			case !a.known:
				fits := next.revision > w.revision && !taken[next.revision] && (a.revision == 0 || a.revision == next.revision)
				return fits || w.revision >= last, next
			case c.read:
				return a.values == w.values && a.revision == w.revision, w
			}
			return a.ok == ok && a.revision == next.revision, next
		},
		DescribeOperation: func(in, out any) string { return describe(in.(call), out.(answer)) },
		DescribeState:     func(state any) string { return fmt.Sprintf("%d %q", state.(world).revision, state.(world).values) },
	}
}

func describe(c call, a answer) string {
	text := fmt.Sprintf("at %d: ", c.member)
	switch {
	case c.read:
		return text + fmt.Sprintf("read -> %q at %d", a.values, a.revision)
	case c.ifKey >= 0:
		text += fmt.Sprintf("if %d is %q ", c.ifKey, c.ifValue)
	}
	if len(c.puts) > 0 {
		text += fmt.Sprintf("put %v ", c.puts)
	}
	if len(c.deletes) > 0 {
		text += fmt.Sprintf("delete %v ", c.deletes)
	}
	if !a.known {
		return text + "-> unknown"
	}
	return text + fmt.Sprintf("-> %v at %d", a.ok, a.revision)
}

// notSeen is the revision of a call with an unknown outcome that nobody saw the effect of.
const notSeen = -1

// resolve finds out about unknown outcomes in what watchers saw, by the unique values. It only narrows what
// Porcupine may assume, so it cannot hide a violation.
func (h *history) resolve(log changeLog) {
	wrote := map[string]int64{}
	for rev, changes := range log {
		for _, ch := range changes {
			if ch.value != "" {
				wrote[ch.value] = rev
			}
		}
	}
	for i := range h.ops {
		a := h.ops[i].Output.(answer)
		if a.known {
			continue
		}
		for _, v := range h.ops[i].Input.(call).puts {
			if a.revision = notSeen; wrote[v] != 0 {
				a.revision = wrote[v]
			}
		}
		h.ops[i].Output = a
	}
}

// check has Porcupine look for an order of all calls that explains every answer.
func (h *history) check(first world) (porcupine.CheckResult, porcupine.Model, porcupine.LinearizationInfo) {
	model := h.model(first)
	res, info := porcupine.CheckOperationsVerbose(model, h.ops, 2*time.Minute)
	return res, model, info
}

func (h *history) count() (known, unknown int) {
	for _, op := range h.ops {
		if op.Output.(answer).known {
			known++
		} else {
			unknown++
		}
	}
	return known, unknown
}

// keyChange is one change of a key as a watcher saw it.
type keyChange struct {
	key, value string // no value: deleted
}

// changeLog is what each revision changed.
type changeLog map[int64][]keyChange

func changesOf(b store.Batch) []keyChange {
	var changes []keyChange
	for _, ev := range b.Events {
		changes = append(changes, keyChange{ev.Entry.Key, string(ev.Entry.Value)})
	}
	slices.SortFunc(changes, func(a, b keyChange) int { return strings.Compare(a.key, b.key) })
	return changes
}

// checkWritten compares what clients were told with what watchers saw.
func (h *history) checkWritten(t testing.TB, log changeLog) {
	for _, op := range h.ops {
		c, a := op.Input.(call), op.Output.(answer)
		if !a.known || !a.ok || c.read || len(c.puts) == 0 {
			continue
		}
		var want []keyChange
		for k, v := range c.puts {
			want = append(want, keyChange{chaosKey(k), v})
		}
		for _, ch := range want {
			if !slices.Contains(log[a.revision], ch) {
				t.Errorf("revision %d was told to have written %v; watchers saw %v", a.revision, want, log[a.revision])
			}
		}
	}
}
