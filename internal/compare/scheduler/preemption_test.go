package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"

	"github.com/inboard/inboard/scheduler"
)

// TestSamePreemptions: pods that fit nowhere in random clusters get the same answer from both: the same
// victims on the chosen node, which is one of those that upstream finds best, or the same sentence that
// says why nobody is evicted.
func TestSamePreemptions(t *testing.T) {
	u := newUpstream(t)
	profile, err := scheduler.NewProfile(scheduler.ProfileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	covered := map[string]int{}
	for i := range *clusters {
		c := &evictions{u: u, profile: profile, g: gen{rand.New(rand.NewPCG(*seed+uint64(i), 1))}, covered: covered, nominated: map[string]*corev1.Pod{}}
		if err := c.run(t.Context()); err != nil {
			t.Fatalf("cluster of seed %d: %v", *seed+uint64(i), err)
		}
	}
	t.Logf("in %d clusters: %v", *clusters, covered)
	for _, name := range []string{"preempted", "not helpful", "with violations", "several victims", "chosen among several", "with claims", "waits", "took its nominated node"} {
		if covered[name] == 0 {
			t.Errorf("%s: none in this run", name)
		}
	}
}

// evictions is one cluster, as both see it.
type evictions struct {
	groups  []*schedulingv1beta1.PodGroup
	u       *upstream
	profile *scheduler.Profile
	g       gen
	covered map[string]int

	nodes     []*corev1.Node
	placed    []*corev1.Pod
	nominated map[string]*corev1.Pod // by name; the node is in the status
	budgets   []*policyv1.PodDisruptionBudget
}

func (c *evictions) run(ctx context.Context) error {
	for i := range 1 + c.g.IntN(pick(c.g, 2, 5, 12)) {
		n := c.g.node(fmt.Sprintf("node-%d", i))
		if c.g.chance(70) {
			n.Spec.Taints, n.Spec.Unschedulable = nil, false
		}
		c.nodes = append(c.nodes, n)
	}
	for i := range c.g.IntN(5) {
		c.budgets = append(c.budgets, c.g.budget(fmt.Sprintf("budget-%d", i)))
	}
	for i := range 5 + c.g.IntN(30) {
		pod := c.pod(fmt.Sprintf("pod-%d", i))
		if len(c.groups) > 0 && c.g.chance(50) {
			join(pod, pick(c.g, c.groups...))
		}
		if a, err := c.profile.Schedule(c.snapshot(), pod, c.g.Rand); err == nil {
			c.place(pod, a.Node)
		}
	}
	for i := range 8 {
		pod := c.pod(fmt.Sprintf("preemptor-%d", i))
		if c.g.chance(30) && len(c.nominated) > 0 {
			pod = c.nominated[pickKey(c.g, c.nominated)]
		}
		if err := c.compare(ctx, pod); err != nil {
			text, _ := json.Marshal(pod)
			return fmt.Errorf("%w\npod: %s\n%s", err, text, c.describe())
		}
	}
	return nil
}

func pickKey(g gen, m map[string]*corev1.Pod) string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return pick(g, keys...)
}

func (c *evictions) pod(name string) *corev1.Pod {
	p := c.g.pod(name)
	p.Spec.Volumes, p.Spec.Tolerations = nil, append(p.Spec.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists})
	priority := pick[int32](c.g, -5, 0, 10, 20)
	if strings.HasPrefix(name, "preemptor") {
		priority = pick[int32](c.g, 10, 20, 30, 40)
	}
	p.Spec.Priority = &priority
	if c.g.chance(5) {
		never := corev1.PreemptNever
		p.Spec.PreemptionPolicy = &never
	}
	if c.g.chance(50) {
		p.Spec.Affinity, p.Spec.TopologySpreadConstraints = nil, nil
	}
	withoutEmptySelectors(p)
	return p
}

// withoutEmptySelectors drops spread constraints whose selector is empty: they count no pods, but for those that
// upstream adds while it asks what-if questions.
func withoutEmptySelectors(p *corev1.Pod) {
	p.Spec.TopologySpreadConstraints = slices.DeleteFunc(p.Spec.TopologySpreadConstraints, func(s corev1.TopologySpreadConstraint) bool {
		return s.LabelSelector == nil || len(s.LabelSelector.MatchLabels)+len(s.LabelSelector.MatchExpressions)+len(s.MatchLabelKeys) == 0
	})
}

func (c *evictions) place(pod *corev1.Pod, node string) {
	placed := pod.DeepCopy()
	placed.Spec.NodeName = node
	start := metav1.NewTime(time.Unix(int64(1000+c.g.IntN(6)), 0))
	placed.Status = corev1.PodStatus{StartTime: &start}
	c.placed = append(c.placed, placed)
	delete(c.nominated, pod.Name)
}

func (g gen) budget(name string) *policyv1.PodDisruptionBudget {
	b := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: pick(g, "default", "prod", "test"), Name: name}}
	b.Spec.Selector = g.labelSelector()
	b.Status.DisruptionsAllowed = int32(g.IntN(3))
	if g.chance(30) {
		b.Status.DisruptedPods = map[string]metav1.Time{fmt.Sprintf("pod-%d", g.IntN(30)): metav1.Now()}
	}
	return b
}

func (c *evictions) snapshot() *scheduler.Snapshot {
	b := scheduler.NewSnapshot(c.nodes, c.placed).Edit()
	for _, ns := range someNamespaces() {
		b.SetNamespace(ns.Name, ns.Labels)
	}
	for _, pdb := range c.budgets {
		b.SetObject(pdb)
	}
	for _, g := range c.groups {
		b.SetObject(g)
	}
	for _, p := range c.nominated {
		b.Nominate(scheduler.NewPodInfo(p), p.Status.NominatedNodeName)
	}
	return b.Snapshot()
}

