package garbagecollector

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// maxAbsent bounds how many UIDs are remembered.
const maxAbsent = 4096

// absences remembers UIDs whose objects are gone, so that a thousand dependents of one owner don't
// ask for it a thousand times. A UID never comes back, so what is remembered stays true. The oldest
// are forgotten; the zero value is ready.
type absences struct {
	mu    sync.Mutex
	known map[types.UID]struct{}
	order []types.UID // a ring
	next  int
}

func (a *absences) add(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known == nil {
		a.known = map[types.UID]struct{}{}
	}
	if _, ok := a.known[uid]; ok {
		return
	}
	if len(a.order) < maxAbsent {
		a.order = append(a.order, uid)
	} else {
		delete(a.known, a.order[a.next])
		a.order[a.next] = uid
		a.next = (a.next + 1) % maxAbsent
	}
	a.known[uid] = struct{}{}
}

func (a *absences) has(uid types.UID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.known[uid]
	return ok
}
