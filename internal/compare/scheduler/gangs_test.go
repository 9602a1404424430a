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
	"k8s.io/apimachinery/pkg/types"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
	"k8s.io/kubernetes/pkg/features"

	"github.com/inboard/inboard/scheduler"
)

// TestSameGangs: of random groups both place the same ones, pod by pod on one of upstream's best nodes, and say the
// same of those that they don't place. For these both make room in the same way: no victim differs.
func TestSameGangs(t *testing.T) {
	featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, features.GenericWorkload, true)
	u := newUpstream(t)
	profile, err := scheduler.NewProfile(scheduler.ProfileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	covered := map[string]int{}
	for i := range *clusters {
		c := &gangs{u: u, profile: profile, g: gen{rand.New(rand.NewPCG(*seed+uint64(i), 2))}, covered: covered}
		if err := c.run(t.Context()); err != nil {
			t.Fatalf("cluster of seed %d: %v", *seed+uint64(i), err)
		}
	}
	t.Logf("in %d clusters: %v", *clusters, covered)
	for _, name := range []string{"placed", "placed in another order", "placed without all", "too few pods", "made room", "several victims", "no victims",
		"not helpful", "never", "groups that end together", "violations"} {
		if covered[name] == 0 {
			t.Errorf("%s: none in this run", name)
		}
	}
}

// TestSamePreemptionsOfGroups is TestSamePreemptions where pods are of groups, some of which end together.
func TestSamePreemptionsOfGroups(t *testing.T) {
	featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, features.GenericWorkload, true)
	u := newUpstream(t)
	profile, err := scheduler.NewProfile(scheduler.ProfileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	covered := map[string]int{}
	for i := range *clusters {
		c := &evictions{u: u, profile: profile, g: gen{rand.New(rand.NewPCG(*seed+uint64(i), 3))}, covered: covered, nominated: map[string]*corev1.Pod{}}
		for j := range 5 {
			c.groups = append(c.groups, c.g.podGroup(fmt.Sprintf("group-%d", j), pick[int32](c.g, -5, 0, 10, 20)))
		}
		if err := c.run(t.Context()); err != nil {
			t.Fatalf("cluster of seed %d: %v", *seed+uint64(i), err)
		}
	}
	t.Logf("in %d clusters: %v", *clusters, covered)
	if covered["several victims"] == 0 || covered["with violations"] == 0 {
		t.Error("no several victims, or no violations")
	}
}

// gangs is one cluster, as both see it.
type gangs struct {
	u       *upstream
	profile *scheduler.Profile
	g       gen
	covered map[string]int

	nodes   []*corev1.Node
	placed  []*corev1.Pod
	groups  []*schedulingv1beta1.PodGroup
	budgets []*policyv1.PodDisruptionBudget
	started int
}

