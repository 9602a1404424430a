// Package serviceaccount gives each namespace its "default" ServiceAccount and, when the cluster
// has a CA, the ConfigMap "kube-root-ca.crt" by which pods know it.
package serviceaccount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// Config describes the controller.
type Config struct {
	// Client is needed by New only; Add uses the group's.
	Client client.Interface
	// RootCA is the PEM certificate that signs the API server's; empty writes no ConfigMap.
	RootCA []byte
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

const (
	accountName   = "default"
	configMapName = "kube-root-ca.crt"
	caKey         = "ca.crt"

	descriptionAnnotation = "kubernetes.io/description"
	description           = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)

// New returns the controller with views of its own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("serviceaccount: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controller to a group.
func Add(g *controller.Group, cfg Config) error {
	r := &reconciler{client: g.ClientFor("service-account-controller"), publisher: g.ClientFor("root-ca-cert-publisher"), ca: string(cfg.RootCA)}
	var errs [3]error
	r.namespaces, errs[0] = controller.ViewOf[*corev1.Namespace](g)
	r.accounts, errs[1] = controller.ViewOf[*corev1.ServiceAccount](g)
	if r.ca != "" {
		r.configMaps, errs[2] = controller.ViewOf[*corev1.ConfigMap](g)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("serviceaccount: %w", err)
	}
	sources := []controller.Source{
		controller.On[*corev1.Namespace]{},
		controller.On[*corev1.ServiceAccount]{Keys: namespaceOf[*corev1.ServiceAccount](accountName)},
	}
	if r.ca != "" {
		sources = append(sources, controller.On[*corev1.ConfigMap]{Keys: namespaceOf[*corev1.ConfigMap](configMapName)})
	}
	_, err := g.Add(controller.Config{Name: "serviceaccount", Reconciler: r, Sources: sources, Logger: cfg.Logger})
	return err
}

// namespaceOf returns the namespace of the objects of one name.
func namespaceOf[T client.Object](name string) func(T) []controller.Key {
	return func(obj T) []controller.Key {
		if obj.GetName() != name {
			return nil
		}
		return []controller.Key{{Name: obj.GetNamespace()}}
	}
}

type reconciler struct {
	client     client.Interface
	publisher  client.Interface // of the ConfigMap
	ca         string
	namespaces *controller.View[*corev1.Namespace]
	accounts   *controller.View[*corev1.ServiceAccount]
	configMaps *controller.View[*corev1.ConfigMap]
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	ns, ok := r.namespaces.Get("", key.Name)
	if !ok || ns.DeletionTimestamp != nil || ns.Status.Phase == corev1.NamespaceTerminating {
		return controller.Result{}, nil
	}
	return controller.Result{}, errors.Join(r.account(ctx, ns.Name), r.configMap(ctx, ns.Name))
}

func (r *reconciler) account(ctx context.Context, namespace string) error {
	if _, ok := r.accounts.Get(namespace, accountName); ok {
		return nil
	}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: accountName}}
	_, err := client.For[*corev1.ServiceAccount](r.client).Create(ctx, sa)
	return ignore(err)
}

func (r *reconciler) configMap(ctx context.Context, namespace string) error {
	if r.ca == "" {
		return nil
	}
	typed := client.For[*corev1.ConfigMap](r.publisher)
	have, ok := r.configMaps.Get(namespace, configMapName)
	if !ok {
		cm := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: configMapName,
				Annotations: map[string]string{descriptionAnnotation: description},
			},
			Data: map[string]string{caKey: r.ca},
		}
		_, err := typed.Create(ctx, cm)
		return ignore(err)
	}
	if len(have.Data) == 1 && have.Data[caKey] == r.ca {
		return nil
	}
	next := have.DeepCopy()
	next.Data = map[string]string{caKey: r.ca}
	next.BinaryData = nil
	_, err := typed.Update(ctx, next)
	return err
}

// ignore drops the errors of a creation that need no retry.
func ignore(err error) error {
	if apierrors.IsAlreadyExists(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	if apierrors.IsNotFound(err) {
		return nil // the namespace went away
	}
	return err
}
