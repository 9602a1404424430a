// Package replicaset runs the pods of ReplicaSets: it adopts and releases pods, creates and deletes
// them until there are spec.replicas, and reports status.
package replicaset

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// Config describes the controller.
type Config struct {
	// Client is needed by New only; Add uses the group's.
	Client client.Interface
	// Workers is how many ReplicaSets may be reconciled at once; 0 is the default.
	Workers int
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

// kind is the kind that this controller serves.
var kind = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")

// New returns the controller with views of its own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("replicaset: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controller to a group.
func Add(g *controller.Group, cfg Config) error {
	r := &reconciler{client: g.ClientFor("replicaset-controller"), typed: client.For[*corev1.Pod](g.ClientFor("replicaset-controller"))}
	var errs [3]error
	r.sets, errs[0] = controller.ViewOf[*appsv1.ReplicaSet](g)
	r.pods, errs[1] = controller.ViewOf[*corev1.Pod](g)
	r.events, errs[2] = g.Recorder("replicaset-controller")
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("replicaset: %w", err)
	}
	controller.IndexOwners(r.sets)
	controller.IndexOwners(r.pods)
	r.pods.Expect(&r.expect)
	_, err := g.Add(controller.Config{
		Name:       "replicaset",
		Reconciler: r,
		Sources: []controller.Source{
			controller.On[*appsv1.ReplicaSet]{},
			controller.On[*corev1.Pod]{Keys: r.keysOf},
		},
		Workers: cfg.Workers,
		Logger:  cfg.Logger,
	})
	return err
}

type reconciler struct {
	client client.Interface
	typed  client.Typed[*corev1.Pod]
	sets   *controller.View[*appsv1.ReplicaSet]
	pods   *controller.View[*corev1.Pod]
	events controller.Recorder
	expect controller.Expectations
}

// keysOf returns the set that controls a pod, or for an orphan those that may adopt it.
func (r *reconciler) keysOf(p *corev1.Pod) []controller.Key {
	if metav1.GetControllerOfNoCopy(p) != nil {
		return controller.OwnerKeys[*corev1.Pod](kind.GroupKind())(p)
	}
	var keys []controller.Key
	for _, rs := range r.sets.List(p.Namespace) {
		selector, err := selectorOf(rs)
		if err == nil && selector.Matches(labels.Set(p.Labels)) {
			keys = append(keys, controller.KeyOf(rs))
		}
	}
	return keys
}

// selectorOf returns a selector that matches nothing when the set's is empty.
func selectorOf(rs *appsv1.ReplicaSet) (labels.Selector, error) {
	selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("spec.selector: %w", err)
	}
	if selector.Empty() {
		return labels.Nothing(), nil
	}
	return selector, nil
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	rs, ok := r.sets.Get(key.Namespace, key.Name)
	if !ok {
		r.expect.Forget(key)
		return controller.Result{}, nil
	}
	selector, err := selectorOf(rs)
	if err != nil {
		return controller.Result{}, nil // the API accepts no such selector; nothing can be done
	}
	settled, wait, err := r.expect.Settled(ctx, r.client, corev1.SchemeGroupVersion.WithResource("pods"), key)
	if err != nil {
		return controller.Result{}, err
	}
	claim := controller.Claim[*corev1.Pod]{Client: r.client, Owner: rs, Kind: kind, Selector: selector}
	candidates := slices.Concat(controller.Owned(r.pods, rs.UID), controller.Orphans(r.pods, rs.Namespace))
	pods, err := claim.Settle(ctx, candidates)
	if err != nil {
		return controller.Result{}, err
	}
	state := State{Set: rs, Pods: pods, Now: time.Now()}
	status, next := Status(state)
	var failure error
	if settled {
		failure = r.act(ctx, state, &status)
	} else {
		// The counts lack pods that the view does not show yet: do not claim that they are
		// those of this generation.
		status.ObservedGeneration = min(status.ObservedGeneration, rs.Status.ObservedGeneration)
	}
	if err := r.writeStatus(ctx, rs, status); err != nil {
		failure = errors.Join(failure, err)
	}
	if wait > 0 && (next == 0 || wait < next) {
		next = wait
	}
	return controller.Result{After: next}, failure
}

// act does the next step, and notes in status whether it failed.
func (r *reconciler) act(ctx context.Context, state State, status *appsv1.ReplicaSetStatus) error {
	rs := state.Set
	plan := Decide(State{Set: rs, Pods: state.Pods, Related: state.Pods, Now: state.Now})
	if len(plan.Delete) > 0 { // only now is the company of the pods worth looking up
		state.Related = r.related(rs, state.Pods)
		plan = Decide(state)
	}
	var reason string
	var err error
	switch {
	case plan.Create > 0:
		reason, err = "FailedCreate", r.create(ctx, rs, plan.Create)
	case len(plan.Delete) > 0:
		reason, err = "FailedDelete", r.delete(ctx, rs, plan.Delete)
	}
	status.Conditions = withFailure(status.Conditions, reason, err, metav1.Now())
	return err
}

// related returns the pods of all sets that have the same controller.
func (r *reconciler) related(rs *appsv1.ReplicaSet, own []*corev1.Pod) []*corev1.Pod {
	ref := metav1.GetControllerOfNoCopy(rs)
	if ref == nil {
		return own
	}
	var out []*corev1.Pod
	for _, sibling := range controller.Owned(r.sets, ref.UID) {
		out = append(out, controller.Owned(r.pods, sibling.UID)...)
	}
	return out
}

// withFailure returns conditions with ReplicaFailure as err tells; without err it is taken out.
func withFailure(conditions []appsv1.ReplicaSetCondition, reason string, err error, now metav1.Time) []appsv1.ReplicaSetCondition {
	var out []appsv1.ReplicaSetCondition
	var old *appsv1.ReplicaSetCondition
	for _, c := range conditions {
		if c.Type == appsv1.ReplicaSetReplicaFailure {
			old = &c
			continue
		}
		out = append(out, c)
	}
	if err == nil {
		return out
	}
	c := appsv1.ReplicaSetCondition{
		Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue,
		Reason: reason, Message: err.Error(), LastTransitionTime: now,
	}
	// The first failure stays: messages that differ by a generated name must not lead to an
	// update, which leads to the next reconcile, and so on.
	if old != nil && old.Reason == reason {
		c = *old
	}
	return append(out, c)
}

func (r *reconciler) writeStatus(ctx context.Context, rs *appsv1.ReplicaSet, status appsv1.ReplicaSetStatus) error {
	if equality.Semantic.DeepEqual(rs.Status, status) {
		return nil
	}
	updated := rs.DeepCopy()
	updated.Status = status
	_, err := client.For[*appsv1.ReplicaSet](r.client).UpdateStatus(ctx, updated)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
