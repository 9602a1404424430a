package iptables

import (
	"slices"

	"github.com/inboard/inboard/proxy"
)

// state is what the kernel is known to hold of ours in one family: the chains of each table by name.
type state map[string]map[string]proxy.Chain

// block is a step of a change: chains to write, or names of chains to delete, in one table.
type block struct {
	table  string
	write  []proxy.Chain
	flush  []string
	remove []string
}

func (b *block) size() int { return len(b.write) + len(b.flush) + len(b.remove) }

// diff returns the steps from have to want. Chains are written before what jumps to them, and
// deleted when nothing does any more.
func diff(have state, want *proxy.Ruleset, full bool) (steps []block) {
	for _, t := range want.Tables {
		var changed []proxy.Chain
		names := make(map[string]bool, len(t.Chains))
		for _, c := range t.Chains {
			names[c.Name] = true
			old, ok := have[t.Name][c.Name]
			if full || !ok || !old.Equal(c) {
				changed = append(changed, c)
			}
		}
		steps = append(steps, block{table: t.Name, write: changed})
		var gone []string
		for name := range have[t.Name] {
			if !names[name] {
				gone = append(gone, name)
			}
		}
		slices.Sort(gone)
		steps = append(steps, dismantle(t.Name, gone)...)
	}
	return steps
}

// dismantle returns the steps that delete chains: since they may refer to each other, all are
// emptied first.
func dismantle(table string, names []string) []block {
	if len(names) == 0 {
		return nil
	}
	return []block{{table: table, flush: names}, {table: table, remove: names}}
}

// split cuts steps so that none is larger than limit; 0 does not.
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
