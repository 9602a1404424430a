package certificates

import (
	"context"
	"errors"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// How long requests are kept, as in Kubernetes.
const (
	keepDecided    = time.Hour // from when it was issued, denied, or failed
	keepPending    = 24 * time.Hour
	keepPodRequest = 15 * time.Minute
)

// Until returns when a request has been kept for long enough; zero is never.
func Until(csr *certificatesv1.CertificateSigningRequest) time.Time {
	var until time.Time
	sooner := func(t time.Time, after time.Duration) {
		if !t.IsZero() && (until.IsZero() || t.Add(after).Before(until)) {
			until = t.Add(after)
		}
	}
	issued := len(csr.Status.Certificate) > 0
	if len(csr.Status.Conditions) == 0 {
		sooner(csr.CreationTimestamp.Time, keepPending)
	}
	for _, c := range csr.Status.Conditions {
		switch {
		case c.Type == certificatesv1.CertificateApproved && !issued:
			sooner(c.LastUpdateTime.Time, keepPending)
		case c.Type == certificatesv1.CertificateApproved:
			sooner(c.LastUpdateTime.Time, keepDecided)
			sooner(expiry(csr.Status.Certificate), 0)
		case c.Type == certificatesv1.CertificateDenied, c.Type == certificatesv1.CertificateFailed:
			sooner(c.LastUpdateTime.Time, keepDecided)
		}
	}
	return until
}

// cleaner deletes objects of one kind at their time.
type cleaner[T client.Object] struct {
	typed   client.Typed[T]
	objects *controller.View[T]
	until   func(T) time.Time
}

func addCleaners(g *controller.Group, cfg Config) error {
	err := addCleaner(g, cfg, "csrcleaner", account, Until)
	if _, unknown := g.Client().ResourceFor(&certificatesv1.PodCertificateRequest{}); unknown == nil {
		err = errors.Join(err, addCleaner(g, cfg, "podcertificaterequestcleaner", "podcertificaterequestcleaner",
			func(o *certificatesv1.PodCertificateRequest) time.Time {
				return o.CreationTimestamp.Add(keepPodRequest)
			}))
	}
	return err
}

func addCleaner[T client.Object](g *controller.Group, cfg Config, name, account string, until func(T) time.Time) error {
	r := cleaner[T]{typed: client.For[T](g.ClientFor(account)), until: until}
	var err error
	if r.objects, err = controller.ViewOf[T](g); err != nil {
		return err
	}
	_, err = g.Add(controller.Config{Name: name, Reconciler: r, Sources: []controller.Source{controller.On[T]{}}, Logger: cfg.Logger})
	return err
}

// Reconcile implements controller.Reconciler.
func (r cleaner[T]) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	obj, ok := r.objects.Get(key.Namespace, key.Name)
	if !ok {
		return controller.Result{}, nil
	}
	until := r.until(obj)
	if until.IsZero() {
		return controller.Result{}, nil
	}
	if left := time.Until(until); left > 0 {
		return controller.Result{After: left}, nil
	}
	uid, version := obj.GetUID(), obj.GetResourceVersion()
	err := r.typed.Delete(ctx, key.Namespace, key.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}})
	if err != nil && !apierrors.IsNotFound(err) {
		return controller.Result{}, fmt.Errorf("delete %s: %w", key, err)
	}
	return controller.Result{}, nil
}
