// Package nodelifecycle watches over nodes: their conditions become taints, a node whose kubelet is
// not heard of any more becomes Unknown, and its pods not ready. What a NoExecute taint does to pods
// is package tainteviction's part.
package nodelifecycle

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/replica"
	"github.com/inboard/inboard/controller"
)

// Defaults of Config, kube-controller-manager's.
const (
	DefaultMonitorGracePeriod = 50 * time.Second
	DefaultStartupGracePeriod = time.Minute
	DefaultEvictionInterval   = 10 * time.Second
)

// Config describes the controller.
type Config struct {
	// Client is needed by New only; Add uses the group's.
	Client client.Interface
	// MonitorGracePeriod is how long a node may give no sign of life, neither in its lease nor in
	// its status, before it becomes Unknown; 0 is DefaultMonitorGracePeriod. It must be a few times
	// the period in which kubelets renew their leases, 10 s.
	MonitorGracePeriod time.Duration
	// StartupGracePeriod is the same for a node whose kubelet has not posted a status yet; 0 is
	// DefaultStartupGracePeriod.
	StartupGracePeriod time.Duration
	// EvictionInterval is the least time between two nodes that get a NoExecute taint; 0 is
	// DefaultEvictionInterval.
	EvictionInterval time.Duration
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

func (cfg Config) complete() (Config, error) {
	for name, d := range map[string]time.Duration{
		"MonitorGracePeriod": cfg.MonitorGracePeriod, "StartupGracePeriod": cfg.StartupGracePeriod,
		"EvictionInterval": cfg.EvictionInterval,
	} {
		if d < 0 {
			return cfg, fmt.Errorf("nodelifecycle: Config.%s is negative: %s", name, d)
		}
	}
	cfg.MonitorGracePeriod = cmp.Or(cfg.MonitorGracePeriod, DefaultMonitorGracePeriod)
	cfg.StartupGracePeriod = cmp.Or(cfg.StartupGracePeriod, DefaultStartupGracePeriod)
	cfg.EvictionInterval = cmp.Or(cfg.EvictionInterval, DefaultEvictionInterval)
	return cfg, nil
}

// New returns the controller with views of its own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("nodelifecycle: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controller to a group.
func Add(g *controller.Group, cfg Config) error {
	cfg, err := cfg.complete()
	if err != nil {
		return err
	}
	r := &reconciler{cfg: cfg, client: g.ClientFor("node-controller"), typed: client.For[*corev1.Node](g.ClientFor("node-controller")), pulse: newPulse(),
		limiter: limiter{interval: cfg.EvictionInterval}, known: map[string]*corev1.Node{}}
	var errs [4]error
	r.nodes, errs[0] = controller.ViewOf[*corev1.Node](g)
	r.pods, errs[1] = controller.ViewOf[*corev1.Pod](g)
	leases, err := controller.ViewOf[*coordinationv1.Lease](g)
	errs[2] = err
	r.events, errs[3] = g.Recorder("node-controller")
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("nodelifecycle: %w", err)
	}
	controller.IndexNodes(r.pods)
	leases.OnChange(r.sawLease)
	r.nodes.OnChange(r.sawNode)
	r.self, err = g.Add(controller.Config{
		Name:       "nodelifecycle",
		Reconciler: r,
		Sources: []controller.Source{
			controller.On[*corev1.Node]{Where: matters},
			controller.On[*corev1.Pod]{Where: bound, Keys: r.unknownNode},
			controller.Reads[*coordinationv1.Lease]{},
		},
		Logger: cfg.Logger,
	})
	return err
}

type reconciler struct {
	cfg     Config
	client  client.Interface
	typed   client.Typed[*corev1.Node]
	nodes   *controller.View[*corev1.Node]
	pods    *controller.View[*corev1.Pod]
	events  controller.Recorder
	pulse   *pulse
	limiter limiter
	self    *controller.Controller

	mu    sync.Mutex
	known map[string]*corev1.Node // that an event has told of
}

// matters drops the heartbeats that say nothing else: they are a sign of life, and no more.
func matters(before, after *corev1.Node) bool {
	return before == nil || after == nil || before.UID != after.UID ||
		before.Spec.Unschedulable != after.Spec.Unschedulable ||
		!equality.Semantic.DeepEqual(before.Spec.Taints, after.Spec.Taints) ||
		!slices.EqualFunc(before.Status.Conditions, after.Status.Conditions, func(a, b corev1.NodeCondition) bool {
			return a.Type == b.Type && a.Status == b.Status
		})
}

func bound(before, after *corev1.Pod) bool {
	return after != nil && (before == nil || before.Spec.NodeName != after.Spec.NodeName)
}

// unknownNode returns the node of a pod, when that is Unknown.
func (r *reconciler) unknownNode(pod *corev1.Pod) []controller.Key {
	node, ok := r.nodes.Get("", pod.Spec.NodeName)
	if !ok || statusOf(node, corev1.NodeReady) != corev1.ConditionUnknown {
		return nil
	}
	return []controller.Key{controller.KeyOf(node)}
}

func (r *reconciler) sawLease(ch replica.Change[*coordinationv1.Lease]) {
	switch {
	case ch.New != nil && ch.New.Namespace == corev1.NamespaceNodeLease:
		r.pulse.lease(ch.New, time.Now())
	case ch.New == nil && ch.Old != nil && ch.Old.Namespace == corev1.NamespaceNodeLease:
		r.pulse.forgetLease(ch.Old.Name)
	}
}

