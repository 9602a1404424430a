package scheduler

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// ScheduleAll places pods one after the other, each with the earlier ones counted in, and returns the
// snapshot in which all that fit are on their nodes. The pods are taken in the given order, but that the pods of a
// gang are placed together, when the first one's turn comes: see GangScheduling, and Builder.SetObject for PodGroups.
func (p *Profile) ScheduleAll(s *Snapshot, pods []*corev1.Pod, random *rand.Rand) ([]Outcome, *Snapshot) {
	out := make([]Outcome, len(pods))
	b := s.Edit()
	done := map[string]bool{}
	for i, pod := range pods {
		out[i].Pod = pod
		key := groupKey(pod)
		if key == "" || p.plugins[NameGangScheduling] == nil {
			out[i].Assignment, out[i].Err = p.placeOn(b, NewPodInfo(pod), random)
			continue
		}
		if done[key] {
			continue
		}
		done[key] = true
		var members []*Outcome
		for j := i; j < len(pods); j++ {
			if groupKey(pods[j]) == key {
				out[j].Pod = pods[j]
				members = append(members, &out[j])
			}
		}
		b = p.scheduleGroup(b, members, random)
	}
	return out, b.Snapshot()
}

// placeOn places one pod, and counts it in.
func (p *Profile) placeOn(b *Builder, info *PodInfo, random *rand.Rand) (Assignment, error) {
	// The builder's own state may be read while it is not being changed.
	c := Cycle{Pod: info, Snapshot: &b.s, Random: random}
	pl, err := p.place(c, false)
	if err == nil {
		err = p.setAside(b, c, pl.Node, pl.states)
	}
	if err != nil {
		return Assignment{}, err
	}
	b.AddPod(info, pl.Node)
	return pl.Assignment, nil
}

// scheduleGroup places the pods of one group on b, or none of them, and returns the builder to go on with.
func (p *Profile) scheduleGroup(b *Builder, members []*Outcome, random *rand.Rand) *Builder {
	group, status := podGroupOf(&b.s, members[0].Pod)
	if status != nil {
		for _, m := range members {
			m.Err = &FitError{Pod: m.Pod, NumAllNodes: b.s.Len(), PreFilter: &Verdict{Plugin: NameGangScheduling, Status: status}}
		}
		return b
	}
	infos, of := make([]*PodInfo, len(members)), map[*PodInfo]*Outcome{}
	for i, m := range members {
		infos[i] = NewPodInfo(m.Pod)
		of[infos[i]] = m
	}
	t := p.tryGroup(b, group, infos, random)
	for i, info := range t.pods {
		of[info].Assignment, of[info].Err = t.assignments[i], t.errs[i]
	}
	if t.err == nil {
		return t.with
	}
	for _, m := range members {
		if m.Assignment = (Assignment{}); m.Err == nil {
			m.Err = t.err
		}
	}
	return b
}

// groupTrial is what came of an attempt to place a group.
type groupTrial struct {
	// pods are in the order in which they were tried; assignments and errs are theirs.
	pods        []*PodInfo
	assignments []Assignment
	errs        []error
	// with is the state with the pods in place.
	with *Builder
	// err is not nil when they are too few, or something went wrong.
	err error
}

// tryGroup places the pods of a group one after the other and, if they are too few, once more in another order. The
// builder is only read.
func (p *Profile) tryGroup(b *Builder, group *schedulingv1beta1.PodGroup, pods []*PodInfo, random *rand.Rand) groupTrial {
	scheduled := membersOnNodes(&b.s, groupKey(pods[0].Pod))
	t := p.tryGroupOnce(b, group, scheduled, pods, random)
	if t.err == nil {
		return t
	}
	if again := pickyFirst(pods, t.errs, func(p *PodInfo) *corev1.PodSpec { return &p.Pod.Spec }); again != nil {
		return p.tryGroupOnce(b, group, scheduled, again, random)
	}
	return t
}

