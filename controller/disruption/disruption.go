// Package disruption keeps the status of PodDisruptionBudgets: how many pods a budget's application has, how
// many of them are healthy, and so how many may be evicted. The API server's eviction subresource reads it and
// charges evictions to it.
//
// https://kubernetes.io/docs/tasks/run-application/configure-pdb/
package disruption

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// Config describes the controller.
type Config struct {
	// Client is needed by New only; Add uses the group's.
	Client client.Interface
	// Resources tell which resources pods' owners of other groups than core, apps and batch are; nil is
	// the built-in kinds.
	Resources controller.Resources
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

// New returns the controller with views of its own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("disruption: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controller to a group.
func Add(g *controller.Group, cfg Config) error {
	if cfg.Resources == nil {
		cfg.Resources = controller.Known(controller.Builtin()...)
	}
	c := g.ClientFor("disruption-controller")
	r := &reconciler{typed: client.For[*policyv1.PodDisruptionBudget](c)}
	r.owners = owners{client: c, resources: cfg.Resources}
	var errs [5]error
	r.budgets, errs[0] = controller.ViewOf[*policyv1.PodDisruptionBudget](g)
	r.pods, errs[1] = controller.ViewOf[*corev1.Pod](g)
	r.owners.sets, errs[2] = controller.ViewOf[*appsv1.ReplicaSet](g)
	r.owners.deployments, errs[3] = controller.ViewOf[*appsv1.Deployment](g)
	r.events, errs[4] = g.Recorder("controllermanager")
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("disruption: %w", err)
	}
	_, err := g.Add(controller.Config{
		Name:       "disruption",
		Reconciler: r,
		Sources: []controller.Source{
			controller.On[*policyv1.PodDisruptionBudget]{Where: budgetMatters},
			controller.On[*corev1.Pod]{Where: podMatters, Keys: r.ofPod},
			controller.On[*appsv1.ReplicaSet]{Where: setMatters, Keys: ofNamespace[*appsv1.ReplicaSet](r)},
			controller.On[*appsv1.Deployment]{Where: deploymentMatters, Keys: ofNamespace[*appsv1.Deployment](r)},
		},
		Logger: cfg.Logger,
	})
	return err
}

// budgetMatters drops changes of what only explains: an error that reads differently each time would otherwise be
// tried again without a pause.
func budgetMatters(before, after *policyv1.PodDisruptionBudget) bool {
	if before == nil || after == nil || before.UID != after.UID || before.Generation != after.Generation {
		return true
	}
	b, a := before.Status.DeepCopy(), after.Status.DeepCopy()
	for _, s := range []*policyv1.PodDisruptionBudgetStatus{b, a} {
		for i := range s.Conditions {
			s.Conditions[i].Message = ""
		}
	}
	return !equality.Semantic.DeepEqual(b, a)
}

// podMatters drops changes of pods that no budget counts.
func podMatters(before, after *corev1.Pod) bool {
	return before == nil || after == nil || before.UID != after.UID || ready(before) != ready(after) ||
		(before.DeletionTimestamp == nil) != (after.DeletionTimestamp == nil) ||
		!maps.Equal(before.Labels, after.Labels) || controllerUID(before) != controllerUID(after)
}

func setMatters(before, after *appsv1.ReplicaSet) bool {
	return before == nil || after == nil || replicas(before.Spec.Replicas) != replicas(after.Spec.Replicas) ||
		controllerUID(before) != controllerUID(after)
}

func deploymentMatters(before, after *appsv1.Deployment) bool {
	return before == nil || after == nil || replicas(before.Spec.Replicas) != replicas(after.Spec.Replicas)
}

func controllerUID(obj metav1.Object) types.UID {
	if ref := metav1.GetControllerOfNoCopy(obj); ref != nil {
		return ref.UID
	}
	return ""
}

type reconciler struct {
	typed   client.Typed[*policyv1.PodDisruptionBudget]
	budgets *controller.View[*policyv1.PodDisruptionBudget]
	pods    *controller.View[*corev1.Pod]
	owners  owners
	events  controller.Recorder
}

// ofPod returns the budgets that select a pod.
func (r *reconciler) ofPod(p *corev1.Pod) []controller.Key {
	var keys []controller.Key
	for _, pdb := range r.budgets.List(p.Namespace) {
		if s, err := metav1.LabelSelectorAsSelector(pdb.Spec.Selector); err == nil && s.Matches(labels.Set(p.Labels)) {
			keys = append(keys, controller.KeyOf(pdb))
		}
	}
	return keys
}

