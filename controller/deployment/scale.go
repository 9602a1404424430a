package deployment

import (
	"cmp"
	"math"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
)

// scale brings the sets to the deployment's size without a rollout: for a deployment that is paused
// or was resized. With several sets in use, each gets its share, so that a rollout that goes wrong
// goes wrong in proportion.
func (p *planner) scale() {
	if one := p.onlyActive(); one != nil {
		p.resize(one, desiredOf(p.d))
		p.note(one)
		return
	}
	if p.saturated() {
		for _, rs := range active(p.old) {
			p.resize(rs, 0)
		}
		p.note(p.current)
		return
	}
	if isRolling(p.d) {
		p.spread()
	}
}

// note marks rs as scaled for the present size, even when its size stays.
func (p *planner) note(rs *appsv1.ReplicaSet) {
	if probe := rs.DeepCopy(); setDesired(p.d, probe) {
		setDesired(p.d, p.edit(rs))
	}
}

// onlyActive returns the set that has all replicas, or the newest when none has any.
func (p *planner) onlyActive() *appsv1.ReplicaSet {
	switch inUse := active(p.all()); len(inUse) {
	case 1:
		return inUse[0]
	case 0:
		if p.current != nil {
			return p.current
		}
		if len(p.old) > 0 {
			return p.old[len(p.old)-1]
		}
	}
	return nil
}

// saturated tells that the present set has all replicas that it was scaled for, and they are
// available.
func (p *planner) saturated() bool {
	if p.current == nil {
		return false
	}
	noted, ok := intAnnotation(p.current, annotationDesired)
	return ok && replicasOf(p.current) == desiredOf(p.d) && noted == int64(desiredOf(p.d)) &&
		p.current.Status.AvailableReplicas == desiredOf(p.d)
}

// spread distributes the change of size over all sets in use, in proportion to what each has.
func (p *planner) spread() {
	sets := active(p.all())
	if len(sets) == 0 {
		return
	}
	var allowed int32
	if desiredOf(p.d) > 0 {
		allowed = desiredOf(p.d) + maxSurge(p.d)
	}
	total := sum(sets, replicasOf)
	left := allowed - total
	if left > 0 { // the biggest first; of equals the newest when growing, the oldest when shrinking
		slices.SortStableFunc(sets, func(a, b *appsv1.ReplicaSet) int {
			return cmp.Or(cmp.Compare(replicasOf(b), replicasOf(a)), byAge(b, a))
		})
	} else {
		slices.SortStableFunc(sets, func(a, b *appsv1.ReplicaSet) int {
			return cmp.Or(cmp.Compare(replicasOf(b), replicasOf(a)), byAge(a, b))
		})
	}
	sizes := make([]int32, len(sets))
	for i, rs := range sets {
		share := p.share(rs)
		if left > 0 {
			share = max(0, min(share, left))
		} else {
			share = min(0, max(share, left))
		}
		sizes[i] = replicasOf(rs) + share
		left -= share
	}
	sizes[0] += left // what rounding left over
	for i, rs := range sets {
		p.resize(rs, sizes[i])
		p.note(rs)
	}
}

// share is the change of rs that keeps its part of the whole.
func (p *planner) share(rs *appsv1.ReplicaSet) int32 {
	if desiredOf(p.d) == 0 {
		return -replicasOf(rs)
	}
	before, ok := intAnnotation(rs, annotationMax)
	if !ok {
		before = int64(p.d.Status.Replicas)
	}
	if before <= 0 {
		return 0
	}
	after := float64(replicasOf(rs)) * float64(desiredOf(p.d)+maxSurge(p.d)) / float64(before)
	return int32(math.Round(after)) - replicasOf(rs)
}
