package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/scheduler"
)

var (
	clusters = flag.Int("clusters", 300, "number of random clusters, each with up to 25 pods")
	seed     = flag.Uint64("seed", 1, "of the first cluster")
)

// TestSameDecisions: both refuse the same nodes, by the same plugin, for the same reasons, with the same
// sentence for people; and all scores agree but for what is the same on every node.
func TestSameDecisions(t *testing.T) {
	u := newUpstream(t)
	profile, err := scheduler.NewProfile(scheduler.ProfileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	covered := map[string]int{}
	pods := 0
	for i := range *clusters {
		c := &contest{u: u, profile: profile, g: gen{rand.New(rand.NewPCG(*seed+uint64(i), 0))}, covered: covered}
		if err := c.run(t.Context()); err != nil {
			t.Fatalf("cluster of seed %d: %v", *seed+uint64(i), err)
		}
		pods += c.pods
	}
	t.Logf("%d pods in %d clusters; refusals and scores by plugin: %v", pods, *clusters, covered)
	for _, name := range []string{
		scheduler.NameNodeUnschedulable, scheduler.NameTaintToleration, scheduler.NameNodeAffinity, scheduler.NameNodePorts,
		scheduler.NameNodeResourcesFit, scheduler.NamePodTopologySpread, scheduler.NameInterPodAffinity,
		scheduler.NameNodeDeclaredFeatures, scheduler.NameVolumeRestrictions, scheduler.NameNodeVolumeLimits,
		scheduler.NameVolumeBinding, scheduler.NameVolumeZone,
		scheduler.NameVolumeRestrictions + ", all nodes", scheduler.NameVolumeBinding + ", all nodes", scheduler.NameVolumeZone + ", all nodes",
		scheduler.NameVolumeBinding + " score", "default spread score", "volumes", "claims", "failures",
	} {
		if covered[name] == 0 {
			t.Errorf("%s: none in this run", name)
		}
	}
}

type contest struct {
	u       *upstream
	profile *scheduler.Profile
	g       gen
	covered map[string]int
	pods    int

	nodes    []*corev1.Node
	placed   []*corev1.Pod
	objects  *objects
	snapshot *scheduler.Snapshot
}

func (c *contest) run(ctx context.Context) error {
	for i := range 1 + c.g.IntN(pick(c.g, 3, 9, 20)) {
		c.nodes = append(c.nodes, c.g.node(fmt.Sprintf("node-%d", i)))
	}
	b := scheduler.NewSnapshot(c.nodes, nil).Edit()
	for _, ns := range someNamespaces() {
		b.SetNamespace(ns.Name, ns.Labels)
	}
	c.snapshot = b.Snapshot()
	c.objects = c.g.objects(c.nodes)
	for i := range c.g.IntN(25) {
		pod := c.g.pod(fmt.Sprintf("pod-%d", i))
		c.objects.own(pod)
		c.objects.mount(pod)
		c.sync()
		node, err := c.compare(ctx, pod)
		if err != nil {
			text, _ := json.Marshal(pod)
			return fmt.Errorf("%w\npod: %s\n%s", err, text, c.describe())
		}
		c.pods++
		if node != "" {
			placed := pod.DeepCopy()
			placed.Spec.NodeName = node
			if c.g.chance(10) {
				now := metav1.Now()
				placed.DeletionTimestamp = &now
			}
			c.placed = append(c.placed, placed)
			c.snapshot = c.snapshot.AddPod(placed, node)
		}
	}
	return nil
}

// sync tells us what the cluster has besides nodes and pods.
func (c *contest) sync() {
	b := c.snapshot.Edit()
	for _, obj := range c.objects.all {
		b.SetObject(obj)
	}
	c.snapshot = b.Snapshot()
}

func (c *contest) compare(ctx context.Context, pod *corev1.Pod) (string, error) {
	// A framework records its metrics in the background until its context ends.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	want, err := c.u.schedule(ctx, c.nodes, c.placed, pod, c.objects.all)
	if err != nil {
		return "", fmt.Errorf("upstream: %w", err)
	}
	outcomes, after := c.profile.ScheduleAll(c.snapshot, []*corev1.Pod{pod}, c.g.Rand)
	got, err := outcomes[0].Assignment, outcomes[0].Err
	var fit *scheduler.FitError
	var failed *scheduler.PluginError
	switch {
	case errors.As(err, &failed) || want.failure != "":
		if err == nil || err.Error() != want.failure {
			return "", fmt.Errorf("we fail with %v\nupstream with %q", err, want.failure)
		}
		c.covered["failures"]++
		return "", nil
	case errors.As(err, &fit):
		if err.Error() != want.message {
			return "", fmt.Errorf("we say %q\nupstream %q", err, want.message)
		}
	case err != nil:
		return "", err
	case want.message != "":
		return "", fmt.Errorf("we choose %s; upstream says %q", got.Node, want.message)
	}
	trace, err := c.profile.Explain(c.snapshot, scheduler.NewPodInfo(pod))
	if err != nil {
		return "", err
	}
	if err := c.compareTrace(trace, want, pod); err != nil {
		return "", err
	}
	best := int64(-1)
	for _, total := range want.totals {
		best = max(best, total)
	}
	if got.Node == "" {
		return "", nil
	}
	if want.totals[got.Node] != best {
		return "", fmt.Errorf("we choose %s, which upstream gives %d; its best is %d", got.Node, want.totals[got.Node], best)
	}
	written, err := want.write(got.Node)
	if err != nil {
		return "", fmt.Errorf("upstream: %w", err)
	}
	return got.Node, c.compareWritten(after, written, got.Node)
}

func (c *contest) compareTrace(trace *scheduler.Trace, want *verdict, pod *corev1.Pod) error {
	if p := trace.PreFilter; p != nil && want.refused != "" {
		if ours := told(p); ours != want.refused {
			return fmt.Errorf("we refuse all nodes by %s\nupstream by %s", ours, want.refused)
		}
		c.covered[p.Plugin+", all nodes"]++
	}
	var offset *int64
	for _, n := range trace.Nodes {
		if n.Refused != nil {
			c.covered[n.Refused.Plugin]++
			ours := told(n.Refused)
			if n.Refused.Plugin == scheduler.NamePodTopologySpread && len(pod.Spec.TopologySpreadConstraints) == 0 {
				c.covered["default spread refusal"]++
			}
			if theirs := want.refusals[n.Node]; theirs != ours && theirs != "not a candidate" {
				return fmt.Errorf("%s: we refuse by %s\nupstream by %q", n.Node, ours, theirs)
			}
			continue
		}
		theirs, ok := want.totals[n.Node]
		if !ok {
			return fmt.Errorf("%s is feasible for us; upstream: %s", n.Node, want.refusals[n.Node])
		}
		for _, s := range n.Scores {
			c.covered[s.Plugin+" score"]++
			if s.Plugin == scheduler.NamePodTopologySpread && len(pod.Spec.TopologySpreadConstraints) == 0 {
				c.covered["default spread score"]++
			}
			if w := want.scores[n.Node][s.Plugin]; w != s.Score {
				return fmt.Errorf("%s: %s gives %d; upstream %d", n.Node, s.Plugin, s.Score, w)
			}
		}
		// A plugin that would give all nodes the same score is skipped by us.
		diff := theirs - n.Total
		if offset != nil && *offset != diff {
			return fmt.Errorf("%s: we give %d, upstream %d: the difference to other nodes is not the same", n.Node, n.Total, theirs)
		}
		offset = &diff
	}
	return nil
}

// told writes a refusal down as said does.
func told(v *scheduler.Verdict) string {
	return fmt.Sprintf("%s: %q, code %v", v.Plugin, sorted(v.Status.Reasons), v.Status.Code)
}

func (c *contest) describe() (out string) {
	for _, n := range c.nodes {
		text, _ := json.Marshal(n)
		out += fmt.Sprintf("node: %s\n", text)
	}
	for _, p := range c.placed {
		text, _ := json.Marshal(p)
		out += fmt.Sprintf("placed: %s\n", text)
	}
	for _, obj := range c.objects.all {
		text, _ := json.Marshal(obj)
		out += fmt.Sprintf("%T: %s\n", obj, text)
	}
	return out
}
