package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/scheduler"
)

// outcome is what becomes of one pod.
type outcome struct {
	pod   *corev1.Pod
	group *group
	node  string
	err   error
	trace *scheduler.Trace
}

// answer makes the changes, places the pods in the order in which a scheduler's queue would give them out, and
// reports.
func answer(o options, c *cluster, w io.Writer) (fits bool, _ error) {
	for _, from := range o.addNode {
		if err := c.addNodes(from, o.nodes, w); err != nil {
			return false, err
		}
	}
	var groups []*group
	for _, name := range o.drain {
		again, err := c.drain(name, w)
		if err != nil {
			return false, err
		}
		groups = append(groups, &group{title: "pods of node " + name, each: true, pods: again})
	}
	if o.pending {
		groups = append(groups, &group{title: "waiting pods", each: true, pods: c.waiting})
	}
	for _, path := range o.manifests {
		more, err := c.groupsOf(path, o.replicas)
		if err != nil {
			return false, err
		}
		groups = append(groups, more...)
	}
	outcomes, err := place(c.builder.Snapshot(), groups, o.trace)
	if err != nil {
		return false, err
	}
	fits = true
	for _, g := range groups {
		fits = report(g, outcomes[g], w) && fits
	}
	return fits, nil
}

// place places all pods, those of higher priority first, and otherwise in the order given.
func place(s *scheduler.Snapshot, groups []*group, trace bool) (map[*group][]outcome, error) {
	// Looking at all nodes costs little here, and makes the answer the best there is.
	profile, err := scheduler.NewProfile(scheduler.ProfileConfig{PercentageOfNodesToScore: 100})
	if err != nil {
		return nil, err
	}
	var queue []outcome
	for _, g := range groups {
		for _, p := range g.pods {
			queue = append(queue, outcome{pod: p, group: g})
		}
	}
	slices.SortStableFunc(queue, func(a, b outcome) int { return cmp.Compare(priority(b.pod), priority(a.pod)) })
	out := map[*group][]outcome{}
	gangs := map[string]map[*corev1.Pod]scheduler.Outcome{}
	for _, x := range queue {
		info := scheduler.NewPodInfo(x.pod)
		if len(x.pod.Spec.SchedulingGates) > 0 {
			x.err = fmt.Errorf("it waits for its scheduling gates %v", gateNames(x.pod))
			out[x.group] = append(out[x.group], x)
			continue
		}
		if trace {
			if x.trace, err = profile.Explain(s, info); err != nil {
				x.trace = nil
			}
		}
		// The pod counts for the next ones, and so do the volumes that it gets. The pods of a gang are placed together.
		name := gangOf(x.pod)
		if name == "" || gangs[name] == nil {
			var placed []scheduler.Outcome
			placed, s = profile.ScheduleAll(s, together(queue, x.pod), nil)
			gangs[name] = map[*corev1.Pod]scheduler.Outcome{}
			for _, p := range placed {
				gangs[name][p.Pod] = p
			}
		}
		x.node, x.err = gangs[name][x.pod].Node, gangs[name][x.pod].Err
		out[x.group] = append(out[x.group], x)
	}
	return out, nil
}

// gangOf names the pod group of a pod, if it is of one.
func gangOf(p *corev1.Pod) string {
	if g := p.Spec.SchedulingGroup; g != nil && g.PodGroupName != nil {
		return p.Namespace + "/" + *g.PodGroupName
	}
	return ""
}

// together returns the pods to place along with one: those of its group that no gate keeps out.
func together(queue []outcome, pod *corev1.Pod) (out []*corev1.Pod) {
	name := gangOf(pod)
	if name == "" {
		return []*corev1.Pod{pod}
	}
	for _, x := range queue {
		if gangOf(x.pod) == name && len(x.pod.Spec.SchedulingGates) == 0 {
			out = append(out, x.pod)
		}
	}
	return out
}

func priority(p *corev1.Pod) int32 {
	if p.Spec.Priority == nil {
		return 0
	}
	return *p.Spec.Priority
}

func gateNames(p *corev1.Pod) (out []string) {
	for _, g := range p.Spec.SchedulingGates {
		out = append(out, g.Name)
	}
	return out
}

// report prints what becomes of a group, and tells whether all its pods fit.
func report(g *group, outcomes []outcome, w io.Writer) bool {
	fit := 0
	for _, x := range outcomes {
		if x.err == nil {
			fit++
		}
	}
	switch {
	case g.single:
		fmt.Fprintln(w, line(g.title, &outcomes[0]))
		explain(outcomes[:1], w)
	case g.each:
		fmt.Fprintf(w, "%s: %d of %d fit\n", g.title, fit, len(outcomes))
		for i, x := range outcomes {
			fmt.Fprintln(w, "  "+line(x.pod.Namespace+"/"+x.pod.Name, &x))
			explain(outcomes[i:i+1], w)
		}
	default:
		fmt.Fprintf(w, "%s: %d of %d pods fit\n", g.title, fit, len(outcomes))
		summarize(outcomes, w)
		explain(notable(outcomes), w)
	}
	return fit == len(outcomes)
}

func line(name string, x *outcome) string {
	if x.err != nil {
		return fmt.Sprintf("%s does not fit: %v", name, x.err)
	}
	return fmt.Sprintf("%s -> %s", name, x.node)
}

// summarize counts the pods of a workload by node and by reason.
func summarize(outcomes []outcome, w io.Writer) {
	count := func(key func(x *outcome) string, format string) {
		n := map[string]int{}
		for i := range outcomes {
			if k := key(&outcomes[i]); k != "" {
				n[k]++
			}
		}
		for _, k := range slices.Sorted(maps.Keys(n)) {
			fmt.Fprintf(w, format, n[k], k)
		}
	}
	count(func(x *outcome) string { return x.node }, "  %d -> %s\n")
	count(func(x *outcome) string {
		if x.err == nil {
			return ""
		}
		return x.err.Error()
	}, "  %d not: %s\n")
}

// notable are the first pod of a workload and the first that does not fit.
func notable(outcomes []outcome) (out []outcome) {
	for i, x := range outcomes {
		if i == 0 || x.err != nil {
			out = append(out, x)
		}
		if x.err != nil {
			break
		}
	}
	return out
}

func explain(outcomes []outcome, w io.Writer) {
	for _, x := range outcomes {
		if x.trace == nil {
			continue
		}
		fmt.Fprintf(w, "  trace of %s/%s:\n", x.pod.Namespace, x.pod.Name)
		var text strings.Builder
		_ = x.trace.Write(&text) // a strings.Builder takes everything
		for l := range strings.Lines(text.String()) {
			fmt.Fprint(w, "    "+l)
		}
	}
}
