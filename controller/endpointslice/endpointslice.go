// Package endpointslice writes the EndpointSlices of Services that select pods: which addresses
// and ports are behind a service, and which of them are ready.
package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
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
	// MaxEndpoints is how many endpoints one slice holds, up to 1000; 0 is the package's default.
	MaxEndpoints int
	// Workers is how many Services may be reconciled at once; 0 is the default.
	Workers int
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

var serviceKind = corev1.SchemeGroupVersion.WithKind("Service")

// sliceIndex files slices under the service that they are of.
const sliceIndex = "endpointslice/service"

// selectorIndex files services under one label that the pods they select must have.
const selectorIndex = "endpointslice/selector"

func selectorLabel(svc *corev1.Service) []string {
	if len(svc.Spec.Selector) == 0 {
		return nil
	}
	name := slices.Min(slices.Collect(maps.Keys(svc.Spec.Selector)))
	return []string{labelIn(svc.Namespace, name, svc.Spec.Selector[name])}
}

func labelIn(namespace, name, value string) string { return namespace + " " + name + "=" + value }

// New returns the controller with views of its own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("endpointslice: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controller to a group.
func Add(g *controller.Group, cfg Config) error {
	if cfg.MaxEndpoints < 0 || cfg.MaxEndpoints > 1000 {
		return fmt.Errorf("endpointslice: Config.MaxEndpoints is %d; it must be from 1 to 1000", cfg.MaxEndpoints)
	}
	r := &reconciler{client: g.ClientFor("endpointslice-controller"), typed: client.For[*discoveryv1.EndpointSlice](g.ClientFor("endpointslice-controller")), max: cfg.MaxEndpoints}
	var errs [5]error
	r.services, errs[0] = controller.ViewOf[*corev1.Service](g)
	r.pods, errs[1] = controller.ViewOf[*corev1.Pod](g)
	r.slices, errs[2] = controller.ViewOf[*discoveryv1.EndpointSlice](g)
	r.nodes, errs[3] = controller.ViewOf[*corev1.Node](g)
	r.events, errs[4] = g.Recorder("endpoint-slice-controller")
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("endpointslice: %w", err)
	}
	r.slices.Index(sliceIndex, func(s *discoveryv1.EndpointSlice) []string {
		if s.Labels[discoveryv1.LabelManagedBy] != managedBy {
			return nil
		}
		return []string{s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]}
	})
	r.services.Index(selectorIndex, selectorLabel)
	r.slices.Expect(&r.expect)
	_, err := g.Add(controller.Config{
		Name:       "endpointslice",
		Reconciler: r,
		Sources: []controller.Source{
			controller.On[*corev1.Service]{},
			controller.On[*corev1.Pod]{Keys: r.keysOfPod, Where: matters},
			controller.On[*discoveryv1.EndpointSlice]{Keys: keysOfSlice},
			controller.Reads[*corev1.Node]{},
		},
		Workers: cfg.Workers,
		Logger:  cfg.Logger,
	})
	return err
}

type reconciler struct {
	client   client.Interface
	typed    client.Typed[*discoveryv1.EndpointSlice]
	max      int
	services *controller.View[*corev1.Service]
	pods     *controller.View[*corev1.Pod]
	slices   *controller.View[*discoveryv1.EndpointSlice]
	nodes    *controller.View[*corev1.Node]
	events   controller.Recorder
	expect   controller.Expectations
}

// matters drops the changes of pods that no slice shows.
func matters(before, after *corev1.Pod) bool {
	if before == nil || after == nil {
		return true
	}
	return before.Status.PodIP != after.Status.PodIP ||
		before.Spec.NodeName != after.Spec.NodeName ||
		before.Status.Phase != after.Status.Phase ||
		isReady(before) != isReady(after) ||
		(before.DeletionTimestamp == nil) != (after.DeletionTimestamp == nil) ||
		!equality.Semantic.DeepEqual(before.Labels, after.Labels) ||
		!equality.Semantic.DeepEqual(before.Status.PodIPs, after.Status.PodIPs)
}

// keysOfPod returns the services that select a pod.
func (r *reconciler) keysOfPod(p *corev1.Pod) []controller.Key {
	var keys []controller.Key
	for name, value := range p.Labels {
		for _, svc := range r.services.ByIndex(selectorIndex, labelIn(p.Namespace, name, value)) {
			if selects(svc, p) {
				keys = append(keys, controller.KeyOf(svc))
			}
		}
	}
	return keys
}

