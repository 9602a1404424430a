package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// ErrNoNodes is returned when the snapshot has no node at all.
var ErrNoNodes = errors.New("no nodes available to schedule pods")

// FitError says why a pod fits on no node. Its text is kube-scheduler's.
type FitError struct {
	Pod *corev1.Pod
	// NumAllNodes is the number of nodes in the snapshot.
	NumAllNodes int
	// PreFilter, when not nil, ruled out all nodes at once; Nodes is then empty.
	PreFilter *Verdict
	// Nodes are the refusals, one for each node that was looked at, in the snapshot's order.
	Nodes []Verdict
	// Absent, when not nil, is what holds for the nodes that were not looked at.
	Absent *Status
	// PostFilter is what the PostFilter plugins said, such as that preemption would not help.
	PostFilter string

	// counted stands in for Nodes when nobody looks at those.
	counted []countedRefusal
}

// Verdict is one refusal.
type Verdict struct {
	// Node is the name of the node, empty when all are meant.
	Node string
	// Plugin is the name of the plugin that refused.
	Plugin string
	Status *Status
}

// Reason is a reason and the number of nodes that gave it.
type Reason struct {
	Text  string
	Count int
}

// Reasons counts the reasons of all nodes, in the order in which Error names them.
func (e *FitError) Reasons() []Reason {
	// Plugins use few statuses, and one of them for many nodes in a row.
	count := map[string]int{}
	add := func(s *Status, n int) {
		if s != nil && n > 0 {
			for _, r := range s.Reasons {
				count[r] += n
			}
		}
	}
	looked := len(e.Nodes)
	for i := range e.counted {
		add(e.counted[i].status, e.counted[i].nodes)
		looked += e.counted[i].nodes
	}
	var last *Status
	run := 0
	for i := range e.Nodes {
		if s := e.Nodes[i].Status; s != last {
			add(last, run)
			last, run = s, 0
		}
		run++
	}
	add(last, run)
	add(e.Absent, e.NumAllNodes-looked)
	out := make([]Reason, 0, len(count))
	for text, n := range count {
		out = append(out, Reason{text, n})
	}
	slices.SortFunc(out, func(a, b Reason) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// String returns the count and the text, as in "3 Insufficient cpu".
func (r Reason) String() string { return strconv.Itoa(r.Count) + " " + r.Text }

// count adds the refusal of one node without its name.
func (e *FitError) count(s *Status) {
	if i := len(e.counted) - 1; i >= 0 && e.counted[i].status == s {
		e.counted[i].nodes++
		return
	}
	e.counted = append(e.counted, countedRefusal{nodeRefusal{status: s}, 1})
}

// Error returns a sentence such as "0/5 nodes are available: 3 Insufficient cpu.", and what the PostFilter
// plugins said. The reasons are sorted as text, so that "10 ..." comes before "2 ...", as kube-scheduler
// sorts them.
func (e *FitError) Error() string {
	msg := fmt.Sprintf("0/%d nodes are available:", e.NumAllNodes)
	var parts []string
	if e.PreFilter != nil {
		parts = e.PreFilter.Status.Reasons
	} else {
		for _, r := range e.Reasons() {
			parts = append(parts, r.String())
		}
	}
	if len(parts) > 0 {
		msg += " " + strings.Join(parts, ", ") + "."
	}
	if e.PostFilter != "" {
		msg += " " + e.PostFilter
	}
	return msg
}

// Plugins returns the names of the plugins that refused, each once, sorted.
func (e *FitError) Plugins() []string {
	seen := map[string]bool{}
	if e.PreFilter != nil {
		seen[e.PreFilter.Plugin] = true
	}
	for i := range e.counted {
		seen[e.counted[i].plugin] = true
	}
	last := ""
	for i := range e.Nodes {
		if p := e.Nodes[i].Plugin; p != last {
			seen[p], last = true, p
		}
	}
	out := make([]string, 0, len(seen))
	for p := range seen {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}
