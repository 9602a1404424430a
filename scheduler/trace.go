package scheduler

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Trace is all that a profile has to say about a pod: for each node the plugin that refuses it, or the
// scores that it gets.
type Trace struct {
	// PreFilter, when not nil, refused all nodes at once; Nodes is then empty.
	PreFilter *Verdict
	// Nodes are in the snapshot's order.
	Nodes []NodeTrace
}

// NodeTrace is what the plugins say about one node.
type NodeTrace struct {
	Node string
	// Refused, when not nil, is why the pod can't be there; there are no scores then. It is the first
	// filter's refusal, which is the one that counts.
	Refused *Verdict
	// Also are the refusals of the filters after that: what would still be in the way without it.
	Also []Verdict
	// Scores are the weighted scores, in the order of the plugins. A plugin that had no
	// preference for this pod is left out.
	Scores []PluginScore
	// Total is their sum.
	Total int64
}

// PluginScore is one plugin's score of one node.
type PluginScore struct {
	Plugin string
	Score  int64
}

// Explain tells for every node of the snapshot what Schedule would go by. Unlike Schedule it looks at
// all nodes, however many there are. The error is ErrNoNodes or a *PluginError.
func (p *Profile) Explain(s *Snapshot, pod *PodInfo) (_ *Trace, err error) {
	s = s.orEmpty()
	if s.Len() == 0 {
		return nil, ErrNoNodes
	}
	r := run{Profile: p, Cycle: Cycle{Pod: pod, Snapshot: s}, scratch: p.scratch.New().(*scratch)}
	defer func() {
		if v := recover(); v != nil {
			err = &PluginError{Plugin: r.at, Point: r.point, Err: fmt.Errorf("panic: %v", v)}
		}
	}()
	t := &Trace{}
	if t.PreFilter, err = r.admit(); err != nil || t.PreFilter != nil {
		return t, err
	}
	also := map[*NodeInfo][]Verdict{}
	if err := r.filterAll(also); err != nil {
		return nil, err
	}
	return t, r.trace(t, also)
}

// filterAll asks about every node that is not ruled out by its name, and those that a filter refuses every
// later filter, too.
func (r *run) filterAll(also map[*NodeInfo][]Verdict) error {
	r.point = "Filter"
	for n := range r.Snapshot.Nodes() {
		if r.restricted && !slices.Contains(r.only, n.Node.Name) {
			r.refuse(n, nodeRefusal{strings.Join(r.restrictedBy, ","), r.absent()})
			continue
		}
		before := len(r.refusals)
		if err := r.check(n); err != nil {
			return err
		}
		if len(r.refusals) > before {
			also[n] = r.checkAfter(n, r.said(r.refusals[before]).plugin)
		}
	}
	return nil
}

// checkAfter returns the refusals of a node by the filters that come after the named one. Their errors don't
// count: no placement would ask them.
func (r *run) checkAfter(n *NodeInfo, plugin string) (out []Verdict) {
	after := false
	for i := range r.filters {
		st := &r.filters[i]
		if !after || r.skip[st.slot] {
			after = after || st.name == plugin
			continue
		}
		r.at = st.name
		status := st.plugin.Filter(&r.Cycle, r.states[st.slot], n)
		if status != nil && status.Code != Error {
			out = append(out, Verdict{Node: n.Node.Name, Plugin: st.name, Status: status})
		}
	}
	return out
}

func (r *run) trace(t *Trace, also map[*NodeInfo][]Verdict) error {
	byNode := make(map[*NodeInfo]*NodeTrace, r.Snapshot.Len())
	t.Nodes = make([]NodeTrace, 0, r.Snapshot.Len())
	for n := range r.Snapshot.Nodes() {
		t.Nodes = append(t.Nodes, NodeTrace{Node: n.Node.Name})
		byNode[n] = &t.Nodes[len(t.Nodes)-1]
	}
	for _, x := range r.refusals {
		n, said := r.Snapshot.nodes.at(int(x.place)), r.said(x)
		byNode[n].Refused = &Verdict{Node: n.name, Plugin: said.plugin, Status: said.status}
		byNode[n].Also = also[n]
	}
	for i := range r.scorers {
		s := &r.scorers[i]
		r.totals = grown(r.totals, len(r.feasible))
		clear(r.totals)
		scored, err := r.scoreWith(s)
		if err != nil {
			return err
		}
		for j, n := range r.feasible {
			if nt := byNode[n]; scored {
				nt.Scores = append(nt.Scores, PluginScore{s.name, r.totals[j]})
				nt.Total += r.totals[j]
			}
		}
	}
	return nil
}

// Write prints the trace as a table for people.
func (t *Trace) Write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if t.PreFilter != nil {
		fmt.Fprintf(tw, "(all)\trefused by %s\t%s\n", t.PreFilter.Plugin, strings.Join(t.PreFilter.Status.Reasons, ", "))
	}
	for i := range t.Nodes {
		n := &t.Nodes[i]
		if n.Refused != nil {
			fmt.Fprintf(tw, "%s\trefused by %s\t%s\n", n.Node, n.Refused.Plugin, strings.Join(n.Refused.Status.Reasons, ", "))
			for _, v := range n.Also {
				fmt.Fprintf(tw, "\tand by %s\t%s\n", v.Plugin, strings.Join(v.Status.Reasons, ", "))
			}
			continue
		}
		var parts []string
		for _, s := range n.Scores {
			parts = append(parts, fmt.Sprintf("%s %d", s.Plugin, s.Score))
		}
		fmt.Fprintf(tw, "%s\tscore %d\t%s\n", n.Node, n.Total, strings.Join(parts, ", "))
	}
	return tw.Flush()
}
