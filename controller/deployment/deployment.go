// Package deployment rolls out Deployments: it keeps one ReplicaSet for each template that a
// Deployment has had, moves replicas from the old ones to the present one within the bounds of the
// strategy, and reports progress in conditions and events.
package deployment

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
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// Config describes the controller.
type Config struct {
	// Client is needed by New only; Add uses the group's.
	Client client.Interface
	// Workers is how many Deployments may be reconciled at once; 0 is the default.
	Workers int
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

var (
	kind    = appsv1.SchemeGroupVersion.WithKind("Deployment")
	setKind = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")
)

// New returns the controller with views of its own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("deployment: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controller to a group.
func Add(g *controller.Group, cfg Config) error {
	r := &reconciler{
		client:  g.ClientFor("deployment-controller"),
		typed:   client.For[*appsv1.Deployment](g.ClientFor("deployment-controller")),
		setType: client.For[*appsv1.ReplicaSet](g.ClientFor("deployment-controller")),
	}
	var errs [4]error
	r.deployments, errs[0] = controller.ViewOf[*appsv1.Deployment](g)
	r.sets, errs[1] = controller.ViewOf[*appsv1.ReplicaSet](g)
	r.pods, errs[2] = controller.ViewOf[*corev1.Pod](g)
	r.events, errs[3] = g.Recorder("deployment-controller")
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("deployment: %w", err)
	}
	controller.IndexOwners(r.sets)
	controller.IndexOwners(r.pods)
	r.sets.Expect(&r.expect)
	_, err := g.Add(controller.Config{
		Name:       "deployment",
		Reconciler: r,
		Sources: []controller.Source{
			controller.On[*appsv1.Deployment]{},
			controller.On[*appsv1.ReplicaSet]{Keys: r.keysOfSet},
			controller.On[*corev1.Pod]{Keys: r.keysOfPod, Where: goes},
		},
		Workers: cfg.Workers,
		Logger:  cfg.Logger,
	})
	return err
}

type reconciler struct {
	client      client.Interface
	typed       client.Typed[*appsv1.Deployment]
	setType     client.Typed[*appsv1.ReplicaSet]
	deployments *controller.View[*appsv1.Deployment]
	sets        *controller.View[*appsv1.ReplicaSet]
	pods        *controller.View[*corev1.Pod]
	events      controller.Recorder
	expect      controller.Expectations
}

// goes passes the pods that stop, which is what Recreate waits for.
func goes(before, after *corev1.Pod) bool {
	return after == nil || before != nil && before.Status.Phase != after.Status.Phase
}

// keysOfSet returns the deployment that controls a set, or for an orphan those that may adopt it.
func (r *reconciler) keysOfSet(rs *appsv1.ReplicaSet) []controller.Key {
	if metav1.GetControllerOfNoCopy(rs) != nil {
		return controller.OwnerKeys[*appsv1.ReplicaSet](kind.GroupKind())(rs)
	}
	var keys []controller.Key
	for _, d := range r.deployments.List(rs.Namespace) {
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(rs.Labels)) {
			keys = append(keys, controller.KeyOf(d))
		}
	}
	return keys
}

// keysOfPod returns the deployment behind a pod's set, when it uses Recreate.
func (r *reconciler) keysOfPod(p *corev1.Pod) []controller.Key {
	owner := controller.OwnerKeys[*corev1.Pod](setKind.GroupKind())(p)
	if len(owner) == 0 {
		return nil
	}
	rs, ok := r.sets.Get(owner[0].Namespace, owner[0].Name)
	if !ok {
		return nil
	}
	keys := r.keysOfSet(rs)
	return slices.DeleteFunc(keys, func(k controller.Key) bool {
		d, ok := r.deployments.Get(k.Namespace, k.Name)
		return !ok || isRolling(d)
	})
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	d, ok := r.deployments.Get(key.Namespace, key.Name)
	if !ok {
		r.expect.Forget(key)
		return controller.Result{}, nil
	}
	// A template that changes again while the view trails must not make a third set grow on top
	// of what the second was just given.
	gvr := appsv1.SchemeGroupVersion.WithResource("replicasets")
	if settled, wait, err := r.expect.Settled(ctx, r.client, gvr, key); err != nil || !settled {
		return controller.Result{After: wait}, err
	}
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return controller.Result{}, nil // the API accepts no such selector; nothing can be done
	}
	if selector.Empty() {
		r.events.Event(d, corev1.EventTypeWarning, "SelectingAll",
			"This deployment is selecting all pods. A non-empty selector is required.")
		return controller.Result{}, nil
	}
	claim := controller.Claim[*appsv1.ReplicaSet]{Client: r.client, Owner: d, Kind: kind, Selector: selector}
	candidates := slices.Concat(controller.Owned(r.sets, d.UID), controller.Orphans(r.sets, d.Namespace))
	sets, err := claim.Settle(ctx, candidates)
	if err != nil {
		return controller.Result{}, err
	}
	plan := Decide(State{
		Deployment: d, Sets: sets, Now: time.Now(),
		Pods: func(set types.UID) []*corev1.Pod { return controller.Owned(r.pods, set) },
	})
	return controller.Result{After: plan.After}, r.carryOut(ctx, d, plan)
}

