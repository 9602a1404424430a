package node

import (
	"errors"
	"fmt"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/component-helpers/storage/ephemeral"
	csitranslation "k8s.io/csi-translation-lib"

	"github.com/inboard/inboard/apiserver"
)

// serviceAccounts lets nodes get tokens that are bound to their pods, for audiences that those ask for.
func (w *write) serviceAccounts() error {
	if w.Operation != apiserver.Create || w.Ref.Subresource != "token" {
		return nil
	}
	tr, ok := w.Body.(*authenticationv1.TokenRequest)
	if !ok {
		return unexpected(w.Body)
	}
	ref := tr.Spec.BoundObjectRef
	switch {
	case ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.Name == "":
		return errors.New("node requested token not bound to a pod")
	case ref.UID == "":
		return errors.New("node requested token with a pod binding without a uid")
	}
	p, err := w.lookupPod(ref.Name)
	switch {
	case err != nil:
		return err
	case ref.UID != p.UID:
		return fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID)
	case p.Spec.NodeName != w.node:
		return errors.New("node requested token bound to a pod scheduled on a different node")
	}
	return w.audience(tr, p)
}

// audience checks that a token is for whom the pod wants one, or for whom the node may ask for in any case.
func (w *write) audience(tr *authenticationv1.TokenRequest, p *corev1.Pod) error {
	audience := ""
	switch len(tr.Spec.Audiences) {
	case 0:
	case 1:
		audience = tr.Spec.Audiences[0]
	default:
		return errors.New("node may only request 0 or 1 audiences")
	}
	named, err := w.namesAudience(p, audience)
	if err != nil {
		return fmt.Errorf("error validating audience %q: %w", audience, err)
	}
	if named {
		return nil
	}
	// Its name is that of the account.
	ok, err := w.mayAsk("request-serviceaccounts-token-audience", audience, w.Ref.Name)
	switch {
	case ok:
		return nil
	case err != nil:
		return fmt.Errorf("error authorizing %s to request tokens for audience %q: %w", w.User.User, audience, err)
	}
	return fmt.Errorf("%s is not authorized to request tokens for audience %q", w.User.User, audience)
}

func (w *write) mayAsk(verb, resource, name string) (bool, error) {
	return w.Authorize(apiserver.Attributes{
		Verb: verb, APIGroup: w.Ref.Group, APIVersion: w.Ref.Version, Resource: resource, Namespace: w.Ref.Namespace, Name: name,
	})
}

// namesAudience tells whether a pod asks for tokens for an audience, itself or by the CSI driver of one of its volumes.
func (w *write) namesAudience(p *corev1.Pod, audience string) (bool, error) {
	var errs []error
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if v.Projected != nil {
			for j := range v.Projected.Sources {
				if s := v.Projected.Sources[j].ServiceAccountToken; s != nil && s.Audience == audience {
					return true, nil
				}
			}
		}
		driver, err := w.driverOf(p, v)
		if err == nil && driver != "" {
			var wants bool
			if wants, err = w.driverWants(driver, audience); wants {
				return true, nil
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return false, utilerrors.NewAggregate(errs)
}

// driverOf returns the name of the CSI driver of a pod's volume, "" when it has none.
func (w *write) driverOf(p *corev1.Pod, v *corev1.Volume) (string, error) {
	switch translator := csitranslation.New(); {
	case v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil:
		return w.driverOfClaim(p.Namespace, ephemeral.VolumeClaimName(p, v))
	case v.PersistentVolumeClaim != nil:
		return w.driverOfClaim(p.Namespace, v.PersistentVolumeClaim.ClaimName)
	case v.CSI != nil:
		return v.CSI.Driver, nil
	case translator.IsInlineMigratable(v):
		pv, err := translator.TranslateInTreeInlineVolumeToCSI(logr.Discard(), v, p.Namespace)
		if err != nil {
			return "", err
		}
		return driverOfVolume(pv), nil
	}
	return "", nil
}

func (w *write) driverOfClaim(namespace, name string) (string, error) {
	c, err := lookup[*corev1.PersistentVolumeClaim](w, corev1.SchemeGroupVersion, "persistentvolumeclaims", "persistentvolumeclaim", namespace, name)
	if err != nil {
		return "", err
	}
	pv, err := lookup[*corev1.PersistentVolume](w, corev1.SchemeGroupVersion, "persistentvolumes", "persistentvolume", "", c.Spec.VolumeName)
	if err != nil {
		return "", err
	}
	translator := csitranslation.New()
	if pv.Spec.CSI == nil && translator.IsPVMigratable(pv) {
		if pv, err = translator.TranslateInTreePVToCSI(logr.Discard(), pv); err != nil {
			return "", err
		}
	}
	return driverOfVolume(pv), nil
}

func driverOfVolume(pv *corev1.PersistentVolume) string {
	if pv == nil || pv.Spec.CSI == nil {
		return ""
	}
	return pv.Spec.CSI.Driver
}

func (w *write) driverWants(driver, audience string) (bool, error) {
	d, err := lookup[*storagev1.CSIDriver](w, storagev1.SchemeGroupVersion, "csidrivers", "csidriver", "", driver)
	if err != nil {
		return false, err
	}
	for i := range d.Spec.TokenRequests {
		if d.Spec.TokenRequests[i].Audience == audience {
			return true, nil
		}
	}
	return false, nil
}
