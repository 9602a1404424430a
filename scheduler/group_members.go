package scheduler

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// memberChanged follows which pods a group has; old is nil when the pod is new, now when it is gone.
func (l *loop) memberChanged(old, now *corev1.Pod) {
	was, is := "", ""
	if old != nil && !finished(old) {
		was = groupKey(old)
	}
	if now != nil && !finished(now) {
		is = groupKey(now)
	}
	if was == "" && is == "" {
		return
	}
	if was != "" && (was != is || podKey(old) != podKey(now)) {
		delete(l.groups[was], podKey(old))
		l.membersChanged(was)
	}
	if is == "" {
		return
	}
	if l.groups[is] == nil {
		l.groups[is] = map[string]struct{}{}
	}
	if _, ok := l.groups[is][podKey(now)]; !ok {
		l.groups[is][podKey(now)] = struct{}{}
		l.membersChanged(is)
		l.wakeGroup(is)
	}
}

func (l *loop) membersChanged(group string) {
	n := len(l.groups[group])
	if n == 0 {
		delete(l.groups, group)
	}
	l.edit.setMembers(group, n)
}

// wakeGroup lets the pods of a group be tried again that were too few: another one has come.
func (l *loop) wakeGroup(group string) {
	l.queue.because(causePodAdded, func() { l.wakeMembers(group) })
}

func (l *loop) wakeMembers(group string) {
	for key := range l.groups[group] {
		switch p := l.queue.pods[key]; {
		case p == nil:
		case p.where == inGated && p.gatedBy == NameGangScheduling:
			by := l.gatedBy(p.Pod)
			if l.queue.take(p); by != "" {
				l.queue.gate(p, by)
			} else {
				l.queue.enter(p, time.Now())
			}
		case p.where == inUnschedulable && slices.Contains(p.refusedBy, NameGangScheduling):
			l.queue.wakeUp(p, time.Now())
		}
	}
}
