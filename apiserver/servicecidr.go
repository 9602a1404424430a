package apiserver

import (
	"context"
	"fmt"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// defaultServiceCIDR is the name of the object that tells Config.ServiceCIDR.
const defaultServiceCIDR = "kubernetes"

var serviceCIDRsResource = networkingv1.SchemeGroupVersion.WithResource("servicecidrs")

// ensureServiceCIDR makes the object that tells the range of the services' addresses, unless it is there or its kind is
// not served, and says that it is ready. One that tells another range is left alone: addresses were given out of that.
func (s *Server) ensureServiceCIDR(ctx context.Context) error {
	res := s.base.byResource[serviceCIDRsResource]
	if res == nil {
		return nil
	}
	want := []string{s.cfg.ServiceCIDR.String()}
	ref := client.Ref{GroupVersionResource: serviceCIDRsResource, Name: defaultServiceCIDR}
	made := &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: defaultServiceCIDR}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: want},
	}
	if err := s.keep(ctx, ref, made, func(client.Object) {}); err != nil {
		return fmt.Errorf("apiserver: keeping %s: %w", ref, err)
	}
	obj, _, err := s.lookup(ctx, res, "", defaultServiceCIDR)
	cidr, ok := obj.(*networkingv1.ServiceCIDR)
	if err != nil || !ok || cidr.DeletionTimestamp != nil || !slices.Equal(cidr.Spec.CIDRs, want) ||
		meta.FindStatusCondition(cidr.Status.Conditions, networkingv1.ServiceCIDRConditionReady) != nil {
		return err
	}
	ref.Subresource = "status"
	err = s.systemUpdate(ctx, ref, func(o client.Object) {
		meta.SetStatusCondition(&o.(*networkingv1.ServiceCIDR).Status.Conditions, metav1.Condition{
			Type: networkingv1.ServiceCIDRConditionReady, Status: metav1.ConditionTrue,
			Message: "Kubernetes default Service CIDR is ready",
		})
	})
	if apierrors.IsNotFound(err) {
		return nil // deleted meanwhile; the next round makes it again
	}
	return err
}