// carryOut does what the plan says. Each write is refused by the API when it was planned from a
// state that is no longer the present one, and then planned anew.
func (r *reconciler) carryOut(ctx context.Context, d *appsv1.Deployment, plan Plan) error {
	if plan.Create != nil {
		if done, err := r.createSet(ctx, d, plan); err != nil || done {
			return err
		}
	}
	for _, c := range plan.Update {
		r.expect.Update(controller.KeyOf(d), controller.NameOf(c.Set), c.Set.ResourceVersion)
		if _, err := r.setType.Update(ctx, c.Set); err != nil {
			if controller.Refused(err) {
				r.expect.Drop(controller.NameOf(c.Set))
			}
			return fmt.Errorf("update replica set %s: %w", c.Set.Name, err)
		}
		if message := c.Message(); message != "" {
			r.events.Event(d, corev1.EventTypeNormal, "ScalingReplicaSet", message)
		}
	}
	for _, rs := range plan.Delete {
		err := r.setType.Delete(ctx, rs.Namespace, rs.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &rs.UID, ResourceVersion: &rs.ResourceVersion},
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete old replica set %s: %w", rs.Name, err)
		}
	}
	if plan.Annotations != nil {
		d = d.DeepCopy()
		d.Annotations = plan.Annotations
		return r.storeStatus(ctx, d, plan.Status)
	}
	return r.writeStatus(ctx, d, plan.Status)
}

func (r *reconciler) writeStatus(ctx context.Context, d *appsv1.Deployment, status appsv1.DeploymentStatus) error {
	if equality.Semantic.DeepEqual(d.Status, status) {
		return nil
	}
	return r.storeStatus(ctx, d.DeepCopy(), status)
}

// storeStatus writes the status, and with it the annotations of d, which becomes the callee's: written so, they are no
// change of the deployment's generation.
func (r *reconciler) storeStatus(ctx context.Context, d *appsv1.Deployment, status appsv1.DeploymentStatus) error {
	d.Status = status
	_, err := r.typed.UpdateStatus(ctx, d)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// createSet creates the set of the present template. Done tells that the rest of the plan must wait
// for the next reconcile.
func (r *reconciler) createSet(ctx context.Context, d *appsv1.Deployment, plan Plan) (done bool, err error) {
	rs := plan.Create
	r.expect.Create(controller.KeyOf(d), controller.NameOf(rs))
	_, err = r.setType.Create(ctx, rs)
	if controller.Refused(err) {
		r.expect.Drop(controller.NameOf(rs))
	}
	switch {
	case err == nil:
		if message := scaledMessage(rs.Name, 0, replicasOf(rs)); message != "" {
			r.events.Event(d, corev1.EventTypeNormal, "ScalingReplicaSet", message)
		}
		return false, nil
	case apierrors.IsAlreadyExists(err):
		return true, r.exists(ctx, d, rs)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return true, nil
	case ctx.Err() != nil:
		return true, err
	}
	message := fmt.Sprintf("Failed to create new replica set %q: %v", rs.Name, err)
	r.events.Event(d, corev1.EventTypeWarning, reasonCreateError, message)
	if _, limited := (&planner{d: d}).deadline(); limited {
		c := conditions{list: slices.Clone(d.Status.Conditions), now: metav1.Now()}
		c.set(appsv1.DeploymentProgressing, corev1.ConditionFalse, reasonCreateError, message)
		status := *d.Status.DeepCopy()
		status.Conditions = c.list
		err = errors.Join(err, r.writeStatus(ctx, d, status))
	}
	return true, err
}

// exists looks at the set whose name is taken: when it is ours, the view is about to show it; when
// not, two templates have one hash, and the collision count gives the next try another name.
func (r *reconciler) exists(ctx context.Context, d *appsv1.Deployment, rs *appsv1.ReplicaSet) error {
	there, err := r.setType.Get(ctx, rs.Namespace, rs.Name)
	if err != nil {
		return err
	}
	if metav1.IsControlledBy(there, d) && sameTemplate(&there.Spec.Template, &d.Spec.Template) {
		return nil
	}
	status := *d.Status.DeepCopy()
	count := int32(1)
	if status.CollisionCount != nil {
		count += *status.CollisionCount
	}
	status.CollisionCount = &count
	if err := r.writeStatus(ctx, d, status); err != nil {
		return err
	}
	return fmt.Errorf("replica set %s exists and is of another template or owner; trying another name", rs.Name)
}
