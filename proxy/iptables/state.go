package iptables

import (
	"slices"

	"github.com/inboard/inboard/proxy"
)

// state is what the kernel is known to hold of ours in one family: the chains of each table by name.
type state map[string]map[string]proxy.Chain

// block is a step of a change of one table: chains to write, names of chains to empty, and of chains
// to delete, in this order. The kernel does all of it at once.
type block struct {
	table  string
	write  []proxy.Chain
	flush  []string
	remove []string
}

func (b *block) size() int { return len(b.write) + max(len(b.flush), len(b.remove)) }

// diff returns the steps from have to want. Chains are written before what jumps to them, and
// deleted when nothing does any more. last, when not nil, is the Ruleset that have came from: what
// the two share at both ends of their lists needs no second look, and that is almost everything.
func diff(have state, last, want *proxy.Ruleset, full bool) (steps []block) {
	for i, t := range want.Tables {
		chains, old := t.Chains, []proxy.Chain(nil)
		if last != nil && !full {
			chains, old = trim(chains, last.Tables[i].Chains)
		}
		var changed []proxy.Chain
		names := make(map[string]bool, len(chains))
		for _, c := range chains {
			names[c.Name] = true
			now, ok := have[t.Name][c.Name]
			if full || !ok || !now.Equal(c) {
				changed = append(changed, c)
			}
		}
		var gone []string
		if last != nil && !full {
			for _, c := range old {
				if !names[c.Name] {
					gone = append(gone, c.Name)
				}
			}
		} else {
			for name := range have[t.Name] {
				if !names[name] {
					gone = append(gone, name)
				}
			}
		}
		steps = append(steps, block{table: t.Name, write: changed, flush: gone, remove: gone})
	}
	return steps
}

// trim cuts off the chains that both lists begin and end with.
func trim(a, b []proxy.Chain) (restA, restB []proxy.Chain) {
	for len(a) > 0 && len(b) > 0 && a[0].Equal(b[0]) {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1].Equal(b[len(b)-1]) {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return a, b
}

// dismantle returns the steps that delete chains: since they may refer to each other, all are
// emptied first.
func dismantle(table string, names []string) []block {
	if len(names) == 0 {
		return nil
	}
	return []block{{table: table, flush: names}, {table: table, remove: names}}
}

// undo returns the steps that delete all that rules have, each chain after those that jump to it, so
// that each run can empty and delete a part.
func undo(rules *proxy.Ruleset, batch int) (steps []block) {
	for _, t := range rules.Tables {
		names := make([]string, 0, len(t.Chains))
		for _, c := range slices.Backward(t.Chains) {
			names = append(names, c.Name)
		}
		if batch == 0 {
			batch = len(names)
		}
		for part := range slices.Chunk(names, batch) {
			steps = append(steps, block{table: t.Name, flush: part, remove: part})
		}
	}
	return steps
}

// split cuts steps so that none has more than limit chains; 0 does not cut.
func split(steps []block, limit int) (out []block) {
	for _, b := range steps {
		if limit == 0 || b.size() <= limit {
			if b.size() > 0 {
				out = append(out, b)
			}
			continue
		}
		for part := range slices.Chunk(b.write, limit) {
			out = append(out, block{table: b.table, write: part})
		}
		for part := range slices.Chunk(b.flush, limit) {
			out = append(out, block{table: b.table, flush: part})
		}
		for part := range slices.Chunk(b.remove, limit) {
			out = append(out, block{table: b.table, remove: part})
		}
	}
	return out
}

// pack joins steps to runs of iptables-restore of at most limit chains each.
func pack(steps []block, limit int) (runs [][]block) {
	size := 0
	for _, b := range split(steps, limit) {
		if len(runs) == 0 || limit > 0 && size+b.size() > limit {
			runs = append(runs, nil)
			size = 0
		}
		runs[len(runs)-1] = append(runs[len(runs)-1], b)
		size += b.size()
	}
	return runs
}

// text writes a run as iptables-restore reads it.
func text(run []block) (b []byte) {
	for _, s := range run {
		b = append(append(append(b, '*'), s.table...), '\n')
		for _, c := range s.write {
			b = c.AppendRestore(b)
		}
		for _, n := range s.flush {
			b = proxy.Chain{Name: n}.AppendRestore(b)
		}
		for _, c := range s.write {
			b = c.AppendRules(b)
		}
		for _, n := range s.remove {
			b = append(append(append(b, "-X "...), n...), '\n')
		}
		b = append(b, "COMMIT\n"...)
	}
	return b
}

// done notes that a run succeeded.
func (s state) done(run []block) {
	for _, b := range run {
		t := s[b.table]
		if t == nil {
			t = map[string]proxy.Chain{}
			s[b.table] = t
		}
		for _, c := range b.write {
			t[c.Name] = c
		}
		for _, n := range b.flush {
			t[n] = proxy.Chain{Name: n}
		}
		for _, n := range b.remove {
			delete(t, n)
		}
	}
}

// empty tells that there is no chain.
func (s state) empty() bool {
	for _, t := range s {
		if len(t) > 0 {
			return false
		}
	}
	return true
}
