package scheduler

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
)

// shapeOf returns what the plugins that look at nothing but a node can know of a pod: what it requests, tolerates
// and selects nodes by. They treat pods of one shape alike.
func shapeOf(p *PodInfo) string {
	b := make([]byte, 0, 96)
	for _, r := range []*Resource{&p.Requests, &p.asked} {
		b = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(b, r.MilliCPU), r.Memory), r.EphemeralStorage)
		b = binary.AppendUvarint(b, uint64(len(r.scalars)))
		for i := range r.scalars {
			b = binary.AppendVarint(appendText(b, string(r.scalars[i].name)), r.scalars[i].amount)
		}
	}
	spec := &p.Pod.Spec
	b = appendText(b, spec.NodeName)
	b = binary.AppendUvarint(b, uint64(len(p.Ports)))
	for _, h := range p.Ports {
		b = binary.AppendVarint(appendText(appendText(b, h.IP), string(h.Protocol)), int64(h.Port))
	}
	b = binary.AppendUvarint(b, uint64(len(spec.Tolerations)))
	for i := range spec.Tolerations {
		t := &spec.Tolerations[i]
		for _, s := range []string{t.Key, string(t.Operator), t.Value, string(t.Effect)} {
			b = appendText(b, s)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(spec.NodeSelector)))
	if len(spec.NodeSelector) > 0 {
		for _, k := range slices.Sorted(maps.Keys(spec.NodeSelector)) {
			b = appendText(appendText(b, k), spec.NodeSelector[k])
		}
	}
	if a := spec.Affinity; a != nil && a.NodeAffinity != nil {
		b = appendNodeSelector(b, a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
	}
	return string(b)
}

func appendNodeSelector(b []byte, s *corev1.NodeSelector) []byte {
	if s == nil {
		return append(b, '-')
	}
	b = append(b, '+')
	for i := range s.NodeSelectorTerms {
		for _, rs := range [][]corev1.NodeSelectorRequirement{s.NodeSelectorTerms[i].MatchExpressions, s.NodeSelectorTerms[i].MatchFields} {
			b = binary.AppendUvarint(b, uint64(len(rs)))
			for j := range rs {
				b = appendText(appendText(b, rs[j].Key), string(rs[j].Operator))
				b = binary.AppendUvarint(b, uint64(len(rs[j].Values)))
				for _, v := range rs[j].Values {
					b = appendText(b, v)
				}
			}
		}
	}
	return b
}

// filtersByShape tells whether the plugin's Filter is a function of a pod's shape and of what versions of
// nodes tell apart.
func filtersByShape(p Plugin) bool {
	switch p.(type) {
	case NodeName, NodeUnschedulable, TaintToleration, NodeAffinity, NodePorts, NodeResourcesFit:
		return true
	}
	return false
}

// scoresByShape tells the same of the plugin's Score, which is not normalized then.
func scoresByShape(p Plugin) bool {
	switch p.(type) {
	case NodeResourcesFit, BalancedAllocation:
		return true
	}
	return false
}

// mostWeight keeps sums of remembered scores far from the largest number.
const mostWeight = 1 << 32

// versions numbers the states of nodes, of all snapshots of the program: two with the same number are the
// same but for the pods' identity and the node's place. The numbers say nothing else.
var versions atomic.Uint64

// opinion is what the plugins that go by shapes say about one state of one node.
type opinion struct {
	// version is of the node; 0 means that there is no opinion yet.
	version uint64
	// value is the weighted sum of scores or, when it is negative, -1 less the number of a refusal.
	value int64
}

// opinions remembers what was said about each node for pods of one shape, by the node's place. As nodes never
// change, but are replaced, an opinion about a state of a node holds for ever.
type opinions struct {
	shape string
	// filters says which filters took part: the first ones, up to one that goes by more than shapes.
	filters  int
	nodes    []opinion
	refusals []nodeRefusal
	// used tells when, in placements, the shape was last asked for.
	used uint64
}

// nodeRefusal is a refusal without its node.
type nodeRefusal struct {
	plugin string
	status *Status
}