func (p *Profile) tryGroupOnce(b *Builder, group *schedulingv1beta1.PodGroup, scheduled int, pods []*PodInfo, random *rand.Rand) groupTrial {
	h := &headcount{min: minCount(group), scheduled: scheduled, remaining: len(pods)}
	t := groupTrial{pods: pods, assignments: make([]Assignment, len(pods)), errs: make([]error, len(pods)), with: b.s.Edit()}
	for i, m := range pods {
		if h.hopeless() {
			break
		}
		if t.errs[i] = sameRules(m, pods[0], group); t.errs[i] == nil {
			t.assignments[i], t.errs[i] = p.placeOn(t.with, m, random)
		}
		h.count(t.errs[i])
	}
	if !h.met() {
		t.err = h.err()
	}
	return t
}

func membersOnNodes(s *Snapshot, group string) (n int) {
	for node := range s.Nodes() {
		for _, p := range node.Pods {
			if groupKey(p.Pod) == group {
				n++
			}
		}
	}
	return n
}

// headcount counts while a group is being placed.
type headcount struct {
	min, scheduled, remaining int
	// failed is the first error that is no refusal: then nothing can be said about the group.
	failed error
}

func (t *headcount) count(err error) {
	t.remaining--
	var fit *FitError
	switch {
	case err == nil:
		t.scheduled++
	case !errors.As(err, &fit) && !errors.Is(err, ErrNoNodes):
		t.failed = err
	}
}

// hopeless tells that looking at the rest is of no use; met that enough pods have a node.
func (t *headcount) hopeless() bool { return t.failed != nil || t.scheduled+t.remaining < t.min }
func (t *headcount) met() bool      { return t.failed == nil && t.scheduled >= t.min }

// err is the error of the pods that have none of their own.
func (t *headcount) err() error {
	if t.failed != nil {
		return fmt.Errorf("failed to schedule other pod from a pod group: %w", t.failed)
	}
	return &GangError{MinCount: t.min, Scheduled: t.scheduled, Remaining: t.remaining}
}

// gangOf returns the group of a pod that is to be placed together with others. The error is that of a pod whose
// group has vanished since it was queued.
func (l *loop) gangOf(p *queuedPod, profile *Profile) (*schedulingv1beta1.PodGroup, error) {
	if p.Pod.Pod.Spec.SchedulingGroup == nil || profile.plugins[NameGangScheduling] == nil {
		return nil, nil
	}
	group, status := podGroupOf(&l.edit.s, p.Pod.Pod)
	if status != nil {
		return nil, &FitError{Pod: p.Pod.Pod, NumAllNodes: l.edit.s.Len(), PreFilter: &Verdict{Plugin: NameGangScheduling, Status: status}}
	}
	if minCount(group) <= l.membersPlaced(groupKey(p.Pod.Pod)) {
		return nil, nil // each pod of a group that is complete goes its own way
	}
	return group, nil
}

func (l *loop) membersPlaced(group string) (n int) {
	for key := range l.groups[group] {
		if l.placed[key] != nil {
			n++
		}
	}
	return n
}

// placeGang places a group of which one pod's turn has come: at least as many pods as it lacks, or none. All
// happens in one step of the loop; nobody sees the group half placed.
func (l *loop) placeGang(first *queuedPod, profile *Profile, group *schedulingv1beta1.PodGroup) {
	members := l.waitingMembers(first)
	cycles, errs, err := l.settleAll(members, profile, group)
	if err != nil {
		if again := pickyFirst(members, errs, func(m *queuedPod) *corev1.PodSpec { return &m.Pod.Pod.Spec }); again != nil {
			members = again
			cycles, errs, err = l.settleAll(members, profile, group)
		}
	}
	var room PodGroupPostFilterResult
	if few, ok := err.(*GangError); ok {
		var failed error
		if room, failed = l.roomForGang(members, profile, group, few); failed != nil {
			err = failed
		}
	}
	l.beganTogether(members)
	tell := map[*queuedPod]func(){}
	for i, m := range members {
		if why := cmp.Or(errs[i], err); why != nil {
			tell[m] = l.unplacedMember(m, profile, why)
		}
	}
	l.makeRoomForGang(members, group, room)
	for _, m := range members {
		if f := tell[m]; f != nil {
			f()
		}
	}
	for _, c := range cycles {
		l.goOn(c, l.permit(c))
	}
	l.reportGroup(group, err)
}

