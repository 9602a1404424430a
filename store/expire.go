package store

import (
	"container/heap"
	"time"
)

// run revokes the leases of a tenure that expire. It ends with the tenure and when no lease is left.
func (l *lessor) run(t *tenure) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		requests, wait, ok := l.next(t)
		if !ok {
			return
		}
		if len(requests) > 0 {
			// What failed shows in that the leases are still there.
			l.store.changeAll(t.ctx, requests)
			if l.settle(t, requests) {
				continue
			}
			wait = expireAgain
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-t.wake:
		case <-t.ctx.Done():
		}
	}
}

// next returns what there is to do now, or else how long there is nothing to do. It is not ok when there is
// nothing to wait for.
func (l *lessor) next(t *tenure) (requests []request, wait time.Duration, ok bool) {
	var expired []LeaseID
	defer func() {
		if told := l.store.cfg.Events.LeaseExpired; told != nil {
			for _, id := range expired {
				told(id)
			}
		}
	}()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenure != t || len(t.byID) == 0 {
		t.running = false
		return nil, 0, false
	}
	if !t.installed {
		return []request{{kind: requestTenure, tenure: t.id}}, 0, true
	}
	now := time.Now()
	for len(t.due) > 0 && len(requests) < maxExpired && !now.Before(t.due[0].at) {
		d := heap.Pop(&t.due).(*deadline)
		if !d.told {
			d.told = true
			expired = append(expired, d.id)
		}
		requests = append(requests, request{kind: requestExpire, id: d.id, serial: d.serial, tenure: t.id})
	}
	if len(requests) > 0 {
		return requests, 0, true
	}
	return nil, t.due[0].at.Sub(now), true
}

// settle tells whether all that was requested has happened. What has not is due again.
func (l *lessor) settle(t *tenure, requests []request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := t.installed
	for i := range requests {
		d := t.byID[requests[i].id]
		if d != nil && d.index < 0 {
			heap.Push(&t.due, d)
			done = false
		}
	}
	return done
}
