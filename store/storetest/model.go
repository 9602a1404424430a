package storetest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/inboard/inboard/store"
)

// item is the model's entry.
type item struct {
	key, value                 string
	created, modified, version int64
	lease                      store.LeaseID
}

// change is the model's event.
type change struct {
	revision int64
	deleted  bool
	item     item
	prev     []item // what was there, if anything
}

// model is a store for which nobody needs a proof: a whole map for every revision.
type model struct {
	base   int64 // the revision that the model began with, or was compacted to
	states []map[string]item
	events [][]change // what revision base+i changed
	leases map[store.LeaseID]bool
}

func newModel(rev int64) *model {
	return &model{base: rev, states: []map[string]item{{}}, events: [][]change{nil}, leases: map[store.LeaseID]bool{}}
}

func (m *model) rev() int64                   { return m.base + int64(len(m.states)) - 1 }
func (m *model) at(rev int64) map[string]item { return m.states[rev-m.base] }
func (m *model) now() map[string]item         { return m.at(m.rev()) }

func pick(state map[string]item, key, end string) []item {
	var items []item
	for _, k := range slices.Sorted(maps.Keys(state)) {
		if within(k, key, end) {
			items = append(items, state[k])
		}
	}
	return items
}

func within(k, key, end string) bool {
	return (end == "" && k == key) || (end != "" && k >= key && (end == "\x00" || k < end))
}

// holds tells whether a condition is true of all in its range, or of nothing where nothing is.
func holds(state map[string]item, c store.Compare) bool {
	found := pick(state, c.Key, c.End)
	if len(found) == 0 {
		return c.Target != store.TargetValue && holdsOf(item{}, c)
	}
	return !slices.ContainsFunc(found, func(it item) bool { return !holdsOf(it, c) })
}

func holdsOf(it item, c store.Compare) bool {
	order := int64(bytes.Compare([]byte(it.value), c.Value))
	if c.Target != store.TargetValue {
		order = map[store.CompareTarget]int64{
			store.TargetVersion: it.version, store.TargetCreateRevision: it.created,
			store.TargetModRevision: it.modified, store.TargetLease: int64(it.lease),
		}[c.Target] - c.Number
	}
	return map[store.CompareResult]bool{
		store.Equal: order == 0, store.NotEqual: order != 0, store.Less: order < 0, store.Greater: order > 0,
	}[c.Result]
}

// chosen is the branch of a transaction that runs.
func (m *model) chosen(t store.Txn) (ops []store.Op, ok bool) {
	for _, c := range t.If {
		if !holds(m.now(), c) {
			return t.Else, false
		}
	}
	return t.Then, true
}

// txn runs a transaction and returns what a store should answer, as text.
func (m *model) txn(t store.Txn) (string, error) {
	if !valid(t) {
		return "", store.ErrInvalid
	}
	if err := m.refused(t); err != nil {
		return "", err
	}
	run := run{m: m, state: maps.Clone(m.now()), rev: m.rev() + 1}
	text := run.txn(t)
	m.commit(run.state, run.events)
	return fmt.Sprint(text, " at ", m.rev()), nil
}

func (m *model) commit(state map[string]item, events []change) {
	if len(events) > 0 {
		m.states, m.events = append(m.states, state), append(m.events, events)
	}
}

// refused tells why the branches that would run cannot, in the state that there is.
func (m *model) refused(t store.Txn) error {
	ops, _ := m.chosen(t)
	for _, op := range ops {
		_, exists := m.now()[op.Key]
		switch {
		case op.Type == store.TypeTxn:
			if err := m.refused(*op.Txn); err != nil {
				return err
			}
		case (op.KeepValue || op.KeepLease) && !exists:
			return store.ErrKeyNotFound
		case op.Lease != 0 && !m.leases[op.Lease]:
			return store.ErrLeaseNotFound
		}
	}
	return nil
}