// roomForGang asks what would make room for a group.
func (l *loop) roomForGang(members []*queuedPod, profile *Profile, group *schedulingv1beta1.PodGroup, few *GangError) (PodGroupPostFilterResult, error) {
	c := &GroupCycle{Group: group, Snapshot: &l.edit.s, Handle: l.handle, Random: l.random}
	for _, m := range members {
		c.Pods = append(c.Pods, m.Pod)
	}
	began := l.handle.begin()
	room, err := profile.makeRoom(c, few)
	status := Unschedulable
	switch {
	case err != nil:
		status = Error
	case room.Ongoing || len(room.Nominate) > 0:
		status = 0
	}
	l.handle.ran("PodGroupPostFilter", members[0].Pod, status, began)
	return room, err
}

// makeRoomForGang evicts pods for a group that waits in the queue again, and nominates nodes for its pods. The first
// of these is tried again once the victims are gone, and the others with it. Earlier nominations end, also those of
// pods that a group can do without.
func (l *loop) makeRoomForGang(members []*queuedPod, group *schedulingv1beta1.PodGroup, room PodGroupPostFilterResult) {
	if room.Ongoing {
		return
	}
	for _, m := range members {
		l.edit.Denominate(m.Pod.Key)
		m.eviction = nil
	}
	for _, n := range room.Nominate {
		l.edit.Nominate(n.Pod, n.Node)
		l.displaceClaims(n.Pod, n.Node)
	}
	if len(room.Victims) == 0 {
		return
	}
	l.evictAll(members[0], group, room.Victims)
}

// settleAll puts the pods of a group on nodes, one after the other. An error says that they are too few; then all is
// as it was before.
func (l *loop) settleAll(members []*queuedPod, profile *Profile, group *schedulingv1beta1.PodGroup) (cycles []*bindingCycle, errs []error, _ error) {
	t := &headcount{min: minCount(group), scheduled: l.membersPlaced(groupKey(members[0].Pod.Pod)), remaining: len(members)}
	errs = make([]error, len(members))
	claims := map[*bindingCycle]claim{}
	for i, m := range members {
		if t.hopeless() {
			break
		}
		if errs[i] = sameRules(m.Pod, members[0].Pod, group); errs[i] == nil {
			var c *bindingCycle
			had := claim{l.edit.s.NominatedNode(m.Pod.Key), m.eviction}
			if c, errs[i] = l.settle(m, profile, had); errs[i] == nil {
				cycles = append(cycles, c)
				claims[c] = had
			}
		}
		t.count(errs[i])
	}
	if t.met() {
		return cycles, errs, nil
	}
	for _, c := range slices.Backward(cycles) {
		l.unsettle(c, claims[c])
	}
	return nil, errs, t.err()
}

// pickyFirst returns the pods that were refused before those that fit: these may have taken the only places of the
// others, and may have a choice. Nil means that another order is not worth a try.
func pickyFirst[T comparable](members []T, errs []error, spec func(T) *corev1.PodSpec) []T {
	refused := map[T]bool{}
	for i, err := range errs {
		if err != nil {
			refused[members[i]] = true
		}
	}
	again := slices.Clone(members)
	slices.SortStableFunc(again, func(a, b T) int {
		switch {
		case refused[a] && !refused[b]:
			return -1
		case refused[b] && !refused[a]:
			return 1
		}
		return 0
	})
	// Pods that ask for the same fit in any order, or in none.
	differ := slices.ContainsFunc(members, func(m T) bool { return !equality.Semantic.DeepEqual(spec(m), spec(members[0])) })
	if !differ || slices.Equal(again, members) {
		return nil
	}
	return again
}

