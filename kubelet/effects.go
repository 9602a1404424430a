package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func isGone(err error) bool { return errors.Is(err, ErrNotFound) }

// effect returns what carries an action out. It runs beside the worker, so it uses only what it
// copies here; what it returns is called by the worker and may touch the state.
func (w *worker) effect(a action, now time.Time) func(context.Context) func() {
	switch a.Do {
	case doVolumes:
		return w.volumesEffect()
	case doSandbox:
		return w.sandboxEffect()
	case doStart:
		return w.startEffect(a, now)
	case doStop:
		return w.stopEffect(a)
	case doProbe:
		return w.probeEffect(a)
	case doPrune:
		return w.pruneEffect(a)
	case doRelease, doRemove:
		return w.releaseEffect(a.Do == doRemove)
	default:
		return w.deleteEffect()
	}
}

// facts returns what the pod's fields are told from.
func (w *worker) facts() podFacts {
	s := &w.state
	f := podFacts{Pod: s.Pod, HostIPs: s.HostIPs, NodeName: w.k.cfg.NodeName, Allocatable: w.k.allocatable}
	switch {
	case s.Pod.Spec.HostNetwork:
		f.PodIPs = s.HostIPs
	case s.Sandbox != nil:
		for _, ip := range s.Sandbox.IPs {
			f.PodIPs = append(f.PodIPs, ip.String())
		}
	}
	return f
}

func (w *worker) volumesEffect() func(context.Context) func() {
	f, fresh := w.facts(), w.state.VolumesReady
	return func(ctx context.Context) func() {
		err := w.k.volumes.setUp(ctx, f)
		return func() {
			s, now := &w.state, time.Now()
			if err == nil {
				s.VolumesReady, s.VolumesFresh = true, now
				return
			}
			if errors.Is(err, context.Canceled) {
				return
			}
			s.VolumesRetry = now.Add(volumeRetry)
			if !fresh {
				for _, one := range unjoin(err) {
					w.k.event(f.Pod, corev1.EventTypeWarning, "FailedMount", one.Error())
				}
			}
		}
	}
}

// volumeRetry is how long the kubelet waits before it tries to set up volumes again.
const volumeRetry = 2 * time.Second

func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

func (w *worker) sandboxEffect() func(context.Context) func() {
	s := &w.state
	pod, old, attempt := s.Pod, s.Sandbox, s.Attempt
	s.Attempt++
	if old != nil {
		w.k.event(pod, corev1.EventTypeNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
	}
	return func(ctx context.Context) func() {
		sb, err := w.runSandbox(ctx, pod, old, attempt)
		return func() {
			if err == nil {
				s.observe(&sb, time.Now())
				return
			}
			if ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
				s.SandboxRetry = time.Now().Add(time.Second << min(attempt, 5))
				w.k.event(pod, corev1.EventTypeWarning, "FailedCreatePodSandBox",
					fmt.Sprintf("Failed to create pod sandbox: %v", err))
			}
		}
	}
}

func (w *worker) runSandbox(ctx context.Context, pod *corev1.Pod, old *Sandbox, attempt uint32) (Sandbox, error) {
	rt := w.k.cfg.Runtime
	if old != nil {
		if err := errors.Join(ignoreGone(rt.StopSandbox(ctx, old.ID)), ignoreGone(rt.RemoveSandbox(ctx, old.ID))); err != nil {
			return Sandbox{}, err
		}
	}
	logs := podLogDir(w.k.logDir, pod)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return Sandbox{}, err
	}
	dns := podDNS(pod, w.k.cfg.ClusterDNS, w.k.cfg.ClusterDomain, w.k.hostDNS)
	return rt.RunSandbox(ctx, sandboxConfig(pod, attempt, logs, dns))
}

func ignoreGone(err error) error {
	if isGone(err) {
		return nil
	}
	return err
}

func (w *worker) stopEffect(a action) func(context.Context) func() {
	s := &w.state
	pod, cur := s.Pod, *s.record(a.Container).Current
	ips := w.facts().PodIPs
	if !w.said("stop/" + cur.ID) {
		w.k.containerEvent(pod, a.Container, corev1.EventTypeNormal, "Killing", a.Message)
	}
	begun := w.stopBegan(cur.ID)
	return func(ctx context.Context) func() {
		err := w.stopContainer(ctx, pod, &cur, ips, a.Grace-time.Since(begun))
		return func() {
			r := w.state.record(a.Container)
			if err == nil && r.alive() && r.Current.ID == cur.ID {
				r.lose(time.Now())
			}
			if err != nil && ctx.Err() == nil {
				r.StopRetry = time.Now().Add(time.Second)
				w.k.containerEvent(pod, a.Container, corev1.EventTypeWarning, "FailedKillPod", fmt.Sprintf("error killing pod: %v", err))
				w.k.log.Error("can't stop a container", "pod", podName(pod), "container", a.Container, "err", err)
			}
		}
	}
}

