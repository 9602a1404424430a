package scheduler

import (
	"fmt"
	"slices"
)

// Nominate notes that the pod waits for room that is being made for it on the node. Pods of the same
// priority and lower ones are placed as if it were there already. It takes the place of an earlier one.
func (b *Builder) Nominate(p *PodInfo, node string) {
	b.Denominate(p.Key)
	old, _ := b.s.nominated.get(node)
	b.s.nominated.put(b.e, node, appended(old, p))
	b.markClaimed(node)
	b.s.nominations.put(b.e, p.Key, node)
}

// Denominate takes back what Nominate has noted, and returns the node.
func (b *Builder) Denominate(key string) (node string) {
	node, ok := b.s.nominations.get(key)
	if !ok {
		return ""
	}
	b.s.nominations.remove(b.e, key)
	old, _ := b.s.nominated.get(node)
	left := slices.DeleteFunc(slices.Clone(old), func(p *PodInfo) bool { return p.Key == key })
	if len(left) > 0 {
		b.s.nominated.put(b.e, node, left)
	} else {
		b.s.nominated.remove(b.e, node)
		b.markClaimed(node)
	}
	return node
}

// markClaimed sets a node's mark that there are nominated pods, so that those of the thousands of others need not
// be looked up.
func (b *Builder) markClaimed(node string) {
	i, ok := b.s.slots.get(node)
	if !ok {
		return
	}
	_, claimed := b.s.nominated.get(node)
	if old := b.s.nodes.at(i); old.claimed != claimed {
		now := *old
		now.claimed = claimed
		b.s.nodes.set(b.e, i, &now)
	}
}

// Nominated returns the pods that wait for room on the node.
func (s *Snapshot) Nominated(node string) []*PodInfo {
	p, _ := s.orEmpty().nominated.get(node)
	return p
}

// NominatedNode returns the node on which the pod with the key waits for room, or nothing.
func (s *Snapshot) NominatedNode(key string) string {
	node, _ := s.orEmpty().nominations.get(key)
	return node
}

// localFilter marks a FilterPlugin whose verdict about a node depends on no other pods than those in its
// NodeInfo, and whose PreFilter looks at no pod but the one to place. What-if questions about such
// filters need neither a changed snapshot nor another PreFilter.
type localFilter interface{ local() }

func (NodeName) local()             {}
func (NodeUnschedulable) local()    {}
func (TaintToleration) local()      {}
func (NodeAffinity) local()         {}
func (NodePorts) local()            {}
func (NodeResourcesFit) local()     {}
func (NodeDeclaredFeatures) local() {}

// local tells whether all filters that have something to say about this pod are local.
func (r *run) local() bool {
	for i := range r.filters {
		if st := &r.filters[i]; !st.local && !r.skip[st.slot] {
			return false
		}
	}
	return true
}

// draft is a NodeInfo that is changed in place, to ask local filters about it. Only what these read is
// kept right.
type draft struct {
	n         NodeInfo
	pods      []*PodInfo
	ports     []HostPort
	requested Resource // before the last add
}

// copyOf makes the draft a copy of a node, with all of its pods or with none.
func (d *draft) copyOf(n *NodeInfo, pods bool) *draft {
	d.n = *n
	d.n.Pods, d.n.ports = d.pods[:0], d.ports[:0]
	if pods {
		d.n.Pods, d.n.ports = append(d.n.Pods, n.Pods...), append(d.n.ports, n.ports...)
	} else {
		d.n.Requested = Resource{}
	}
	d.keep()
	return d
}

// keep keeps the memory of slices that have grown.
func (d *draft) keep() { d.pods, d.ports = d.n.Pods, d.n.ports }

func (d *draft) add(p *PodInfo) {
	d.requested = d.n.Requested
	d.n.Requested = d.n.Requested.Add(p.Requests)
	d.n.Pods, d.n.ports = append(d.n.Pods, p), append(d.n.ports, p.Ports...)
	d.keep()
}

// undo takes back the last add, which was of p.
func (d *draft) undo(p *PodInfo) {
	d.n.Requested = d.requested
	d.n.Pods, d.n.ports = d.n.Pods[:len(d.n.Pods)-1], d.n.ports[:len(d.n.ports)-len(p.Ports)]
	d.keep()
}

// avoidsPods tells whether the pod's presence on a node may make InterPodAffinity refuse it to others.
func (p *PodInfo) avoidsPods() bool { return len(p.antiAffinity) > 0 }

// claims returns the pods that wait for room on a node and that this pod has to respect: those of its own
// priority and higher ones.
func (r *run) claims(n *NodeInfo) []*PodInfo {
	if !n.claimed {
		return nil
	}
	return claimsOn(r.Snapshot.Nominated(n.name), r.Pod)
}

func claimsOn(nominated []*PodInfo, pod *PodInfo) (out []*PodInfo) {
	for _, p := range nominated {
		if p.Priority >= pod.Priority && p.Key != pod.Key {
			out = append(out, p)
		}
	}
	return out
}

// askForClaims asks the filters about a node that they accept once more, with the pods in place that wait
// for room there. Both must be right: they may come, or may go elsewhere.
func (r *run) askForClaims(n *NodeInfo) (nodeRefusal, error) {
	claims := r.claims(n)
	if len(claims) == 0 {
		return nodeRefusal{}, nil
	}
	if r.local() && !slices.ContainsFunc(claims, (*PodInfo).avoidsPods) {
		d := r.draft.copyOf(n, true)
		for _, p := range claims {
			d.add(p)
		}
		return r.ask(r.filters, &d.n)
	}
	b := r.Snapshot.Edit()
	for _, p := range claims {
		b.AddPod(p, n.Node.Name)
	}
	return r.orFailure(r.askIn(&b.s, n.Node.Name))
}

// askIn asks the filters about a node of another snapshot, from PreFilter on.
func (r *run) askIn(s *Snapshot, node string) nodeRefusal {
	x := r.Profile.scratch.Get().(*scratch)
	sub := run{Profile: r.Profile, Cycle: r.Cycle, scratch: x}
	sub.Snapshot = s
	defer func() { r.at, r.point = sub.at, sub.point }()
	out := sub.askAbout(node)
	x.clear()
	r.Profile.scratch.Put(x)
	return out
}

func (r *run) askAbout(node string) nodeRefusal {
	v, err := r.admit()
	if err != nil {
		return nodeRefusal{r.at, AsStatus(err)}
	}
	if v != nil {
		return nodeRefusal{v.Plugin, v.Status}
	}
	n := r.Snapshot.Node(node)
	if n == nil {
		return nodeRefusal{"", NewStatus(UnschedulableAndUnresolvable, fmt.Sprintf("there is no node %q", node))}
	}
	if r.restricted && !slices.Contains(r.only, node) {
		return nodeRefusal{"", r.absent()}
	}
	r.point = "Filter"
	return r.verdict(r.filters, n)
}

// Fits asks the profile's filters whether the pod could be on a node of another snapshot, such as one with
// fewer pods. Nil means yes, both with and without the pods that wait for room there. It is for
// PostFilterPlugins.
func (c *Cycle) Fits(s *Snapshot, node string) *Status {
	if c.run == nil {
		return NewStatus(Error, "there is no placement under way")
	}
	claims := claimsOn(s.Nominated(node), c.Pod)
	if len(claims) > 0 {
		b := s.Edit()
		for _, p := range claims {
			b.AddPod(p, node)
		}
		if refused := c.run.askIn(&b.s, node); refused.status != nil {
			return refused.status
		}
	}
	return c.run.askIn(s, node).status
}
