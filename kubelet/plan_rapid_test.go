package kubelet

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

// drawPod returns any small pod.
func drawPod(t *rapid.T) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"}}
	pod.Spec.RestartPolicy = rapid.SampledFrom([]corev1.RestartPolicy{"Always", "OnFailure", "Never"}).Draw(t, "policy")
	always := corev1.ContainerRestartPolicyAlways
	for i := range rapid.IntRange(0, 2).Draw(t, "inits") {
		c := corev1.Container{Name: fmt.Sprint("init", i), Image: "x"}
		if rapid.Bool().Draw(t, "sidecar") {
			c.RestartPolicy = &always
		}
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, c)
	}
	for i := range rapid.IntRange(1, 2).Draw(t, "apps") {
		c := corev1.Container{Name: fmt.Sprint("app", i), Image: "x"}
		if rapid.Bool().Draw(t, "probed") {
			c.ReadinessProbe = &corev1.Probe{PeriodSeconds: 5, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{}}}
			c.LivenessProbe = c.ReadinessProbe
		}
		pod.Spec.Containers = append(pod.Spec.Containers, c)
	}
	if rapid.Bool().Draw(t, "limited") {
		d := int64(rapid.IntRange(1, 600).Draw(t, "deadline"))
		pod.Spec.ActiveDeadlineSeconds = &d
	}
	return pod
}

// TestLives lives random lives. Whatever happens: the plan settles, no two actions work on one
// thing, a status can be made and makes sense, and a deleted pod goes.
func TestLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newSim(drawPod(t))
		names := []string{}
		for _, c := range eachContainer(m.s.Pod) {
			names = append(names, c.Name)
		}
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				m.until(m.now.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "seconds")) * time.Second))
			case 1:
				if m.s.peek(name).running() {
					m.exit(name, rapid.SampledFrom([]int{0, 0, 1, 137}).Draw(t, "code"))
				}
			case 2:
				reason := rapid.SampledFrom([]string{"ErrImagePull", "CreateContainerError", "RunContainerError"}).Draw(t, "reason")
				m.fail[name] = &startError{reason: reason, err: errors.New("broken"), pull: reason == "ErrImagePull"}
			case 3:
				delete(m.fail, name)
			case 4:
				m.change(func(sb *Sandbox) { sb.Ready = false })
			default:
				m.run()
			}
			sane(t, m)
		}
		clear(m.fail)
		m.remove(30)
		m.until(m.now.Add(time.Hour))
		if !m.s.Deleted || m.s.Sandbox != nil || m.s.running() != 0 {
			t.Fatalf("the deleted pod stays:\n%s", m.out.String())
		}
	})
}

// sane checks what holds of any status.
func sane(t *rapid.T, m *sim) {
	st := makeStatus(&m.s, "sim", m.now)
	text := m.status()
	status := map[corev1.PodConditionType]corev1.ConditionStatus{}
	for _, c := range st.Conditions {
		if _, twice := status[c.Type]; twice {
			t.Fatalf("two conditions of one type: %s", text)
		}
		status[c.Type] = c.Status
	}
	if status[corev1.PodReady] == corev1.ConditionTrue && status[corev1.ContainersReady] != corev1.ConditionTrue {
		t.Fatalf("ready with unready containers: %s", text)
	}
	done := st.Phase == corev1.PodSucceeded || st.Phase == corev1.PodFailed
	for _, c := range append(st.InitContainerStatuses, st.ContainerStatuses...) {
		n := 0
		for _, set := range []bool{c.State.Running != nil, c.State.Waiting != nil, c.State.Terminated != nil} {
			if set {
				n++
			}
		}
		switch {
		case n != 1:
			t.Fatalf("container %s is in %d states: %s", c.Name, n, text)
		case done && c.State.Running != nil && st.Reason == "":
			t.Fatalf("phase %s, and container %s runs: %s", st.Phase, c.Name, text)
		case done && c.Ready && !strings.HasPrefix(c.Name, "init"):
			t.Fatalf("phase %s, and container %s is ready: %s", st.Phase, c.Name, text)
		}
	}
}