func selects(svc *corev1.Service, p *corev1.Pod) bool {
	for name, value := range svc.Spec.Selector {
		if got, ok := p.Labels[name]; !ok || got != value {
			return false
		}
	}
	return true
}

func keysOfSlice(s *discoveryv1.EndpointSlice) []controller.Key {
	name := s.Labels[discoveryv1.LabelServiceName]
	if name == "" || s.Labels[discoveryv1.LabelManagedBy] != managedBy {
		return nil
	}
	return []controller.Key{{Namespace: s.Namespace, Name: name}}
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	svc, ok := r.services.Get(key.Namespace, key.Name)
	if !ok {
		// The owner references of the slices have them collected.
		r.expect.Forget(key)
		return controller.Result{}, nil
	}
	if len(svc.Spec.Selector) == 0 || svc.DeletionTimestamp != nil {
		return controller.Result{}, nil // others write the slices of services without a selector
	}
	gvr := discoveryv1.SchemeGroupVersion.WithResource("endpointslices")
	settled, wait, err := r.expect.Settled(ctx, r.client, gvr, key)
	if err != nil || !settled {
		return controller.Result{After: wait}, err
	}
	err = r.carryOut(ctx, svc, Compute(State{
		Service: svc,
		Pods:    r.selected(svc),
		Zone:    r.zone,
		Slices:  r.own(svc),
		Max:     r.max,
	}))
	return controller.Result{}, err
}

func (r *reconciler) selected(svc *corev1.Service) []*corev1.Pod {
	selector := labels.SelectorFromSet(svc.Spec.Selector)
	var out []*corev1.Pod
	for _, p := range r.pods.List(svc.Namespace) {
		if selector.Matches(labels.Set(p.Labels)) {
			out = append(out, p)
		}
	}
	return out
}

// own returns the slices of this very service: one of an earlier service of the name is about to be
// collected.
func (r *reconciler) own(svc *corev1.Service) []*discoveryv1.EndpointSlice {
	var out []*discoveryv1.EndpointSlice
	for _, s := range r.slices.ByIndex(sliceIndex, svc.Namespace+"/"+svc.Name) {
		if s.DeletionTimestamp == nil && metav1.IsControlledBy(s, svc) {
			out = append(out, s)
		}
	}
	return out
}

func (r *reconciler) zone(node string) string {
	if n, ok := r.nodes.Get("", node); ok {
		return n.Labels[corev1.LabelTopologyZone]
	}
	return ""
}

func (r *reconciler) carryOut(ctx context.Context, svc *corev1.Service, plan Plan) error {
	for _, s := range plan.Create {
		r.expect.Create(controller.KeyOf(svc), controller.NameOf(s))
		_, err := r.typed.Create(ctx, s)
		if err == nil {
			continue
		}
		if controller.Refused(err) {
			r.expect.Drop(controller.NameOf(s))
		}
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return nil
		}
		return r.failed(ctx, svc, "FailedToCreateEndpointSlices", "create", s, err)
	}
	for _, s := range plan.Update {
		if _, err := r.typed.Update(ctx, s); err != nil {
			return r.failed(ctx, svc, "FailedToUpdateEndpointSlices", "update", s, err)
		}
	}
	for _, s := range plan.Delete {
		err := r.typed.Delete(ctx, s.Namespace, s.Name, metav1.DeleteOptions{
			Preconditions: metav1.NewUIDPreconditions(string(s.UID)),
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return r.failed(ctx, svc, "FailedToDeleteEndpointSlices", "delete", s, err)
		}
	}
	return nil
}

func (r *reconciler) failed(ctx context.Context, svc *corev1.Service, reason, verb string, s *discoveryv1.EndpointSlice, err error) error {
	err = fmt.Errorf("%s endpoint slice %s: %w", verb, s.Name, err)
	if ctx.Err() == nil && !apierrors.IsConflict(err) {
		r.events.Eventf(svc, corev1.EventTypeWarning, reason, "Error updating Endpoint Slices for Service %s/%s: %v", svc.Namespace, svc.Name, err)
	}
	return err
}