// sawNode notes the sign of life. With the readiness of one node the disruption of all may begin or
// end, which decides about the taints of those that are not ready.
func (r *reconciler) sawNode(ch replica.Change[*corev1.Node]) {
	if ch.New != nil {
		r.pulse.node(ch.New, time.Now())
	} else if ch.Old != nil {
		r.pulse.forgetNode(ch.Old.Name)
	}
	if ch.Kind == replica.Synced || counts(ch.Old) == counts(ch.New) {
		return
	}
	for _, node := range r.nodes.List("") {
		if statusOf(node, corev1.NodeReady) != corev1.ConditionTrue {
			r.self.Enqueue(controller.KeyOf(node))
		}
	}
}

// labelExcludeDisruption takes a node out of the question whether all are disrupted.
const labelExcludeDisruption = "node.kubernetes.io/exclude-disruption"

func excluded(node *corev1.Node) bool {
	_, ok := node.Labels[labelExcludeDisruption]
	return ok
}

// counts tells whether a node is proof that not all are disrupted.
func counts(node *corev1.Node) bool {
	return node != nil && !excluded(node) && statusOf(node, corev1.NodeReady) == corev1.ConditionTrue
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	node, ok := r.nodes.Get("", key.Name)
	r.tell(key.Name, node)
	if !ok {
		return controller.Result{}, nil
	}
	var errs [3]error
	var untilSilent, untilTaint time.Duration
	node, untilSilent, errs[0] = r.listen(ctx, node)
	if statusOf(node, corev1.NodeReady) == corev1.ConditionUnknown {
		errs[1] = r.markPods(ctx, node)
	}
	untilTaint, errs[2] = r.taint(ctx, node)
	if untilTaint > 0 && (untilSilent == 0 || untilTaint < untilSilent) {
		untilSilent = untilTaint
	}
	return controller.Result{After: untilSilent}, errors.Join(errs[:]...)
}

// tell records that a node came or went.
func (r *reconciler) tell(name string, node *corev1.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.known[name]
	if known != nil && (node == nil || node.UID != known.UID) {
		r.events.Eventf(known, corev1.EventTypeNormal, "RemovingNode", "Node %s event: Removing Node %s from Controller", name, name)
		delete(r.known, name)
		known = nil
	}
	if known == nil && node != nil {
		r.events.Eventf(node, corev1.EventTypeNormal, "RegisteredNode", "Node %s event: Registered Node %s in Controller", name, name)
		r.known[name] = node
	}
}

// listen makes a node Unknown that gives no sign of life, and returns it as it is then; for others it
// returns after which time to listen again.
func (r *reconciler) listen(ctx context.Context, node *corev1.Node) (*corev1.Node, time.Duration, error) {
	status := statusOf(node, corev1.NodeReady)
	if status == corev1.ConditionUnknown {
		return node, 0, nil // only its kubelet can change that
	}
	grace := r.cfg.MonitorGracePeriod
	if status == "" {
		grace = r.cfg.StartupGracePeriod
	}
	wait := r.pulse.left(node.Name, grace)
	if wait <= 0 {
		if err := r.askLease(ctx, node.Name); err != nil {
			return node, 0, err
		}
		wait = r.pulse.left(node.Name, grace)
	}
	if wait > 0 {
		return node, wait, nil
	}
	next := node.DeepCopy()
	next.Status.Conditions = Silent(node, metav1.Now())
	written, err := r.typed.UpdateStatus(ctx, next)
	if apierrors.IsNotFound(err) {
		return node, 0, nil
	}
	if err != nil {
		return node, 0, fmt.Errorf("mark node %s unknown: %w", node.Name, err)
	}
	if status == corev1.ConditionTrue {
		r.events.Eventf(node, corev1.EventTypeNormal, "NodeNotReady", "Node %s status is now: NodeNotReady", node.Name)
	}
	return written, 0, nil
}

// askLease looks at the lease itself before a node is given up: a view that trails, as after an outage
// of the API server, must not condemn nodes that live.
func (r *reconciler) askLease(ctx context.Context, name string) error {
	lease, err := client.For[*coordinationv1.Lease](r.client).Get(ctx, corev1.NamespaceNodeLease, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the lease of node %s: %w", name, err)
	}
	r.pulse.lease(lease, time.Now())
	return nil
}

// taint writes the taints that the node should have. A wait is the time until a NoExecute taint
// may be added.
func (r *reconciler) taint(ctx context.Context, node *corev1.Node) (time.Duration, error) {
	eviction, wait := Hold, time.Duration(0)
	status := statusOf(node, corev1.NodeReady)
	switch {
	case status == corev1.ConditionTrue || status == "":
	case r.disrupted():
		eviction = Spare
	case !evicting(node):
		if wait = r.limiter.take(time.Now()); wait == 0 {
			eviction = Evict
		}
	}
	taints := Taints(node, eviction, metav1.Now())
	if equality.Semantic.DeepEqual(taints, node.Spec.Taints) {
		return wait, nil
	}
	err := r.writeTaints(ctx, node, taints)
	if err != nil && eviction == Evict {
		r.limiter.refund()
	}
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	return wait, err
}

// disrupted tells whether no node is ready.
func (r *reconciler) disrupted() bool {
	nodes := slices.DeleteFunc(r.nodes.List(""), excluded)
	return len(nodes) > 0 && !slices.ContainsFunc(nodes, counts)
}

func (r *reconciler) writeTaints(ctx context.Context, node *corev1.Node, taints []corev1.Taint) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": node.UID, "resourceVersion": node.ResourceVersion},
		"spec":     map[string]any{"taints": taints}, // null when there are none
	})
	if err != nil {
		return err
	}
	if _, err = r.typed.Patch(ctx, "", node.Name, types.MergePatchType, patch, ""); err != nil {
		return fmt.Errorf("taint node %s: %w", node.Name, err)
	}
	return nil
}