// revoke ends a lease and deletes its keys.
func (m *model) revoke(id store.LeaseID) {
	delete(m.leases, id)
	run := run{m: m, state: maps.Clone(m.now()), rev: m.rev() + 1}
	for _, key := range m.keysOf(id) {
		run.delete(run.state[key])
	}
	m.commit(run.state, run.events)
}

func (m *model) keysOf(id store.LeaseID) []string {
	var keys []string
	for _, k := range slices.Sorted(maps.Keys(m.now())) {
		if m.now()[k].lease == id {
			keys = append(keys, k)
		}
	}
	return keys
}

func (m *model) compact(rev int64) {
	m.states, m.events = m.states[rev-m.base:], m.events[rev-m.base:]
	m.base = rev
}

// run is one transaction under way.
type run struct {
	m      *model
	state  map[string]item
	rev    int64
	events []change
}

func (r *run) txn(t store.Txn) string {
	ops, ok := r.m.chosen(t)
	text := fmt.Sprint(ok)
	for _, op := range ops {
		text += "; " + r.op(op)
	}
	return text
}

func (r *run) op(op store.Op) string {
	found := pick(r.state, op.Key, op.End)
	count := len(found)
	switch op.Type {
	case store.TypeTxn:
		return "(" + r.txn(*op.Txn) + ")"
	case store.TypePut:
		r.put(op)
		return fmt.Sprint("put ", found)
	case store.TypeDelete:
		for _, it := range found {
			r.delete(it)
		}
		return fmt.Sprint("delete ", count, found)
	}
	if op.Limit > 0 {
		found = found[:min(op.Limit, count)]
	}
	return fmt.Sprint("get ", count, found)
}

func (r *run) put(op store.Op) {
	prev := pick(r.state, op.Key, "")
	it := item{key: op.Key, created: r.rev}
	if len(prev) > 0 {
		it = prev[0]
	}
	it.modified, it.version = r.rev, it.version+1
	if !op.KeepValue {
		it.value = string(op.Value)
	}
	if !op.KeepLease {
		it.lease = op.Lease
	}
	r.state[op.Key] = it
	r.events = append(r.events, change{revision: r.rev, item: it, prev: prev})
}

func (r *run) delete(it item) {
	delete(r.state, it.key)
	r.events = append(r.events, change{revision: r.rev, deleted: true, item: item{key: it.key, modified: r.rev}, prev: []item{it}})
}

// valid tells whether a transaction changes no key twice. The branches of a nested one exclude each other.
func valid(t store.Txn) bool {
	_, _, then := changed(t.Then)
	_, _, other := changed(t.Else)
	return then && other
}

// changed are the puts and deletions of a branch, and whether none of them meet.
func changed(ops []store.Op) (puts map[string]bool, deletes []store.Op, ok bool) {
	puts, ok = map[string]bool{}, true
	for _, op := range ops {
		var here map[string]bool
		var gone []store.Op
		switch op.Type {
		case store.TypePut:
			here = map[string]bool{op.Key: true}
			ok = ok && (!op.KeepValue || len(op.Value) == 0) && (!op.KeepLease || op.Lease == 0)
		case store.TypeDelete:
			gone = []store.Op{op}
		case store.TypeTxn:
			then, deletesThen, okThen := changed(op.Txn.Then)
			other, deletesElse, okElse := changed(op.Txn.Else)
			here, gone, ok = then, append(deletesThen, deletesElse...), ok && okThen && okElse
			maps.Copy(here, other)
		}
		ok = ok && !meet(puts, gone) && !meet(here, deletes)
		for k := range here {
			ok = ok && !puts[k]
			puts[k] = true
		}
		deletes = append(deletes, gone...)
	}
	return puts, deletes, ok
}

func meet(puts map[string]bool, deletes []store.Op) bool {
	for k := range puts {
		if slices.ContainsFunc(deletes, func(op store.Op) bool { return within(k, op.Key, op.End) }) {
			return true
		}
	}
	return false
}
