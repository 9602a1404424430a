// Package namespace finishes the deletion of Namespaces: it deletes all that a namespace holds,
// tells in conditions what is left, and takes the "kubernetes" finalizer off when nothing is.
package namespace

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

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// Config describes the controller.
type Config struct {
	// Client is needed by New only; Add uses the group's.
	Client client.Interface
	// Resources tells what a namespace can hold; those that are not namespaced are passed over.
	// Nil is the built-in kinds: give controller.Discover for a server that has others.
	Resources controller.Resources
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

// While content is on its way out, it is looked at again after pauseMin, then ever more seldom.
const (
	pauseMin = 20 * time.Millisecond
	pauseMax = 5 * time.Second
)

// New returns the controller with views of its own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("namespace: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controller to a group.
func Add(g *controller.Group, cfg Config) error {
	if cfg.Resources == nil {
		cfg.Resources = controller.Known(controller.Builtin()...)
	}
	r := &reconciler{client: g.ClientFor("namespace-controller"), resources: cfg.Resources, pauses: map[string]time.Duration{}}
	var err error
	if r.namespaces, err = controller.ViewOf[*corev1.Namespace](g); err != nil {
		return fmt.Errorf("namespace: %w", err)
	}
	_, err = g.Add(controller.Config{
		Name:       "namespace",
		Reconciler: r,
		Sources: []controller.Source{
			controller.On[*corev1.Namespace]{
				Where: func(_, after *corev1.Namespace) bool { return after == nil || after.DeletionTimestamp != nil },
			},
			controller.On[*corev1.Pod]{ // pods take their time; the rest waits for them
				Where: func(_, after *corev1.Pod) bool { return after == nil },
				Keys:  r.terminating,
			},
		},
		Logger: cfg.Logger,
	})
	return err
}

type reconciler struct {
	client     client.Interface
	resources  controller.Resources
	namespaces *controller.View[*corev1.Namespace]

	mu     sync.Mutex
	pauses map[string]time.Duration
}

// terminating returns a pod's namespace, when that is being deleted.
func (r *reconciler) terminating(pod *corev1.Pod) []controller.Key {
	if ns, ok := r.namespaces.Get("", pod.Namespace); ok && ns.DeletionTimestamp != nil {
		return []controller.Key{{Name: ns.Name}}
	}
	return nil
}

// pause returns how long to wait before the next look at a namespace; it doubles each time.
func (r *reconciler) pause(name string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := max(pauseMin, r.pauses[name])
	r.pauses[name] = min(2*d, pauseMax)
	return d
}

func (r *reconciler) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pauses, name)
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	ns, ok := r.namespaces.Get("", key.Name)
	if !ok || ns.DeletionTimestamp == nil || !slices.Contains(ns.Spec.Finalizers, corev1.FinalizerKubernetes) {
		r.forget(key.Name)
		return controller.Result{}, nil
	}
	content := r.empty(ctx, ns.Name)
	if ctx.Err() != nil {
		return controller.Result{}, ctx.Err()
	}
	ns, err := r.report(ctx, ns, content)
	if err != nil {
		return controller.Result{}, err
	}
	if err := errors.Join(content.discovery, content.deletion); err != nil {
		return controller.Result{}, err
	}
	if content.left() {
		return controller.Result{After: r.pause(ns.Name)}, nil
	}
	return controller.Result{}, r.finalize(ctx, ns)
}

// report writes the conditions, when they change, and returns the namespace as it is then.
func (r *reconciler) report(ctx context.Context, ns *corev1.Namespace, content content) (*corev1.Namespace, error) {
	next := ns.DeepCopy()
	next.Status.Phase = corev1.NamespaceTerminating
	next.Status.Conditions = content.conditions(ns.Status.Conditions, metav1.Now())
	if equality.Semantic.DeepEqual(ns.Status, next.Status) {
		return next, nil
	}
	return client.For[*corev1.Namespace](r.client).UpdateStatus(ctx, next)
}

// finalize takes the finalizer off, which lets the namespace go.
func (r *reconciler) finalize(ctx context.Context, ns *corev1.Namespace) error {
	ref := client.For[*corev1.Namespace](r.client).Ref("", ns.Name)
	ref.Subresource = "finalize"
	next := ns.DeepCopy()
	next.Spec.Finalizers = slices.DeleteFunc(next.Spec.Finalizers, func(f corev1.FinalizerName) bool {
		return f == corev1.FinalizerKubernetes
	})
	_, err := r.client.Update(ctx, ref, next, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("finalize: %w", err)
	}
	r.forget(ns.Name)
	return nil
}
