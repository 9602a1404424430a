// Package resourcequota keeps the status of ResourceQuotas: what they count is charged by the API server's
// admission when it is stored, and given back here when it goes.
package resourcequota

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
	"github.com/inboard/inboard/internal/quota"
)

// DefaultResync is kube-controller-manager's.
const DefaultResync = 5 * time.Minute

// Config describes the controller.
type Config struct {
	// Client is needed by New only; Add uses the group's.
	Client client.Interface
	// Resources tell what a quota can count besides pods, services and claims; nil is the built-in
	// kinds.
	Resources controller.Resources
	// Resync is how often each quota is counted anew, for what goes without the controller's notice;
	// 0 is DefaultResync, less than 0 never.
	Resync time.Duration
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

// New returns the controller with views of its own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("resourcequota: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controller to a group.
func Add(g *controller.Group, cfg Config) error {
	cfg.Resync = cmp.Or(cfg.Resync, DefaultResync)
	if cfg.Resources == nil {
		cfg.Resources = controller.Known(controller.Builtin()...)
	}
	r := &reconciler{cfg: cfg, client: g.ClientFor("resourcequota-controller"), typed: client.For[*corev1.ResourceQuota](g.ClientFor("resourcequota-controller"))}
	var err error
	if r.quotas, err = controller.ViewOf[*corev1.ResourceQuota](g); err != nil {
		return fmt.Errorf("resourcequota: %w", err)
	}
	_, err = g.Add(controller.Config{
		Name:       "resourcequota",
		Reconciler: r,
		Sources: []controller.Source{
			controller.On[*corev1.ResourceQuota]{Where: respecified},
			controller.On[*corev1.Pod]{Where: podFreed, Keys: keysOf[*corev1.Pod](r)},
			controller.On[*corev1.Service]{Where: serviceFreed, Keys: keysOf[*corev1.Service](r)},
			controller.On[*corev1.PersistentVolumeClaim]{Where: claimFreed, Keys: keysOf[*corev1.PersistentVolumeClaim](r)},
			controller.On[*corev1.ConfigMap]{Where: configMapGone, Keys: keysOf[*corev1.ConfigMap](r)},
			controller.On[*corev1.Secret]{Where: secretGone, Keys: keysOf[*corev1.Secret](r)},
			controller.On[*appsv1.ReplicaSet]{Where: replicaSetGone, Keys: keysOf[*appsv1.ReplicaSet](r)},
			controller.On[*corev1.ReplicationController]{Where: controllerGone, Keys: keysOf[*corev1.ReplicationController](r)},
		},
		Logger: cfg.Logger,
	})
	return err
}

// respecified tells that a quota's limits changed; its status is written here and by admission.
func respecified(before, after *corev1.ResourceQuota) bool {
	return after != nil && (before == nil || !quota.Equal(before.Spec.Hard, after.Spec.Hard) || !quota.Equal(after.Spec.Hard, after.Status.Hard))
}

// Of other kinds than these the resync notices what goes.
func configMapGone(_, after *corev1.ConfigMap) bool { return after == nil }

func secretGone(_, after *corev1.Secret) bool { return after == nil }

func replicaSetGone(_, after *appsv1.ReplicaSet) bool { return after == nil }

func controllerGone(_, after *corev1.ReplicationController) bool { return after == nil }

func podFreed(before, after *corev1.Pod) bool {
	now := time.Now()
	return after == nil || before != nil && (quota.Charged(before, now) && !quota.Charged(after, now) || before.DeletionTimestamp == nil && after.DeletionTimestamp != nil)
}

func serviceFreed(before, after *corev1.Service) bool {
	return after == nil || before != nil && (before.Spec.Type != after.Spec.Type || len(before.Spec.Ports) != len(after.Spec.Ports))
}

func claimFreed(before, after *corev1.PersistentVolumeClaim) bool {
	return after == nil || before != nil && (!quota.Equal(before.Spec.Resources.Requests, after.Spec.Resources.Requests) ||
		!quota.Equal(before.Status.AllocatedResources, after.Status.AllocatedResources))
}

// keysOf returns the quotas of an object's namespace.
func keysOf[T client.Object](r *reconciler) func(T) []controller.Key {
	return func(obj T) []controller.Key {
		var keys []controller.Key
		for _, q := range r.quotas.List(obj.GetNamespace()) {
			keys = append(keys, controller.KeyOf(q))
		}
		return keys
	}
}

type reconciler struct {
	cfg    Config
	client client.Interface
	typed  client.Typed[*corev1.ResourceQuota]
	quotas *controller.View[*corev1.ResourceQuota]
}

// Reconcile implements controller.Reconciler. It counts what the API has, not what a view shows: the quota
// is read first, what it counts after that, and the status is written on the condition that the quota is
// as it was read. Whatever was stored since has been charged, which changes the quota; so a count is
// never written that lacks something. What is limited for the first time is charged only from then on:
// then it is counted once more.
func (r *reconciler) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	for {
		again, err := r.update(ctx, key)
		switch {
		case apierrors.IsNotFound(err):
			return controller.Result{}, nil
		case err != nil:
			return controller.Result{}, fmt.Errorf("count for quota %s: %w", key, err)
		case again:
			continue
		}
		return controller.Result{After: max(r.cfg.Resync, 0)}, nil
	}
}

