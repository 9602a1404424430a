package manager

import (
	"context"
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	class     = "sites"
	finalizer = "sites.example.com/registration"
	byClass   = "spec.ingressClassName"
	registry  = "registrations"
)

// sites is an operator: each Ingress of its class gets a Deployment and a Service, which it owns, an entry in a
// ConfigMap that all share, which a finalizer takes away, and in its status the image that the Deployment runs.
type sites struct {
	client.Client
	// live reads past the cache.
	live     client.Reader
	recorder events.EventRecorder
}

func (s *sites) setup(ctx context.Context, mgr ctrl.Manager) error {
	s.Client, s.live, s.recorder = mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder("sites")
	err := mgr.GetFieldIndexer().IndexField(ctx, &networkingv1.Ingress{}, byClass, func(o client.Object) []string {
		if c := o.(*networkingv1.Ingress).Spec.IngressClassName; c != nil {
			return []string{*c}
		}
		return nil
	})
	if err != nil {
		return err
	}
	skip := true
	return ctrl.NewControllerManagedBy(mgr).Named("sites").WithOptions(controller.Options{SkipNameValidation: &skip}).
		For(&networkingv1.Ingress{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Owns(&appsv1.Deployment{}).Owns(&corev1.Service{}, builder.OnlyMetadata).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(s.all)).
		Complete(s)
}

// all are the requests for all sites, when the settings change.
func (s *sites) all(ctx context.Context, o client.Object) []reconcile.Request {
	var l networkingv1.IngressList
	if o.GetName() != "settings" || s.List(ctx, &l, client.InNamespace(o.GetNamespace()), client.MatchingFields{byClass: class}) != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range l.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&l.Items[i])})
	}
	return out
}

func (s *sites) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var site networkingv1.Ingress
	if err := s.Get(ctx, req.NamespacedName, &site); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if site.Spec.IngressClassName == nil || *site.Spec.IngressClassName != class {
		return reconcile.Result{}, nil
	}
	if !site.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, s.release(ctx, &site)
	}
	if controllerutil.AddFinalizer(&site, finalizer) {
		if err := s.Update(ctx, &site); err != nil {
			return reconcile.Result{}, again(err)
		}
	}
	if err := s.register(ctx, &site); err != nil {
		return reconcile.Result{}, err
	}
	d, err := s.deploy(ctx, &site)
	if err != nil {
		return reconcile.Result{}, again(err)
	}
	return reconcile.Result{}, s.report(ctx, &site, d)
}

// again makes a conflict, which comes of a cache that is behind, no error to complain about.
func again(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("the cache is behind: %w", err)
	}
	return err
}

// register enters the site by server-side apply, with a manager for each site.
func (s *sites) register(ctx context.Context, site *networkingv1.Ingress) error {
	cm := coreapply.ConfigMap(registry, site.Namespace).WithData(map[string]string{site.Name: "registered"})
	return s.Apply(ctx, cm, client.FieldOwner("site-"+site.Name), client.ForceOwnership)
}

// release takes the site's entry away: who applies nothing any more owns nothing.
func (s *sites) release(ctx context.Context, site *networkingv1.Ingress) error {
	if !controllerutil.ContainsFinalizer(site, finalizer) {
		return nil
	}
	if err := s.Apply(ctx, coreapply.ConfigMap(registry, site.Namespace), client.FieldOwner("site-"+site.Name)); err != nil {
		return err
	}
	before := site.DeepCopy()
	controllerutil.RemoveFinalizer(site, finalizer)
	return client.IgnoreNotFound(s.Patch(ctx, site, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
}

func (s *sites) deploy(ctx context.Context, site *networkingv1.Ingress) (*appsv1.Deployment, error) {
	image := "registry.test/test/web:v1"
	var settings corev1.ConfigMap
	if err := s.Get(ctx, types.NamespacedName{Namespace: site.Namespace, Name: "settings"}, &settings); err == nil {
		image = settings.Data["image"]
	}
	replicas := int32(1)
	if n, err := strconv.Atoi(site.Annotations["replicas"]); err == nil {
		replicas = int32(n)
	}
	labels := map[string]string{"site": site.Name}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: site.Namespace, Name: site.Name}}
	done, err := controllerutil.CreateOrUpdate(ctx, s.Client, d, func() error {
		grace := int64(1)
		d.Spec.Replicas, d.Spec.Selector, d.Spec.Template.Labels = &replicas, &metav1.LabelSelector{MatchLabels: labels}, labels
		if len(d.Spec.Template.Spec.Containers) == 0 {
			d.Spec.Template.Spec.Containers = make([]corev1.Container, 1)
		}
		d.Spec.Template.Spec.TerminationGracePeriodSeconds = &grace
		d.Spec.Template.Spec.Containers[0].Name, d.Spec.Template.Spec.Containers[0].Image = "web", image
		return controllerutil.SetControllerReference(site, d, s.Scheme())
	})
	if err != nil {
		return nil, err
	}
	if done == controllerutil.OperationResultCreated {
		s.recorder.Eventf(site, d, corev1.EventTypeNormal, "Deployed", "Deploy", "made deployment %s", d.Name)
	}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: site.Namespace, Name: site.Name}}
	_, err = controllerutil.CreateOrPatch(ctx, s.Client, svc, func() error {
		svc.Spec.Selector = labels
		svc.Spec.Ports = []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}}
		return controllerutil.SetControllerReference(site, svc, s.Scheme())
	})
	return d, err
}

// report patches the status alone, once the deployment has what it shall have.
func (s *sites) report(ctx context.Context, site *networkingv1.Ingress, d *appsv1.Deployment) error {
	if d.Status.ObservedGeneration != d.Generation || d.Status.AvailableReplicas != *d.Spec.Replicas || d.Status.Replicas != *d.Spec.Replicas {
		return nil
	}
	before := site.DeepCopy()
	host := fmt.Sprintf("%s-%d.example.com", d.Spec.Template.Spec.Containers[0].Image[len("registry.test/test/web:"):], d.Status.AvailableReplicas)
	site.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{Hostname: host}}
	return client.IgnoreNotFound(s.Status().Patch(ctx, site, client.MergeFrom(before)))
}
