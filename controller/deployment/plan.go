package deployment

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// State is what a deployment's next step depends on.
type State struct {
	Deployment *appsv1.Deployment
	// Sets are the ReplicaSets that the deployment controls.
	Sets []*appsv1.ReplicaSet
	// Pods returns the pods of a set; only the Recreate strategy asks.
	Pods func(set types.UID) []*corev1.Pod
	Now  time.Time
}

// Plan is the next step. At most one of Create and Scale is a change of size: the next step follows
// when the world shows this one.
type Plan struct {
	// Create is a new set to create.
	Create *appsv1.ReplicaSet
	// Update are the new states of sets that change.
	Update []Change
	// Delete are old sets that the history has no room for.
	Delete []*appsv1.ReplicaSet
	// Annotations is the deployment's annotations, when they change.
	Annotations map[string]string
	// Status is the deployment's status after the step.
	Status appsv1.DeploymentStatus
	// After is when time alone makes a difference, 0 for never.
	After time.Duration
}

// Change is an update of a set.
type Change struct {
	Set *appsv1.ReplicaSet // the caller's own copy, changed
	// From is how many replicas it had.
	From int32
}

// Message returns the text of the ScalingReplicaSet event, empty when the size stays.
func (c Change) Message() string { return scaledMessage(c.Set.Name, c.From, replicasOf(c.Set)) }

func scaledMessage(name string, from, to int32) string {
	direction := "up"
	if to < from {
		direction = "down"
	}
	if to == from {
		return ""
	}
	return fmt.Sprintf("Scaled %s replica set %s from %d to %d", direction, name, from, to)
}

// Decide returns the next step of a deployment's life.
func Decide(s State) Plan {
	p := &planner{d: s.Deployment, state: s, changed: map[types.UID]*Change{}}
	p.current, p.old = split(s.Deployment, s.Sets)
	switch {
	case s.Deployment.DeletionTimestamp != nil:
	case s.Deployment.Spec.Paused || p.mustScale():
		p.revise(false)
		p.scale()
		if s.Deployment.Spec.Paused {
			p.cleanup()
		}
	default:
		p.rollout()
		p.cleanup()
	}
	return p.finish()
}

// planner collects a Plan.
type planner struct {
	d       *appsv1.Deployment
	state   State
	current *appsv1.ReplicaSet // nil when there is none yet
	old     []*appsv1.ReplicaSet
	changed map[types.UID]*Change
	plan    Plan
	created bool
}

// edit returns the copy of rs that the plan changes.
func (p *planner) edit(rs *appsv1.ReplicaSet) *appsv1.ReplicaSet {
	if rs == p.plan.Create {
		return rs
	}
	c, ok := p.changed[rs.UID]
	if !ok {
		c = &Change{Set: rs.DeepCopy(), From: replicasOf(rs)}
		p.changed[rs.UID] = c
	}
	return c.Set
}

// resize plans n replicas for rs, which may be none of the plan's copies.
func (p *planner) resize(rs *appsv1.ReplicaSet, n int32) bool {
	n = max(0, n)
	if rs == nil || n == replicasOf(rs) {
		return false
	}
	e := p.edit(rs)
	e.Spec.Replicas = &n
	setDesired(p.d, e)
	return true
}

func (p *planner) all() []*appsv1.ReplicaSet {
	if p.current == nil {
		return p.old
	}
	return append(slices.Clone(p.old), p.current)
}

// mustScale tells that the deployment's size changed since its sets were scaled last: the change
// is spread over all of them before a rollout goes on.
func (p *planner) mustScale() bool {
	sets := active(p.all())
	if !isRolling(p.d) && len(sets) > 1 {
		return false // all but one are about to stop
	}
	for _, rs := range sets {
		if n, ok := intAnnotation(rs, annotationDesired); ok && n != int64(desiredOf(p.d)) {
			return true
		}
	}
	return false
}

// revise gives the present set its revision, and makes the set if need be.
func (p *planner) revise(create bool) {
	revision := lastRevision(p.old) + 1
	switch {
	case p.current != nil:
		p.reviseCurrent(revision)
	case create:
		p.current = newSet(p.d, revision)
		p.plan.Create, p.created = p.current, true
	default:
		return
	}
	shown := strconv.FormatInt(max(revision, revisionOf(p.current)), 10)
	if p.d.Annotations[annotationRevision] != shown {
		p.plan.Annotations = maps.Clone(p.d.Annotations)
		if p.plan.Annotations == nil {
			p.plan.Annotations = map[string]string{}
		}
		p.plan.Annotations[annotationRevision] = shown
	}
}