func (c *evictions) compare(ctx context.Context, pod *corev1.Pod) error {
	want, err := c.u.preempt(ctx, c, pod)
	if err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	a, room, err := c.profile.PlaceOrPreempt(c.snapshot(), scheduler.NewPodInfo(pod), c.g.Rand)
	var fit *scheduler.FitError
	switch {
	case err == nil && want.feasible[a.Node]:
		if want.nominated {
			c.covered["took its nominated node"]++
		}
		c.place(pod, a.Node)
		return nil
	case err == nil:
		return fmt.Errorf("we choose %s; upstream says %q", a.Node, want.message)
	case !errors.As(err, &fit):
		return err
	case len(want.feasible) > 0:
		return fmt.Errorf("we say %q; upstream finds %v feasible", err, want.feasible)
	case len(want.candidates) == 0:
		return c.compareRefusal(fit, room, want)
	}
	return c.compareChoice(pod, fit, room, want)
}

func (c *evictions) compareRefusal(fit *scheduler.FitError, room scheduler.PostFilterResult, want *rescue) error {
	if room.Nominate != "" {
		return fmt.Errorf("we nominate %s; upstream says %q", room.Nominate, want.message)
	}
	// Of two refusals, with and without the nominated pods in place, upstream tells the first, we the second.
	if fit.PostFilter != want.message && len(c.nominated) == 0 {
		return fmt.Errorf("we say %q\nupstream %q", fit.PostFilter, want.message)
	}
	c.covered["not helpful"]++
	if strings.HasSuffix(want.message, "terminating pod on the nominated node.") {
		c.covered["waits"]++
	}
	return nil
}

func (c *evictions) compareChoice(pod *corev1.Pod, fit *scheduler.FitError, room scheduler.PostFilterResult, want *rescue) error {
	theirs := want.candidates[room.Nominate]
	if theirs == nil {
		return fmt.Errorf("we nominate %q and say %q; upstream's candidates are %v, the best %s", room.Nominate, fit.PostFilter, names(want.candidates), want.best)
	}
	var ours []string
	for _, v := range room.Victims {
		ours = append(ours, v.Pod.Name)
	}
	got := podNames(theirs.Pods)
	if len(c.groups) > 0 { // upstream has the pods of a group in any order
		slices.Sort(ours)
		slices.Sort(got)
	}
	if !slices.Equal(ours, got) {
		return fmt.Errorf("on %s we evict %v, upstream %v", room.Nominate, ours, got)
	}
	if harm, least := harmOf(theirs), harmOf(want.candidates[want.best]); harm != least {
		return fmt.Errorf("we choose %s, whose harm is %+v; upstream chooses %s with %+v", room.Nominate, harm, want.best, least)
	}
	text := fmt.Sprintf("preemption: found a potential placement for pod on node %s, preempting %d victims", room.Nominate, len(room.Victims))
	if fit.PostFilter != text {
		return fmt.Errorf("we say %q", fit.PostFilter)
	}
	c.count(want, theirs)
	c.evict(pod, room)
	return nil
}

func (c *evictions) count(want *rescue, chosen *extenderv1.Victims) {
	for name, ok := range map[string]bool{
		"preempted": true, "with violations": chosen.NumPDBViolations > 0, "several victims": len(chosen.Pods) > 1,
		"chosen among several": len(want.candidates) > 1, "with claims": len(c.nominated) > 0,
	} {
		if ok {
			c.covered[name]++
		}
	}
}

// evict carries out what was decided; some victims take their time.
func (c *evictions) evict(pod *corev1.Pod, room scheduler.PostFilterResult) {
	waiting := pod.DeepCopy()
	waiting.Status.NominatedNodeName = room.Nominate
	// Upstream overlooks what a nominated pod has against others as long as no placed pod has such a rule:
	// InterPodAffinity is skipped then. We don't.
	if a := pod.Spec.Affinity; a == nil || a.PodAntiAffinity == nil || a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		c.nominated[pod.Name] = waiting
	}
	slow := c.g.chance(30)
	for _, v := range room.Victims {
		i := slices.IndexFunc(c.placed, func(p *corev1.Pod) bool { return p.Name == v.Pod.Name })
		if slow {
			ending, now := c.placed[i].DeepCopy(), metav1.Now()
			ending.DeletionTimestamp = &now
			ending.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonPreemptionByScheduler}}
			c.placed[i] = ending
		} else {
			c.placed = slices.Delete(c.placed, i, i+1)
		}
	}
}

func podNames(pods []*corev1.Pod) (out []string) {
	for _, p := range pods {
		out = append(out, p.Name)
	}
	return out
}

func names(m map[string]*extenderv1.Victims) (out []string) {
	for n, v := range m {
		out = append(out, fmt.Sprintf("%s %v", n, podNames(v.Pods)))
	}
	slices.Sort(out)
	return out
}

func (c *evictions) describe() (out string) {
	for _, n := range c.nodes {
		text, _ := json.Marshal(n)
		out += fmt.Sprintf("node: %s\n", text)
	}
	for _, p := range c.placed {
		text, _ := json.Marshal(p)
		out += fmt.Sprintf("placed: %s\n", text)
	}
	for _, p := range c.nominated {
		text, _ := json.Marshal(p)
		out += fmt.Sprintf("nominated: %s\n", text)
	}
	return out
}