func (c *gangs) run(ctx context.Context) error {
	for i := range 1 + c.g.IntN(pick(c.g, 2, 5, 12)) {
		n := c.g.node(fmt.Sprintf("node-%d", i))
		n.Spec.Taints, n.Spec.Unschedulable = nil, false
		n.Status.Images = nil // upstream's copies of nodes forget how many have them, while it looks for victims
		c.nodes = append(c.nodes, n)
	}
	// With several budgets for one pod it matters in which order they are looked at; upstream has none.
	for _, ns := range someNamespaces() {
		if b := c.g.budget("budget"); c.g.chance(50) {
			b.Namespace = ns.Name
			c.budgets = append(c.budgets, b)
		}
	}
	for i := range 4 {
		c.groups = append(c.groups, c.g.podGroup(fmt.Sprintf("old-%d", i), pick[int32](c.g, 0, 10, 20)))
	}
	for i := range 5 + c.g.IntN(30) {
		pod := c.pod(fmt.Sprintf("pod-%d", i))
		if c.g.chance(40) {
			join(pod, pick(c.g, c.groups...))
		}
		if a, err := c.profile.Schedule(c.snapshot(), pod, c.g.Rand); err == nil {
			c.place(pod, a.Node)
		}
	}
	for i := range 5 {
		if err := c.compare(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (g gen) podGroup(name string, priority int32) *schedulingv1beta1.PodGroup {
	x := &schedulingv1beta1.PodGroup{ObjectMeta: metav1.ObjectMeta{Namespace: pick(g, "default", "prod", "test"), Name: name, UID: "group"}}
	x.Spec.Priority = &priority
	x.Spec.SchedulingPolicy.Gang = &schedulingv1beta1.GangSchedulingPolicy{MinCount: 1}
	switch g.IntN(3) {
	case 0:
		x.Spec.DisruptionMode = &schedulingv1beta1.DisruptionMode{All: &schedulingv1beta1.AllDisruptionMode{}}
	case 1:
		x.Spec.DisruptionMode = &schedulingv1beta1.DisruptionMode{Single: &schedulingv1beta1.SingleDisruptionMode{}}
	}
	return x
}

func (c *gangs) pod(name string) *corev1.Pod {
	p := c.g.pod(name)
	p.Spec.Volumes = nil
	priority := pick[int32](c.g, -5, 0, 10, 20)
	p.Spec.Priority = &priority
	p.Spec.PreemptionPolicy = nil
	withoutEmptySelectors(p)
	if c.g.chance(60) {
		p.Spec.Affinity, p.Spec.TopologySpreadConstraints = nil, nil
	}
	return p
}

func join(pod *corev1.Pod, g *schedulingv1beta1.PodGroup) {
	pod.Namespace, pod.Spec.Priority = g.Namespace, g.Spec.Priority
	pod.Spec.SchedulingGroup = &corev1.PodSchedulingGroup{PodGroupName: &g.Name}
}

// place lets a pod start at a time of its own: of those that started together upstream takes any.
func (c *gangs) place(pod *corev1.Pod, node string) {
	placed := pod.DeepCopy()
	placed.Spec.NodeName = node
	// While no placed pod has such a rule upstream skips InterPodAffinity, and then overlooks the rules of the
	// victims that it brings back, as it does with those of nominated pods. We don't.
	if a := placed.Spec.Affinity; a != nil && a.PodAntiAffinity != nil {
		a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution = nil
	}
	c.started++
	start := metav1.NewTime(time.Unix(int64(1000+(c.started*7919)%997), 0))
	placed.Status = corev1.PodStatus{StartTime: &start}
	c.placed = append(c.placed, placed)
}

func (c *gangs) snapshot() *scheduler.Snapshot {
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
	return b.Snapshot()
}

// gang makes the pods of a new group, most of them alike.
func (c *gangs) gang(i int) (*schedulingv1beta1.PodGroup, []*corev1.Pod, bool) {
	g := c.g.podGroup(fmt.Sprintf("new-%d", i), pick[int32](c.g, 10, 20, 30, 40))
	c.groups = append(c.groups, g)
	alike := c.g.chance(50)
	never := corev1.PreemptNever
	patient := c.g.chance(7)
	var pods []*corev1.Pod
	for j := range 1 + c.g.IntN(6) {
		pod := c.pod(fmt.Sprintf("new-%d-%d", i, j))
		if alike && j > 0 {
			pod = pods[0].DeepCopy()
			pod.Name = fmt.Sprintf("new-%d-%d", i, j)
			pod.UID = types.UID("uid-" + pod.Name)
		}
		if join(pod, g); patient {
			pod.Spec.PreemptionPolicy = &never
		}
		pods = append(pods, pod)
	}
	g.Spec.SchedulingPolicy.Gang.MinCount = int32(1 + c.g.IntN(len(pods)))
	if !alike && c.g.chance(30) {
		c.oneByNode(g, pods)
	}
	if c.g.chance(5) {
		g.Spec.SchedulingPolicy.Gang.MinCount = int32(len(pods) + 1)
	}
	return g, pods, alike
}

// oneByNode makes all pods of a group necessary and lets each be alone on a node, the last one on a certain node: the
// others may take that from it.
func (c *gangs) oneByNode(g *schedulingv1beta1.PodGroup, pods []*corev1.Pod) {
	g.Spec.SchedulingPolicy.Gang.MinCount = int32(len(pods))
	for i, p := range pods {
		p.Spec = corev1.PodSpec{SchedulingGroup: p.Spec.SchedulingGroup, Priority: p.Spec.Priority, PreemptionPolicy: p.Spec.PreemptionPolicy}
		p.Spec.Containers = []corev1.Container{{Name: "c", Ports: []corev1.ContainerPort{{ContainerPort: 1, HostPort: 9999}}}}
		if i == len(pods)-1 {
			p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: pick(c.g, c.nodes...).Name}
		}
	}
}

func (c *gangs) compare(ctx context.Context, i int) error {
	ctx, cancel := context.WithCancel(ctx) // upstream's framework has a goroutine until then
	defer cancel()
	group, pods, alike := c.gang(i)
	err := c.compareGroup(ctx, group, pods, alike)
	if err == nil {
		return nil
	}
	text, _ := json.Marshal(pods)
	out := fmt.Sprintf("group: %+v\npods: %s\n", group.Spec, text)
	return fmt.Errorf("%w\n%s%s", err, out, (&evictions{nodes: c.nodes, placed: c.placed}).describe())
}

func (c *gangs) compareGroup(ctx context.Context, group *schedulingv1beta1.PodGroup, pods []*corev1.Pod, alike bool) error {
	s, choices := c.snapshot(), c.g.Uint64()
	ours, room, err := c.profile.PlaceGroupOrPreempt(s, pods, rand.New(rand.NewPCG(choices, 0)))
	if err != nil {
		return err
	}
	// The same choices once more, one pod after the other.
	again := rand.New(rand.NewPCG(choices, 0))
	plan := c.plan(s, group, pods, again)
	up, err := c.u.gang(ctx, c, group, pods)
	if err != nil {
		return err
	}
	_, status, err := up.follow(ctx, plan)
	if err != nil {
		return fmt.Errorf("plan %v: %w", plan, err)
	}
	var few *scheduler.GangError
	failed := slices.ContainsFunc(ours, func(o scheduler.Outcome) bool { return errors.As(o.Err, &few) })
	bound := slices.ContainsFunc(ours, func(o scheduler.Outcome) bool { return o.Err == nil })
	switch {
	case status.IsSuccess() && bound:
		return c.placedAsPlanned(ours, plan)
	case bound && !alike:
		c.covered["placed in another order"]++
		return up.holds(ctx, ours)
	case bound:
		return fmt.Errorf("we place the group; upstream says %q", status.Message())
	case status.IsSuccess():
		return fmt.Errorf("upstream places the group; we say %v", ours)
	case !alike:
		return nil // our plan may be another one
	}
	if failed && !strings.HasPrefix(few.Error(), status.Message()) {
		return fmt.Errorf("we say %q; upstream %q", few, status.Message())
	}
	return c.compareRoom(ctx, up, room, few, again)
}

func (c *gangs) placedAsPlanned(ours []scheduler.Outcome, plan []string) error {
	c.covered["placed"]++
	for i, o := range ours {
		if o.Err == nil && o.Node != plan[i] || o.Err != nil && plan[i] != "" {
			return fmt.Errorf("%s: %s, %v; not as the single pods: %v", o.Pod.Name, o.Node, o.Err, plan)
		}
		if o.Err == nil {
			c.place(o.Pod, o.Node)
		} else {
			c.covered["placed without all"]++
		}
	}
	return nil
}

// plan places the pods one by one: the node of each, or nothing. It ends when too few are left.
func (c *gangs) plan(s *scheduler.Snapshot, group *schedulingv1beta1.PodGroup, pods []*corev1.Pod, random *rand.Rand) (plan []string) {
	b, fits := s.Edit(), 0
	for i, pod := range pods {
		if fits+len(pods)-i < int(group.Spec.SchedulingPolicy.Gang.MinCount) {
			break
		}
		info := scheduler.NewPodInfo(pod)
		a, err := c.profile.Place(b.Snapshot(), info, random)
		if err == nil {
			b.AddPod(info, a.Node)
			fits++
		}
		plan = append(plan, a.Node)
	}
	return plan
}

// compareRoom compares what would make room for a group that does not fit.
func (c *gangs) compareRoom(ctx context.Context, up *upstreamGang, room scheduler.PodGroupPostFilterResult, few *scheduler.GangError, random *rand.Rand) error {
	b := c.snapshot().Edit()
	for _, p := range c.placed {
		if c.priority(p) < *up.group.Spec.Priority {
			b.RemovePod(scheduler.NewPodInfo(p).Key, p.Spec.NodeName)
		}
	}
	plan := c.plan(b.Snapshot(), up.group, up.pods, random)
	victims, message, err := up.preempt(ctx, plan)
	if err != nil {
		return fmt.Errorf("with room, plan %v: %w", plan, err)
	}
	for _, n := range room.Nominate {
		if i := slices.Index(up.pods, n.Pod.Pod); plan[i] != n.Node {
			return fmt.Errorf("we nominate %s for %s; with room for all single pods go to %v", n.Node, n.Pod.Pod.Name, plan)
		}
	}
	var ours []string
	violated := false
	for _, v := range room.Victims {
		ours = append(ours, v.Pod.Pod.Name)
	}
	if few != nil && few.PostFilter != message {
		return fmt.Errorf("plan %v: we say %q, evicting %v\nupstream %q, %v", plan, few.PostFilter, ours, message, victims)
	}
	if slices.Sort(ours); !slices.Equal(ours, victims) {
		return fmt.Errorf("plan %v: we evict %v, upstream %v", plan, ours, victims)
	}
	for _, v := range room.Victims {
		violated = violated || slices.ContainsFunc(c.budgets, func(b *policyv1.PodDisruptionBudget) bool {
			return b.Namespace == v.Pod.Pod.Namespace && b.Status.DisruptionsAllowed == 0
		})
	}
	c.count(message, room, violated)
	if len(room.Victims) > 0 {
		c.placed = slices.DeleteFunc(c.placed, func(p *corev1.Pod) bool { return slices.Contains(victims, p.Name) })
		for _, n := range room.Nominate {
			c.place(n.Pod.Pod, n.Node)
		}
	}
	return nil
}

func (c *gangs) priority(p *corev1.Pod) int32 {
	if g := p.Spec.SchedulingGroup; g != nil {
		for _, group := range c.groups {
			if group.Name == *g.PodGroupName && group.Namespace == p.Namespace {
				return *group.Spec.Priority
			}
		}
	}
	return *p.Spec.Priority
}

func (c *gangs) count(message string, room scheduler.PodGroupPostFilterResult, violated bool) {
	together := slices.ContainsFunc(room.Victims, func(v scheduler.Victim) bool {
		return v.Pod.Pod.Spec.SchedulingGroup != nil && slices.ContainsFunc(c.groups, func(g *schedulingv1beta1.PodGroup) bool {
			return g.Name == *v.Pod.Pod.Spec.SchedulingGroup.PodGroupName && g.Spec.DisruptionMode != nil && g.Spec.DisruptionMode.All != nil
		})
	})
	for name, ok := range map[string]bool{
		"made room": len(room.Victims) > 0, "several victims": len(room.Victims) > 1, "groups that end together": together, "violations": violated,
		"no victims":   strings.HasSuffix(message, "No preemption victims found for incoming preemptor"),
		"never":        strings.HasSuffix(message, "preemptionPolicy=Never."),
		"not helpful":  strings.Contains(message, "preemption: minCount"),
		"too few pods": strings.Contains(message, "cannot be satisfied: 0 scheduled") && len(room.Victims) == 0,
	} {
		if ok {
			c.covered[name]++
		}
	}
}