func (p *planner) reviseCurrent(revision int64) {
	c := p.current.DeepCopy()
	annotate(p.d, c, revision)
	c.Spec.MinReadySeconds = p.d.Spec.MinReadySeconds
	if c.Spec.MinReadySeconds == p.current.Spec.MinReadySeconds && maps.Equal(c.Annotations, p.current.Annotations) {
		return
	}
	p.changed[c.UID] = &Change{Set: c, From: replicasOf(p.current)}
}

// rollout is one step towards the present template.
func (p *planner) rollout() {
	if isRolling(p.d) {
		p.revise(true)
		if !p.growCurrent() {
			p.shrinkOld()
		}
	} else {
		p.recreate()
	}
	for _, rs := range active(p.all()) { // sets whose size is right must know for which size it is
		if e := rs.DeepCopy(); p.changed[rs.UID] == nil && rs != p.plan.Create && setDesired(p.d, e) {
			setDesired(p.d, p.edit(rs))
		}
	}
}

// growCurrent gives the present set as many replicas as the surge leaves room for.
func (p *planner) growCurrent() bool {
	want, have := desiredOf(p.d), replicasOf(p.current)
	if have > want {
		return p.resize(p.current, want)
	}
	if slices.ContainsFunc(p.old, behind) {
		return false
	}
	room := want + maxSurge(p.d) - sum(p.all(), presentOf)
	return room > 0 && p.resize(p.current, min(want, have+room))
}

// shrinkOld takes replicas from old sets, first those that are not available anyway, as long as
// enough stay available.
func (p *planner) shrinkOld() bool {
	least := desiredOf(p.d) - maxUnavailable(p.d)
	missing := replicasOf(p.current) - availableOf(p.current)
	budget := sum(p.all(), replicasOf) - least - missing
	if budget <= 0 || len(active(p.old)) == 0 {
		return false
	}
	size := map[types.UID]int32{}
	for _, rs := range p.old {
		broken := min(budget, replicasOf(rs)-availableOf(rs))
		size[rs.UID] = replicasOf(rs) - broken
		budget -= broken
	}
	spare := min(budget, sum(p.all(), availableOf)-least)
	for _, rs := range p.old {
		n := max(0, min(spare, size[rs.UID]))
		size[rs.UID] -= n
		spare -= n
	}
	shrunk := false
	for _, rs := range p.old {
		shrunk = p.resize(rs, size[rs.UID]) || shrunk
	}
	return shrunk
}

// recreate stops all old pods before the first new one starts.
func (p *planner) recreate() {
	p.revise(false)
	stopped := true
	for _, rs := range p.old {
		stopped = !p.resize(rs, 0) && stopped
	}
	if !stopped || p.oldPodsRun() {
		return
	}
	p.revise(true)
	p.resize(p.current, desiredOf(p.d))
}

func (p *planner) oldPodsRun() bool {
	for _, rs := range p.old {
		if rs.Status.Replicas > 0 || behind(rs) {
			return true
		}
		if p.state.Pods == nil {
			continue
		}
		for _, pod := range p.state.Pods(rs.UID) {
			if pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
				return true
			}
		}
	}
	return false
}

// cleanup drops the oldest of the old sets that are done, beyond revisionHistoryLimit, once the
// deployment is complete.
func (p *planner) cleanup() {
	if p.d.Spec.RevisionHistoryLimit == nil || *p.d.Spec.RevisionHistoryLimit == math.MaxInt32 {
		return
	}
	status := p.counts()
	if !complete(p.d, &status) {
		return
	}
	var done []*appsv1.ReplicaSet
	for _, rs := range p.old {
		if rs.DeletionTimestamp == nil {
			done = append(done, rs)
		}
	}
	excess := len(done) - int(*p.d.Spec.RevisionHistoryLimit)
	slices.SortStableFunc(done, func(a, b *appsv1.ReplicaSet) int {
		return int(max(-1, min(1, revisionOf(a)-revisionOf(b))))
	})
	for _, rs := range done[:max(0, excess)] {
		if rs.Status.Replicas == 0 && replicasOf(rs) == 0 && rs.Generation <= rs.Status.ObservedGeneration {
			p.plan.Delete = append(p.plan.Delete, rs)
		}
	}
}

func (p *planner) finish() Plan {
	for _, rs := range p.all() {
		if c := p.changed[rs.UID]; c != nil {
			p.plan.Update = append(p.plan.Update, *c)
		}
	}
	p.plan.Status, p.plan.After = p.status()
	return p.plan
}
