package apiserver

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/inboard/inboard/apiserver/client"
)

var (
	storageClassesResource = storagev1.SchemeGroupVersion.WithResource("storageclasses")
	ingressClassesResource = networkingv1.SchemeGroupVersion.WithResource("ingressclasses")
)

// newest returns the newest object that the filter lets through, of several of one second the first by
// name; nil when there is none.
func newest(all []client.Object, filter func(client.Object) bool) client.Object {
	var found []client.Object
	for _, obj := range all {
		if filter(obj) {
			found = append(found, obj)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return slices.MinFunc(found, func(a, b client.Object) int {
		return cmp.Or(b.GetCreationTimestamp().Compare(a.GetCreationTimestamp().Time), strings.Compare(a.GetName(), b.GetName()))
	})
}

// defaultStorageClass gives new claims that name no class the default one.
func defaultStorageClass(_ context.Context, r *AdmissionRequest) error {
	claim, ok := r.Object.(*corev1.PersistentVolumeClaim)
	if !ok || r.Operation != Create || r.Ref.Subresource != "" {
		return nil
	}
	if _, named := claim.Annotations[corev1.BetaStorageClassAnnotation]; named || claim.Spec.StorageClassName != nil {
		return nil
	}
	classes, err := r.List(client.Ref{GroupVersionResource: storageClassesResource})
	if err != nil {
		return err
	}
	if class := newest(classes, isDefaultStorageClass); class != nil {
		name := class.GetName()
		claim.Spec.StorageClassName = &name
	}
	return nil
}

func isDefaultStorageClass(obj client.Object) bool {
	a := obj.GetAnnotations()
	return a["storageclass.kubernetes.io/is-default-class"] == "true" || a["storageclass.beta.kubernetes.io/is-default-class"] == "true"
}

// defaultIngressClass gives new Ingresses that name no class the default one.
func defaultIngressClass(_ context.Context, r *AdmissionRequest) error {
	ingress, ok := r.Object.(*networkingv1.Ingress)
	if !ok || r.Operation != Create || r.Ref.Subresource != "" || ingress.Spec.IngressClassName != nil {
		return nil
	}
	if _, named := ingress.Annotations["kubernetes.io/ingress.class"]; named {
		return nil
	}
	classes, err := r.List(client.Ref{GroupVersionResource: ingressClassesResource})
	if err != nil {
		return err
	}
	class := newest(classes, func(obj client.Object) bool {
		return obj.GetAnnotations()[networkingv1.AnnotationIsDefaultIngressClass] == "true"
	})
	if class != nil {
		name := class.GetName()
		ingress.Spec.IngressClassName = &name
	}
	return nil
}

// protectStorage gives new volumes, claims and classes of volume attributes the finalizers with which a
// controller keeps them while they are in use.
func protectStorage(_ context.Context, r *AdmissionRequest) error {
	if r.Operation != Create || r.Ref.Subresource != "" || r.Object == nil {
		return nil
	}
	var finalizer string
	switch r.Object.(type) {
	case *corev1.PersistentVolume:
		finalizer = "kubernetes.io/pv-protection"
	case *corev1.PersistentVolumeClaim:
		finalizer = "kubernetes.io/pvc-protection"
	case *storagev1.VolumeAttributesClass:
		finalizer = "kubernetes.io/vac-protection"
	default:
		return nil
	}
	if have := r.Object.GetFinalizers(); !slices.Contains(have, finalizer) {
		r.Object.SetFinalizers(append(have, finalizer))
	}
	return nil
}

// claimResize lets only those claims grow that are bound and whose class allows it.
func claimResize(_ context.Context, r *AdmissionRequest) error {
	claim, ok := r.Object.(*corev1.PersistentVolumeClaim)
	old, okOld := r.Old.(*corev1.PersistentVolumeClaim)
	if !ok || !okOld || r.Operation != Update || r.Ref.Subresource != "" {
		return nil
	}
	before, after := old.Spec.Resources.Requests[corev1.ResourceStorage], claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if after.Cmp(before) <= 0 {
		return nil
	}
	if old.Status.Phase != corev1.ClaimBound {
		//lint:ignore ST1005 Kubernetes' words
		return errors.New("Only bound persistent volume claims can be expanded")
	}
	name := claimClass(claim)
	if name != "" && name == claimClass(old) {
		obj, _, err := r.Lookup(client.Ref{GroupVersionResource: storageClassesResource, Name: name})
		if err != nil {
			return err
		}
		if class, ok := obj.(*storagev1.StorageClass); ok && class.AllowVolumeExpansion != nil && *class.AllowVolumeExpansion {
			return nil
		}
	}
	return errors.New("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize")
}

// claimClass returns the name of a claim's storage class, "" for none.
func claimClass(claim *corev1.PersistentVolumeClaim) string {
	if name, ok := claim.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return name
	}
	if claim.Spec.StorageClassName != nil {
		return *claim.Spec.StorageClassName
	}
	return ""
}
