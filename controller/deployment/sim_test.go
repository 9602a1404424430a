package deployment

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sim is a world of one deployment: its sets, and pods that are numbers.
type sim struct {
	d    *appsv1.Deployment
	sets []*simSet
	now  time.Time
	uids int
	log  []string
}

// simSet is a set with its pods: how many there are, and how many of them are available.
type simSet struct {
	rs              *appsv1.ReplicaSet
	pods, available int32
}

func newSim(d *appsv1.Deployment) *sim {
	d.Generation = 1
	return &sim{d: d, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (s *sim) state() State {
	st := State{Deployment: s.d, Now: s.now}
	for _, x := range s.sets {
		st.Sets = append(st.Sets, x.rs)
	}
	st.Pods = func(uid types.UID) []*corev1.Pod {
		var out []*corev1.Pod
		for _, x := range s.sets {
			if x.rs.UID == uid {
				for range x.pods {
					out = append(out, &corev1.Pod{})
				}
			}
		}
		return out
	}
	return st
}

// step carries one plan out, as the loop does, and tells whether it changed anything.
func (s *sim) step() bool {
	p := Decide(s.state())
	changed := false
	if p.Create != nil {
		s.uids++
		rs := p.Create.DeepCopy()
		rs.UID, rs.Generation = types.UID(fmt.Sprint("rs", s.uids)), 1
		rs.CreationTimestamp = metav1.NewTime(s.now.Add(time.Duration(s.uids)))
		s.sets = append(s.sets, &simSet{rs: rs})
		s.say("%s", strings.TrimSpace(scaledMessage(s.nick(rs), 0, replicasOf(rs))))
		changed = true
	}
	for _, c := range p.Update {
		x := s.find(c.Set.UID)
		if c.From != replicasOf(c.Set) {
			s.say("%s", scaledMessage(s.nick(c.Set), c.From, replicasOf(c.Set)))
			c.Set.Generation++
		}
		x.rs = c.Set
		changed = true
	}
	for _, rs := range p.Delete {
		s.say("Deleted replica set %s", s.nick(rs))
		s.sets = slices.DeleteFunc(s.sets, func(x *simSet) bool { return x.rs.UID == rs.UID })
		changed = true
	}
	if p.Annotations != nil {
		s.d.Annotations = p.Annotations
		changed = true
	}
	if !equality.Semantic.DeepEqual(s.d.Status, p.Status) {
		s.d.Status = p.Status
		changed = true
	}
	return changed
}

func (s *sim) say(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); text != "" {
		s.log = append(s.log, text)
	}
}

// nick calls sets by the image of their template, which reads better than a hash.
func (s *sim) nick(rs *appsv1.ReplicaSet) string {
	return s.d.Name + "-" + rs.Spec.Template.Spec.Containers[0].Image
}

func (s *sim) find(uid types.UID) *simSet {
	for _, x := range s.sets {
		if x.rs.UID == uid {
			return x
		}
	}
	return nil
}

// pods lets each set have as many pods as it asks for; ready of its pods, at most, are available.
func (s *sim) runPods(ready func(x *simSet) int32) bool {
	changed := false
	for _, x := range s.sets {
		before := *x
		status := x.rs.Status
		x.pods = replicasOf(x.rs)
		x.available = min(x.pods, max(ready(x), 0))
		next := appsv1.ReplicaSetStatus{
			Replicas: x.pods, ReadyReplicas: x.available, AvailableReplicas: x.available,
			ObservedGeneration: x.rs.Generation, Conditions: status.Conditions,
		}
		if before.pods != x.pods || before.available != x.available || !equality.Semantic.DeepEqual(status, next) {
			x.rs = x.rs.DeepCopy()
			x.rs.Status = next
			changed = true
		}
	}
	return changed
}

func (s *sim) change(f func(spec *appsv1.DeploymentSpec)) {
	s.d = s.d.DeepCopy()
	f(&s.d.Spec)
	s.d.Generation++
}

// show prints the deployment the way kubectl would put it.
func (s *sim) show() string {
	var b strings.Builder
	st := s.d.Status
	fmt.Fprintf(&b, "%s: %d/%d ready, %d up to date, %d available, revision %s\n", s.d.Name,
		st.ReadyReplicas, desiredOf(s.d), st.UpdatedReplicas, st.AvailableReplicas, s.d.Annotations[annotationRevision])
	for _, x := range s.sets {
		fmt.Fprintf(&b, "  %s: %d pods, %d available, revision %s", s.nick(x.rs), x.pods, x.available, x.rs.Annotations[annotationRevision])
		if h := x.rs.Annotations[annotationRevisionHistory]; h != "" {
			fmt.Fprintf(&b, " (before: %s)", h)
		}
		b.WriteString("\n")
	}
	for _, c := range st.Conditions {
		fmt.Fprintf(&b, "  %s=%s %s: %s\n", c.Type, c.Status, c.Reason, s.unhash(c.Message))
	}
	return b.String()
}

func (s *sim) unhash(text string) string {
	for _, x := range s.sets {
		text = strings.ReplaceAll(text, x.rs.Name, s.nick(x.rs))
	}
	return text
}
