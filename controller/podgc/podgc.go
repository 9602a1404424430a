// Package podgc deletes pods that nobody else will: those of nodes that are gone, those being deleted
// that no kubelet attends to, and the oldest of those that have ended when there are very many.
package podgc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// Defaults of Config, kube-controller-manager's.
const (
	DefaultQuarantine          = 40 * time.Second
	DefaultTerminatedThreshold = 12500
)

// Config describes the controller.
type Config struct {
	// Client is needed by New only; Add uses the group's.
	Client client.Interface
	// Quarantine is how long a node must be missing before its pods are deleted; 0 is
	// DefaultQuarantine.
	Quarantine time.Duration
	// TerminatedThreshold is how many pods that have ended are kept; 0 is
	// DefaultTerminatedThreshold, less than 0 keeps all.
	TerminatedThreshold int
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

// New returns the controller with views of its own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("podgc: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controller to a group.
func Add(g *controller.Group, cfg Config) error {
	if cfg.Quarantine < 0 {
		return fmt.Errorf("podgc: Config.Quarantine is negative: %s", cfg.Quarantine)
	}
	cfg.Quarantine = cmp.Or(cfg.Quarantine, DefaultQuarantine)
	cfg.TerminatedThreshold = cmp.Or(cfg.TerminatedThreshold, DefaultTerminatedThreshold)
	r := &reconciler{cfg: cfg, client: g.ClientFor("pod-garbage-collector"), typed: client.For[*corev1.Pod](g.ClientFor("pod-garbage-collector")), missing: map[string]time.Time{}}
	var errs [2]error
	r.nodes, errs[0] = controller.ViewOf[*corev1.Node](g)
	r.pods, errs[1] = controller.ViewOf[*corev1.Pod](g)
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("podgc: %w", err)
	}
	controller.IndexNodes(r.pods)
	r.pods.Index(endedIndex, func(p *corev1.Pod) []string {
		if ended(p) {
			return []string{"true"}
		}
		return nil
	})
	_, err := g.Add(controller.Config{
		Name:       "podgc",
		Reconciler: r,
		Sources: []controller.Source{
			controller.On[*corev1.Pod]{Where: changed, Keys: r.ofPod},
			controller.On[*corev1.Node]{Where: leaves, Keys: r.ofNode},
		},
		Logger: cfg.Logger,
	})
	return err
}

const endedIndex = "ended"

// The kinds of keys: a pod; a node, which may be missing; and all pods that have ended.
var (
	podsResource  = corev1.SchemeGroupVersion.WithResource("pods")
	nodesResource = corev1.SchemeGroupVersion.WithResource("nodes")
	allEnded      = controller.Key{Name: "ended"}
)

type reconciler struct {
	cfg    Config
	client client.Interface
	typed  client.Typed[*corev1.Pod]
	nodes  *controller.View[*corev1.Node]
	pods   *controller.View[*corev1.Pod]

	mu      sync.Mutex
	missing map[string]time.Time // nodes, by when they were first missed
}

// changed drops changes of pods that can't make them garbage.
func changed(before, after *corev1.Pod) bool {
	return after != nil && (before == nil || before.UID != after.UID || before.Spec.NodeName != after.Spec.NodeName ||
		before.DeletionTimestamp == nil && after.DeletionTimestamp != nil || !ended(before) && ended(after))
}

func (r *reconciler) ofPod(p *corev1.Pod) []controller.Key {
	var keys []controller.Key
	if p.DeletionTimestamp != nil {
		keys = append(keys, controller.Key{Resource: podsResource, Namespace: p.Namespace, Name: p.Name})
	}
	if ended(p) && r.cfg.TerminatedThreshold > 0 {
		keys = append(keys, allEnded)
	}
	if p.Spec.NodeName != "" {
		if _, ok := r.nodes.Get("", p.Spec.NodeName); !ok {
			keys = append(keys, controller.Key{Resource: nodesResource, Name: p.Spec.NodeName})
		}
	}
	return keys
}