// stopContainer runs the preStop hook within the grace period, then stops the container in what
// is left of it, but not below the two seconds that the kubelet leaves to a container.
func (w *worker) stopContainer(ctx context.Context, pod *corev1.Pod, cur *Container, ips []string, grace time.Duration) error {
	rt := w.k.cfg.Runtime
	if cur.State == ContainerCreated {
		return ignoreGone(rt.RemoveContainer(ctx, cur.ID))
	}
	grace = max(grace, 0)
	c := findContainer(pod, cur.Name)
	if c != nil && c.Lifecycle != nil && c.Lifecycle.PreStop != nil && grace > 0 {
		began := time.Now()
		hctx, cancel := context.WithTimeout(ctx, grace)
		if err := w.k.runHook(hctx, c, cur.ID, ips, c.Lifecycle.PreStop); err != nil && ctx.Err() == nil {
			w.k.containerEvent(pod, c.Name, corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
			w.k.log.Warn("a preStop hook failed", "pod", podName(pod), "container", c.Name, "err", err)
		}
		cancel()
		grace = max(grace-time.Since(began), minGrace)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return ignoreGone(rt.StopContainer(ctx, cur.ID, grace))
}

// minGrace is what a container gets at least between SIGTERM and SIGKILL after a preStop hook.
const minGrace = 2 * time.Second

// pruneRetry is how long an old container stays whose removal failed.
const pruneRetry = time.Minute

func (w *worker) pruneEffect(a action) func(context.Context) func() {
	var log string
	for i := range w.state.Sandbox.Containers {
		if c := &w.state.Sandbox.Containers[i]; c.ID == a.ID {
			log = c.LogPath
		}
	}
	for _, key := range []string{a.ID, "stop/" + a.ID, "began/" + a.ID} {
		delete(w.messages, key)
	}
	return func(ctx context.Context) func() {
		if err := ignoreGone(w.k.cfg.Runtime.RemoveContainer(ctx, a.ID)); err != nil {
			return func() {
				w.state.PruneRetry = time.Now().Add(pruneRetry)
				w.k.log.Warn("can't remove an old container", "id", a.ID, "err", err)
			}
		}
		if log != "" {
			_ = os.Remove(log)
			for i := 1; os.Remove(rotatedLog(log, i)) == nil; i++ {
			}
		}
		return nil
	}
}

// releaseEffect frees what an ended pod holds; with all, also its containers and their logs.
func (w *worker) releaseEffect(all bool) func(context.Context) func() {
	s := &w.state
	pod, sb := s.Pod, s.Sandbox
	return func(ctx context.Context) func() {
		err := w.release(ctx, pod, sb, all)
		return func() {
			if err != nil {
				if ctx.Err() == nil {
					s.SandboxRetry = time.Now().Add(time.Second)
					w.k.event(pod, corev1.EventTypeWarning, "FailedKillPod", fmt.Sprintf("error killing pod: %v", err))
				}
				return
			}
			s.Cleaned = true
			if all {
				s.Sandbox = nil
			}
		}
	}
}

func (w *worker) release(ctx context.Context, pod *corev1.Pod, sb *Sandbox, all bool) error {
	rt := w.k.cfg.Runtime
	if sb != nil {
		if err := ignoreGone(rt.StopSandbox(ctx, sb.ID)); err != nil {
			return err
		}
		if all {
			if err := ignoreGone(rt.RemoveSandbox(ctx, sb.ID)); err != nil {
				return err
			}
		}
	}
	if all {
		if err := os.RemoveAll(podLogDir(w.k.logDir, pod)); err != nil {
			return err
		}
	}
	return w.k.volumes.tearDown(string(pod.UID))
}

// deleteEffect writes the last status and lets the API's object go.
func (w *worker) deleteEffect() func(context.Context) func() {
	pod := w.state.Pod
	return func(ctx context.Context) func() {
		fctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		_ = w.status.flush(fctx) // the deletion matters more than the last status
		cancel()
		var zero int64
		uid := pod.UID
		err := w.k.pods.Delete(ctx, pod.Namespace, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &uid}})
		return func() {
			if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
				w.state.Deleted = true
				return
			}
			w.state.DeleteRetry = time.Now().Add(time.Second)
			w.k.log.Warn("can't delete a pod that has ended", "pod", podName(pod), "err", err)
		}
	}
}

// messagePath is the file of the node that a container's termination message goes to.
func (w *worker) messagePath(container string, attempt uint32) string {
	return filepath.Join(w.k.volumes.podDir(string(w.uid)), "containers", container, fmt.Sprint(attempt))
}
