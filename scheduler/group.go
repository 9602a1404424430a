package scheduler

import (
	"encoding/binary"
	"iter"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
)

// kind is what rules about other pods can know of a pod: its namespace and labels, whether it is being
// deleted, and its own rules about others.
type kind struct {
	// key is the same for pods whose kinds are equal, and only for those.
	key       string
	namespace string
	labels    labels.Set
	deleting  bool
	podRules
}

// podRules are a pod's rules about other pods.
type podRules struct {
	affinity, antiAffinity, preferred, preferredAgainst []affinityTerm
}

// wishes tells whether the rules count in the scores of other pods; required anti-affinity does not.
func (r *podRules) wishes() bool {
	return len(r.affinity)+len(r.preferred)+len(r.preferredAgainst) > 0
}

// group is the pods on nodes that are of one kind. It is immutable but for its owner.
type group struct {
	owner *edit
	*kind
	// nodes counts the pods by the places of their nodes.
	nodes counts
	// avoidedBy and wishedBy are the label pairs under which groups.avoiding and groups.wishing
	// have this group.
	avoidedBy, wishedBy []string
}

// groups are the pods on nodes by kind, so that a rule looks once at all pods that are alike, and with
// indexes that find those which it can be about.
type groups struct {
	all vector[*group] // by number; nil where a number is free
	// free are the numbers to use again, byKey finds the number of a kind.
	free  *freeNumber
	byKey table[int]
	// byLabel has the numbers of the groups that have a label, by "key=value".
	byLabel table[counts]
	// avoiding has those with a required anti-affinity rule, wishing those whose rules count in
	// scores, by a label that a pod must have for the rule to be about it; "" is for rules that
	// ask for none.
	avoiding, wishing table[counts]
}

type freeNumber struct {
	number int
	next   *freeNumber
}

func newKind(p *PodInfo) *kind {
	k := &kind{namespace: p.Pod.Namespace, labels: p.Pod.Labels, deleting: p.Pod.DeletionTimestamp != nil, podRules: p.podRules}
	b := append(make([]byte, 0, 128), '-')
	if k.deleting {
		b[0] = '+'
	}
	b = appendText(b, k.namespace)
	var buffer [16]string
	keys := slices.AppendSeq(buffer[:0], maps.Keys(k.labels))
	slices.Sort(keys)
	for _, key := range keys {
		b = appendText(appendText(b, key), k.labels[key])
	}
	for i, terms := range [][]affinityTerm{k.affinity, k.antiAffinity, k.preferred, k.preferredAgainst} {
		for j := range terms {
			b = terms[j].appendKey(append(b, 0xff, byte(i)))
		}
	}
	k.key = string(b)
	return k
}

// appendText appends a string with its length, so that what follows can't be taken for a part of it.
func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// countKind follows that a pod comes to the node at a place, by 1, or leaves it, by -1.
func (b *Builder) countKind(k *kind, place int, by int32) {
	gs := &b.s.groups
	number, ok := gs.byKey.get(k.key)
	if !ok {
		number = gs.open(b.e, k)
	}
	g := gs.all.at(number)
	if g.owner != b.e {
		c := *g
		c.owner = b.e
		g = &c
		gs.all.set(b.e, number, g)
	}
	if g.nodes.add(b.e, place, by); g.nodes.size == 0 {
		gs.close(b.e, number, g)
	}
}

// open makes a group.
func (gs *groups) open(e *edit, k *kind) int {
	number := gs.all.n
	if gs.free != nil {
		number, gs.free = gs.free.number, gs.free.next
	} else {
		gs.all.push(e, nil)
	}
	g := &group{owner: e, kind: k}
	for key, value := range k.labels {
		index(&gs.byLabel, e, key+"="+value, number, 1)
	}
	for i := range k.antiAffinity {
		g.avoidedBy = append(g.avoidedBy, gs.rarest(&k.antiAffinity[i].selector)...)
	}
	for _, terms := range [][]affinityTerm{k.affinity, k.preferred, k.preferredAgainst} {
		for i := range terms {
			g.wishedBy = append(g.wishedBy, gs.rarest(&terms[i].selector)...)
		}
	}
	for _, pair := range g.avoidedBy {
		index(&gs.avoiding, e, pair, number, 1)
	}
	for _, pair := range g.wishedBy {
		index(&gs.wishing, e, pair, number, 1)
	}
	gs.byKey.put(e, k.key, number)
	gs.all.set(e, number, g)
	return number
}

// close forgets a group that has no pod any more.
func (gs *groups) close(e *edit, number int, g *group) {
	for key, value := range g.labels {
		index(&gs.byLabel, e, key+"="+value, number, -1)
	}
	for _, pair := range g.avoidedBy {
		index(&gs.avoiding, e, pair, number, -1)
	}
	for _, pair := range g.wishedBy {
		index(&gs.wishing, e, pair, number, -1)
	}
	gs.byKey.remove(e, g.key)
	gs.all.set(e, number, nil)
	gs.free = &freeNumber{number, gs.free}
}

// index changes how often a group stands under a label pair.
func index(t *table[counts], e *edit, pair string, number int, by int32) {
	c, _ := t.get(pair)
	if c.add(e, number, by); c.size == 0 {
		t.remove(e, pair)
		return
	}
	t.put(e, pair, c)
}

// rarest returns the label pairs one of which a pod must have to be selected, of those that the
// selector asks for the ones that the fewest groups have; "" when it asks for none.
func (gs *groups) rarest(m *matcher) []string {
	best, least := []string{""}, -1
	for _, pairs := range m.pairs {
		n := 0
		for _, pair := range pairs {
			c, _ := gs.byLabel.get(pair)
			n += c.size
		}
		if least < 0 || n < least {
			best, least = pairs, n
		}
	}
	return best
}

// selected returns the groups whose labels a selector matches.
func (gs *groups) selected(m *matcher) iter.Seq[*group] {
	return func(yield func(*group) bool) {
		if gs.byKey.n == 0 {
			return
		}
		pairs := gs.rarest(m)
		if pairs[0] == "" {
			for g := range gs.all.all() {
				if g != nil && m.Matches(g.labels) && !yield(g) {
					return
				}
			}
			return
		}
		// A pod has one value of a label, so that no group is in two of these sets.
		for _, pair := range pairs {
			c, _ := gs.byLabel.get(pair)
			for number := range c.all() {
				if g := gs.all.at(number); m.Matches(g.labels) && !yield(g) {
					return
				}
			}
		}
	}
}

// about returns the numbers of the groups that t, avoiding or wishing, has under a label of the pod:
// those whose rules can be about it.
func (gs *groups) about(t *table[counts], pod labels.Set) []int {
	if t.n == 0 {
		return nil
	}
	var out []int
	c, _ := t.get("")
	for number := range c.all() {
		out = append(out, number)
	}
	for key, value := range pod {
		c, _ := t.get(key + "=" + value)
		for number := range c.all() {
			out = append(out, number)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
