package certificates

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// serving is who signs the API server's certificate.
const serving = "kubernetes.io/kube-apiserver-serving"

// publisher keeps the one trust bundle of the signer serving.
type publisher struct {
	typed   client.Typed[*certificatesv1.ClusterTrustBundle]
	bundles *controller.View[*certificatesv1.ClusterTrustBundle]
	want    *certificatesv1.ClusterTrustBundle
}

func addPublisher(g *controller.Group, cfg Config) error {
	if _, unknown := g.Client().ResourceFor(&certificatesv1.ClusterTrustBundle{}); unknown != nil {
		return nil // a server without bundles has nothing to publish in
	}
	sum := sha256.Sum256(cfg.RootCA)
	r := &publisher{want: &certificatesv1.ClusterTrustBundle{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s:%x", strings.ReplaceAll(serving, "/", ":"), sum[:12])},
		Spec:       certificatesv1.ClusterTrustBundleSpec{SignerName: serving, TrustBundle: string(cfg.RootCA)},
	}}
	r.typed = client.For[*certificatesv1.ClusterTrustBundle](g.ClientFor("kube-apiserver-serving-clustertrustbundle-publisher"))
	var err error
	if r.bundles, err = controller.ViewOf[*certificatesv1.ClusterTrustBundle](g); err != nil {
		return err
	}
	c, err := g.Add(controller.Config{Name: "kube-apiserver-serving-clustertrustbundle-publisher", Reconciler: r, Logger: cfg.Logger,
		Sources: []controller.Source{controller.On[*certificatesv1.ClusterTrustBundle]{
			Where: func(before, after *certificatesv1.ClusterTrustBundle) bool {
				return r.concerns(before) || r.concerns(after)
			},
		}}})
	if err == nil {
		c.Enqueue(controller.KeyOf(r.want))
	}
	return err
}

func (r *publisher) concerns(o *certificatesv1.ClusterTrustBundle) bool {
	return o != nil && o.Spec.SignerName == serving
}

// Reconcile implements controller.Reconciler: it makes the bundle as it should be, and deletes the signer's others.
func (r *publisher) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	old, ok := r.bundles.Get("", key.Name)
	var err error
	switch {
	case key.Name != r.want.Name && ok && r.concerns(old):
		err = r.typed.Delete(ctx, "", key.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &old.UID}})
	case key.Name != r.want.Name:
	case !ok:
		_, err = r.typed.Create(ctx, r.want.DeepCopy())
	case old.Spec.TrustBundle != r.want.Spec.TrustBundle:
		changed := old.DeepCopy()
		changed.Spec.TrustBundle = r.want.Spec.TrustBundle
		_, err = r.typed.Update(ctx, changed)
	}
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsAlreadyExists(err) {
		return controller.Result{}, fmt.Errorf("publish %s: %w", key.Name, err)
	}
	return controller.Result{}, nil
}
