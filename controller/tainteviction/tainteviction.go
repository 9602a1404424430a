// Package tainteviction deletes pods from nodes with NoExecute taints that the pods don't tolerate, or
// no longer.
package tainteviction

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// Config describes the controller.
type Config struct {
	// Client is needed by New only; Add uses the group's.
	Client client.Interface
	// Workers is how many pods may be deleted at once; 0 is the default.
	Workers int
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

// New returns the controller with views of its own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("tainteviction: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controller to a group.
func Add(g *controller.Group, cfg Config) error {
	r := &reconciler{client: g.ClientFor("node-controller"), typed: client.For[*corev1.Pod](g.ClientFor("node-controller")), waiting: map[controller.Key]*eviction{}}
	var errs [3]error
	r.nodes, errs[0] = controller.ViewOf[*corev1.Node](g)
	r.pods, errs[1] = controller.ViewOf[*corev1.Pod](g)
	r.events, errs[2] = g.Recorder("taint-eviction-controller")
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("tainteviction: %w", err)
	}
	controller.IndexNodes(r.pods)
	_, err := g.Add(controller.Config{
		Name:       "tainteviction",
		Reconciler: r,
		Sources: []controller.Source{
			controller.On[*corev1.Pod]{Where: podMatters, Keys: r.onTaintedNode},
			controller.On[*corev1.Node]{Where: taintsMatter, Keys: r.podsOf},
		},
		Workers: cfg.Workers,
		Logger:  cfg.Logger,
	})
	return err
}

type reconciler struct {
	client client.Interface
	typed  client.Typed[*corev1.Pod]
	nodes  *controller.View[*corev1.Node]
	pods   *controller.View[*corev1.Pod]
	events controller.Recorder

	mu      sync.Mutex
	waiting map[controller.Key]*eviction
}

// eviction is what is under way for one pod.
type eviction struct {
	uid   types.UID
	since time.Time // when the taints were first seen to matter for the pod
	told  bool      // by an event
	done  bool      // the API accepted the deletion
}

func podMatters(before, after *corev1.Pod) bool {
	return before == nil || after == nil || before.UID != after.UID ||
		before.Spec.NodeName != after.Spec.NodeName || before.DeletionTimestamp == nil && after.DeletionTimestamp != nil ||
		!equality.Semantic.DeepEqual(before.Spec.Tolerations, after.Spec.Tolerations)
}

// onTaintedNode returns a pod that may have to go, or whose eviction is under way.
func (r *reconciler) onTaintedNode(pod *corev1.Pod) []controller.Key {
	key := controller.KeyOf(pod)
	if node, ok := r.nodes.Get("", pod.Spec.NodeName); ok && len(noExecute(node)) > 0 {
		return []controller.Key{key}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting[key] != nil {
		return []controller.Key{key}
	}
	return nil
}

func taintsMatter(before, after *corev1.Node) bool {
	return before == nil || after == nil || !equality.Semantic.DeepEqual(noExecute(before), noExecute(after))
}

// podsOf returns the pods of a node with NoExecute taints.
func (r *reconciler) podsOf(node *corev1.Node) []controller.Key {
	if len(noExecute(node)) == 0 {
		return nil
	}
	var keys []controller.Key
	for _, pod := range controller.OnNode(r.pods, node.Name) {
		keys = append(keys, controller.KeyOf(pod))
	}
	return keys
}

func noExecute(node *corev1.Node) []corev1.Taint {
	if node == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(node.Spec.Taints), func(t corev1.Taint) bool {
		return t.Effect != corev1.TaintEffectNoExecute
	})
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	pod, ok := r.pods.Get(key.Namespace, key.Name)
	if !ok || pod.DeletionTimestamp != nil {
		r.forget(key)
		return controller.Result{}, nil
	}
	node, ok := r.nodes.Get("", pod.Spec.NodeName)
	if !ok { // pods of nodes that are gone are the pod garbage collector's
		r.cancel(key, pod)
		return controller.Result{}, nil
	}
	patience, forever := Patience(node.Spec.Taints, pod.Spec.Tolerations)
	if forever {
		r.cancel(key, pod)
		return controller.Result{}, nil
	}
	e := r.schedule(key, pod)
	if e.done {
		return controller.Result{}, nil // the view will show it
	}
	if wait := time.Until(e.since.Add(patience)); wait > 0 {
		return controller.Result{After: wait}, nil
	}
	return controller.Result{}, r.evict(ctx, pod, e)
}

// schedule returns the eviction of a pod, and begins one when there is none. Only the worker that
// has the pod's key changes it.
func (r *reconciler) schedule(key controller.Key, pod *corev1.Pod) *eviction {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.waiting[key]
	if e == nil || e.uid != pod.UID {
		e = &eviction{uid: pod.UID, since: time.Now()}
		r.waiting[key] = e
	}
	return e
}

func (r *reconciler) forget(key controller.Key) *eviction {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.waiting[key]
	delete(r.waiting, key)
	return e
}

// cancel ends an eviction that is not called for any more.
func (r *reconciler) cancel(key controller.Key, pod *corev1.Pod) {
	if e := r.forget(key); e != nil && e.uid == pod.UID && !e.done {
		r.events.Eventf(pod, corev1.EventTypeNormal, "TaintManagerEviction", "Cancelling deletion of Pod %s", key)
	}
}

// evict deletes a pod, after its status tells why.
func (r *reconciler) evict(ctx context.Context, pod *corev1.Pod, e *eviction) error {
	if !e.told {
		r.events.Eventf(pod, corev1.EventTypeNormal, "TaintManagerEviction", "Marking for deletion Pod %s", controller.KeyOf(pod))
		e.told = true
	}
	if !marked(pod) {
		conditions := controller.Disruption(pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")
		if _, err := controller.SetPodStatus(ctx, r.client, pod, map[string]any{"conditions": conditions}); err != nil {
			return gone(err, "mark", pod)
		}
	}
	err := r.typed.Delete(ctx, pod.Namespace, pod.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
	e.done = err == nil
	return gone(err, "delete", pod)
}

// marked tells whether the pod's status says already why it goes.
func marked(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue && c.Reason == "DeletionByTaintManager"
	})
}

// gone drops the error of a pod that exists no more.
func gone(err error, verb string, pod *corev1.Pod) error {
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("%s pod %s: %w", verb, controller.KeyOf(pod), err)
}