// leaves tells that a node went, came, or may have been declared out of service.
func leaves(before, after *corev1.Node) bool {
	return before == nil || after == nil || outOfService(before) != outOfService(after)
}

func (r *reconciler) ofNode(n *corev1.Node) []controller.Key {
	keys := []controller.Key{{Resource: nodesResource, Name: n.Name}}
	if outOfService(n) {
		for _, p := range controller.OnNode(r.pods, n.Name) {
			keys = append(keys, controller.Key{Resource: podsResource, Namespace: p.Namespace, Name: p.Name})
		}
	}
	return keys
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	switch key.Resource {
	case podsResource:
		return controller.Result{}, r.pod(ctx, key)
	case nodesResource:
		return r.node(ctx, key.Name)
	}
	return controller.Result{}, r.deleteAll(ctx, Surplus(r.pods.ByIndex(endedIndex, "true"), r.cfg.TerminatedThreshold), nil)
}

func (r *reconciler) pod(ctx context.Context, key controller.Key) error {
	p, ok := r.pods.Get(key.Namespace, key.Name)
	if !ok {
		return nil
	}
	node, _ := r.nodes.Get("", p.Spec.NodeName)
	if !Unattended(p, node) {
		return nil
	}
	return r.delete(ctx, p, nil)
}

// node deletes the pods of a node that is missing for long enough, and that the API does not know
// either: a view may trail.
func (r *reconciler) node(ctx context.Context, name string) (controller.Result, error) {
	_, exists := r.nodes.Get("", name)
	pods := controller.OnNode(r.pods, name)
	if exists || len(pods) == 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.missing, name)
		return controller.Result{}, nil
	}
	if wait := r.quarantine(name); wait > 0 {
		return controller.Result{After: wait}, nil
	}
	_, err := client.For[*corev1.Node](r.client).Get(ctx, "", name)
	if err == nil {
		return controller.Result{After: r.cfg.Quarantine}, nil
	}
	if !apierrors.IsNotFound(err) {
		return controller.Result{}, fmt.Errorf("look at node %s before its pods are deleted: %w", name, err)
	}
	return controller.Result{}, r.deleteAll(ctx, pods, func(p *corev1.Pod) []corev1.PodCondition {
		return controller.Disruption(p, "DeletionByPodGC", "PodGC: node no longer exists")
	})
}

// quarantine returns how long to wait yet for a node that is missing.
func (r *reconciler) quarantine(name string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	since, ok := r.missing[name]
	if !ok {
		since = time.Now()
		r.missing[name] = since
	}
	return time.Until(since.Add(r.cfg.Quarantine))
}

func (r *reconciler) deleteAll(ctx context.Context, pods []*corev1.Pod, why func(*corev1.Pod) []corev1.PodCondition) error {
	return controller.Parallel(len(pods), func(i int) error { return r.delete(ctx, pods[i], why) })
}

// delete deletes a pod at once, after its phase says Failed: no kubelet will say how it ended. Both
// are locked to the state that was judged.
func (r *reconciler) delete(ctx context.Context, p *corev1.Pod, why func(*corev1.Pod) []corev1.PodCondition) error {
	if condemned(p) {
		return nil
	}
	if !ended(p) {
		fields := map[string]any{"phase": corev1.PodFailed, "observedGeneration": p.Generation}
		if why != nil {
			fields["conditions"] = why(p)
		}
		failed, err := controller.SetPodStatus(ctx, r.client, p, fields)
		if err != nil {
			return gone(err, p)
		}
		p = failed
	}
	now := int64(0)
	err := r.typed.Delete(ctx, p.Namespace, p.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now,
		Preconditions:      &metav1.Preconditions{UID: &p.UID, ResourceVersion: &p.ResourceVersion},
	})
	return gone(err, p)
}

// gone drops the error of a pod that exists no more.
func gone(err error, p *corev1.Pod) error {
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("delete pod %s: %w", controller.KeyOf(p), err)
}