// mostShapes bounds the shapes that are remembered, mostRefusals the different refusals of one: what is
// beyond is worked out each time.
const (
	mostShapes   = 32
	mostRefusals = 64
)

// remembered returns the opinions for a shape, for as many nodes as there are.
func (x *scratch) remembered(shape string, filters, nodes int) *opinions {
	x.placements++
	var o *opinions
	oldest := 0
	for i, s := range x.shapes {
		if s.filters == filters && s.shape == shape {
			o = s
			break
		}
		if s.used < x.shapes[oldest].used {
			oldest = i
		}
	}
	switch {
	case o != nil:
	case len(x.shapes) < mostShapes:
		o = &opinions{shape: shape, filters: filters}
		x.shapes = append(x.shapes, o)
	default:
		o = x.shapes[oldest]
		clear(o.nodes[:cap(o.nodes)])
		clear(o.refusals)
		*o = opinions{shape: shape, filters: filters, nodes: o.nodes, refusals: o.refusals[:0]}
	}
	if len(o.nodes) < nodes {
		o.nodes = slices.Grow(o.nodes, nodes-len(o.nodes))
	}
	o.nodes = o.nodes[:nodes]
	o.used = x.placements
	return o
}

// note remembers an opinion, if there is room for the refusal.
func (o *opinions) note(n *NodeInfo, score int64, refused nodeRefusal) opinion {
	out := opinion{n.version, score}
	if refused.status != nil {
		i := slices.Index(o.refusals, refused)
		if i < 0 && len(o.refusals) == mostRefusals {
			return opinion{}
		}
		if i < 0 {
			i, o.refusals = len(o.refusals), append(o.refusals, refused)
		}
		out.value = int64(-1 - i)
	}
	o.nodes[n.place] = out
	return out
}

// recall prepares what consider needs.
func (r *run) recall() {
	leading := 0
	r.trailing = r.trailing[:0]
	for i := range r.filters {
		if st := &r.filters[i]; len(r.trailing) == 0 && (r.skip[st.slot] || filtersByShape(st.plugin)) {
			leading = i + 1
		} else if !r.skip[st.slot] {
			r.trailing = append(r.trailing, *st)
		}
	}
	r.leading = leading
	r.memory = r.remembered(r.Pod.shape, leading, r.Snapshot.nodes.n)
}

// consider is check by what is remembered about the node.
func (r *run) consider(n *NodeInfo) error {
	o := r.memory.nodes[n.place]
	if o.version != n.version {
		score, refused, err := r.judge(n)
		if err != nil {
			return err
		}
		if o = r.memory.note(n, score, refused); o.version == 0 {
			r.refuse(n, refused)
			return nil
		}
	}
	if o.value < 0 {
		r.refusals = append(r.refusals, refusal{int32(n.place), int32(-1 - o.value)})
		return nil
	}
	if len(r.trailing) > 0 {
		if refused, err := r.ask(r.trailing, n); err != nil {
			return err
		} else if refused.status != nil {
			r.refuse(n, refused)
			return nil
		}
	}
	if refused, err := r.askForClaims(n); err != nil {
		return err
	} else if refused.status != nil {
		r.refuse(n, refused)
		return nil
	}
	r.feasible, r.totals = append(r.feasible, n), append(r.totals, o.value)
	return nil
}

// judge asks the plugins that go by shapes.
func (r *run) judge(n *NodeInfo) (score int64, _ nodeRefusal, _ error) {
	refused, err := r.ask(r.filters[:r.leading], n)
	if err != nil || refused.status != nil {
		return 0, refused, err
	}
	for i := range r.scorers {
		s := &r.scorers[i]
		if !s.byShape {
			continue
		}
		r.at, r.point = s.name, "Score"
		if s.pre != nil {
			if _, skip, err := s.pre.PreScore(&r.Cycle, nil); err != nil || skip {
				continue
			}
		}
		v, err := s.plugin.Score(&r.Cycle, nil, n)
		if err != nil {
			return 0, nodeRefusal{}, &PluginError{Plugin: s.name, Point: r.point, Err: err}
		}
		score += v * s.weight
	}
	r.point = "Filter"
	return score, nodeRefusal{}, nil
}