// update writes what a quota's namespace uses. Again tells that the limits that are charged changed.
func (r *reconciler) update(ctx context.Context, key controller.Key) (again bool, err error) {
	q, err := r.typed.Get(ctx, key.Namespace, key.Name)
	if err != nil {
		return false, err
	}
	used, err := r.count(ctx, q, time.Now())
	if err != nil {
		return false, err
	}
	again = !quota.Equal(q.Spec.Hard, q.Status.Hard)
	if !again && quota.Equal(used, q.Status.Used) {
		return false, nil
	}
	q.Status.Hard, q.Status.Used = q.Spec.Hard.DeepCopy(), used
	_, err = r.typed.UpdateStatus(ctx, q)
	return again, err
}

// count returns what a quota's namespace uses of what the quota limits. What nothing counts is left out.
func (r *reconciler) count(ctx context.Context, q *corev1.ResourceQuota, now time.Time) (corev1.ResourceList, error) {
	used := corev1.ResourceList{}
	tracked, _ := quota.Tracked(q.Spec.Hard)
	var errs []error
	for _, gr := range tracked {
		objects, ok, err := r.list(ctx, gr, q.Namespace)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !ok {
			continue
		}
		part, err := quota.Used(q, gr, objects, now)
		if err != nil {
			return nil, fmt.Errorf("quota %s/%s: %w", q.Namespace, q.Name, err)
		}
		used = quota.Add(used, part)
	}
	return used, errors.Join(errs...)
}

// list returns the objects of a resource in a namespace; ok is false when there is no such resource.
func (r *reconciler) list(ctx context.Context, gr schema.GroupResource, namespace string) (objects []runtime.Object, ok bool, err error) {
	gvr, ok, err := r.resource(ctx, gr)
	if err != nil || !ok {
		return nil, false, err
	}
	list, err := r.client.List(ctx, client.Ref{GroupVersionResource: gvr, Namespace: namespace}, metav1.ListOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("count %s in %s: %w", gr, namespace, err)
	}
	return list.Items, true, nil
}

func (r *reconciler) resource(ctx context.Context, gr schema.GroupResource) (schema.GroupVersionResource, bool, error) {
	if gr.Group == "" {
		return gr.WithVersion("v1"), true, nil
	}
	known, err := r.cfg.Resources(ctx)
	for _, k := range known {
		if k.GroupResource() == gr {
			return k.GroupVersionResource, true, nil
		}
	}
	if err != nil {
		return schema.GroupVersionResource{}, false, fmt.Errorf("look for %s: %w", gr, err)
	}
	return gr.WithVersion("v1"), true, nil // most are v1; if not the list says so
}