// waitingMembers takes the pods out of the queue that are to be placed together with one that has left it, in the
// order of the queue. Those that have failed sit out their back-off, and those that something else keeps out stay.
func (l *loop) waitingMembers(first *queuedPod) []*queuedPod {
	out := []*queuedPod{first}
	first.choosing = 0
	now := time.Now()
	for key := range l.groups[groupKey(first.Pod.Pod)] {
		m := l.queue.pods[key]
		if m == nil || m == first || m.where == inGated || m.where == nowhere || m.failed && m.until.After(now) {
			continue
		}
		l.queue.take(m)
		l.queue.blame(m, nil)
		m.choosing = 0 // it may not come to its turn
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *queuedPod) int {
		switch {
		case l.queue.active.less(a, b):
			return -1
		case l.queue.active.less(b, a):
			return 1
		}
		return 0
	})
	return out
}

// sameRules returns what Kubernetes asks of the pods of a group.
func sameRules(m, first *PodInfo, group *schedulingv1beta1.PodGroup) error {
	a, b := &m.Pod.Spec, &first.Pod.Spec
	if a.SchedulerName != b.SchedulerName {
		return fmt.Errorf("all pods in a single pod group should have the same .spec.schedulerName set, got: %q and %q", a.SchedulerName, b.SchedulerName)
	}
	if p := groupPriority(group); p != m.Priority {
		return fmt.Errorf("all pods in a single pod group should have the same priority as the pod group's priority, got %d and %d", m.Priority, p)
	}
	if neverPreempting(m) != neverPreempting(first) {
		return fmt.Errorf("all pods in a single pod group should have the same preemption policy, got %v and %v", preemptionPolicy(m), preemptionPolicy(first))
	}
	return nil
}

func preemptionPolicy(p *PodInfo) corev1.PreemptionPolicy {
	if neverPreempting(p) {
		return corev1.PreemptNever
	}
	return corev1.PreemptLowerPriority
}

// claim is the room that a pod has been waiting for.
type claim struct {
	node     string
	eviction *eviction
}

// settle places one pod of a group and reserves what it needs.
func (l *loop) settle(m *queuedPod, profile *Profile, had claim) (*bindingCycle, error) {
	pl, err := l.choose(m, profile, Cycle{Pod: m.Pod, Snapshot: &l.edit.s, Handle: l.handle, Random: l.random}, false)
	if err != nil {
		return nil, err
	}
	c, end := l.put(m, profile, pl.Node, pl.states)
	if end == nil {
		return c, nil
	}
	l.unsettle(c, had)
	if end.status.Rejected() {
		return nil, &FitError{Pod: m.Pod.Pod, NumAllNodes: 1, Nodes: []Verdict{{Node: pl.Node, Plugin: end.plugin, Status: end.status}}}
	}
	return nil, &PluginError{Plugin: end.plugin, Point: end.point, Err: end.status.cause()}
}

// unsettle undoes settle. It wakes nobody: the room was never seen to be taken.
func (l *loop) unsettle(c *bindingCycle, had claim) {
	l.undo(c)
	l.setPlaced(c.pod.Key, nil)
	l.edit.RemovePod(c.pod.Key, c.node)
	if had.node != "" {
		l.edit.Nominate(c.pod, had.node)
	}
	c.queued.eviction = had.eviction
	l.queue.pods[c.pod.Key] = c.queued
}

// unplacedMember puts a pod of a group back, and returns what says why. No room is made for it alone: that would help
// the one pod and not the group. A pod that would have fitted is woken by all that may let it fit elsewhere, because
// its place may be another one's only one.
func (l *loop) unplacedMember(m *queuedPod, profile *Profile, err error) (tell func()) {
	l.queue.pods[m.Pod.Key] = m
	var few *GangError
	var fit *FitError
	by := []string{NameGangScheduling}
	switch {
	case errors.As(err, &few):
		for i := range profile.filters {
			by = append(by, profile.filters[i].name)
		}
	case errors.As(err, &fit):
		by = append(by, fit.Plugins()...)
	default:
		l.unplaced(m, err, PostFilterResult{})
		return nil
	}
	l.attempted(m, AttemptUnschedulable)
	l.refused(m, by, time.Now())
	return func() { l.report(m, corev1.PodReasonUnschedulable, err.Error()) }
}