// ofNamespace returns the budgets of an object's namespace: few, and a scale changes seldom.
func ofNamespace[T client.Object](r *reconciler) func(T) []controller.Key {
	return func(obj T) []controller.Key {
		var keys []controller.Key
		for _, pdb := range r.budgets.List(obj.GetNamespace()) {
			keys = append(keys, controller.KeyOf(pdb))
		}
		return keys
	}
}

// Reconcile implements controller.Reconciler. Each write is locked to the budget that was judged, so that an
// eviction that was charged meanwhile leads to a Conflict and a new look, never to a budget that forgot it.
func (r *reconciler) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	pdb, ok := r.budgets.Get(key.Namespace, key.Name)
	if !ok {
		return controller.Result{}, nil
	}
	after, err := r.sync(ctx, pdb)
	var count *countError
	switch {
	case errors.As(err, &count): // whatever it wraps, it is not about the budget
	case apierrors.IsNotFound(err):
		return controller.Result{}, nil
	case err == nil || apierrors.IsConflict(err):
		return controller.Result{After: after}, err
	}
	return controller.Result{}, r.failSafe(ctx, pdb, err)
}

// sync writes the status, and returns when to look again though nothing changes; 0 is never.
func (r *reconciler) sync(ctx context.Context, pdb *policyv1.PodDisruptionBudget) (time.Duration, error) {
	pods, err := r.podsOf(pdb)
	if err != nil {
		return 0, err
	}
	var scale int32
	var unmanaged int
	if ByScale(&pdb.Spec) {
		if scale, unmanaged, err = r.owners.scale(ctx, pods); err != nil {
			return 0, &countError{err}
		}
	}
	plan, err := Compute(pdb, pods, scale, time.Now())
	if err != nil {
		return 0, &countError{err}
	}
	if UpToDate(pdb, &plan.Status) {
		return plan.After, nil
	}
	changed := pdb.DeepCopy()
	changed.Status = plan.Status
	if _, err := r.typed.UpdateStatus(ctx, changed); err != nil {
		return 0, err
	}
	r.tell(pdb, len(pods), unmanaged, plan.Overdue)
	return plan.After, nil
}

// podsOf returns the pods that a budget selects, by name: a failure names the first pod that it is about, and must
// read the same each time, or its own writing would lead to the next.
func (r *reconciler) podsOf(pdb *policyv1.PodDisruptionBudget) ([]*corev1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(pdb.Spec.Selector)
	if err != nil {
		return nil, err
	}
	var out []*corev1.Pod
	for _, p := range r.pods.List(pdb.Namespace) {
		if selector.Matches(labels.Set(p.Labels)) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// tell records events of what is odd about a budget, when its status changed.
func (r *reconciler) tell(pdb *policyv1.PodDisruptionBudget, pods, unmanaged int, overdue []*corev1.Pod) {
	if pods == 0 {
		r.events.Event(pdb, corev1.EventTypeNormal, "NoPods", "No matching pods found")
	}
	if unmanaged > 0 {
		r.events.Eventf(pdb, corev1.EventTypeWarning, "UnmanagedPods", "Pods selected by this PodDisruptionBudget (selector: %v) were found "+
			"to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. "+
			"To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.", pdb.Spec.Selector)
	}
	for _, p := range overdue {
		r.events.Eventf(p, corev1.EventTypeWarning, "NotDeleted", "Pod was expected by PDB %s/%s to be deleted but it wasn't", pdb.Namespace, pdb.Name)
	}
}

// countError tells that the pods that a budget expects can't be counted.
type countError struct{ error }

func (e *countError) Unwrap() error { return e.error }

// failSafe allows no evictions from a budget that can't be kept, and tells why. The error is retried unless only
// a change of the cluster can mend it, which is noticed.
func (r *reconciler) failSafe(ctx context.Context, pdb *policyv1.PodDisruptionBudget, cause error) error {
	again := cause
	if errors.Is(cause, errNoScale) {
		again = nil
	}
	status := Failed(pdb, cause.Error(), time.Now())
	if failedAlready(pdb, &status) {
		return again
	}
	if count := (*countError)(nil); errors.As(cause, &count) {
		r.events.Eventf(pdb, corev1.EventTypeWarning, "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %v", cause)
	}
	changed := pdb.DeepCopy()
	changed.Status = status
	if _, err := r.typed.UpdateStatus(ctx, changed); err != nil && !apierrors.IsNotFound(err) {
		return errors.Join(err, again)
	}
	return again
}
