package apiserver

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/client"
)

// maySign asks whether the user may do something with a signer, by its name or by that of its domain.
func maySign(r *AdmissionRequest, verb, signer string) bool {
	domain, _, _ := strings.Cut(signer, "/")
	for _, name := range []string{signer, domain + "/*"} {
		ok, err := r.Authorize(Attributes{Verb: verb, APIGroup: certificatesv1.GroupName, APIVersion: "*", Resource: "signers", Name: name})
		if ok && err == nil {
			return true
		}
	}
	return false
}

// certificateApproval lets only those approve a request who may approve for its signer.
func certificateApproval(_ context.Context, r *AdmissionRequest) error {
	old, ok := r.Old.(*certificatesv1.CertificateSigningRequest)
	if !ok || r.Operation != Update || r.Ref.Subresource != "approval" {
		return nil
	}
	if !maySign(r, "approve", old.Spec.SignerName) {
		return fmt.Errorf("user not permitted to approve requests with signerName %q", old.Spec.SignerName)
	}
	return nil
}

// certificateSigning lets only those set a certificate who may sign as the request's signer.
func certificateSigning(_ context.Context, r *AdmissionRequest) error {
	old, okOld := r.Old.(*certificatesv1.CertificateSigningRequest)
	csr, ok := r.Object.(*certificatesv1.CertificateSigningRequest)
	if !ok || !okOld || r.Operation != Update || r.Ref.Subresource != "status" {
		return nil
	}
	if reflect.DeepEqual(old.Status.Certificate, csr.Status.Certificate) && apiequality.Semantic.DeepEqual(old.Status.Conditions, csr.Status.Conditions) {
		return nil
	}
	if !maySign(r, "sign", old.Spec.SignerName) {
		return fmt.Errorf("user not permitted to sign requests with signerName %q", old.Spec.SignerName)
	}
	return nil
}

// certificateSubject refuses requests for client certificates that would be in the group that may do
// everything.
func certificateSubject(_ context.Context, r *AdmissionRequest) error {
	csr, ok := r.Object.(*certificatesv1.CertificateSigningRequest)
	if !ok || r.Operation != Create || csr.Spec.SignerName != certificatesv1.KubeAPIServerClientSignerName {
		return nil
	}
	block, _ := pem.Decode(csr.Spec.Request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return fmt.Errorf("failed to parse CSR: %v", errors.New("PEM block type must be CERTIFICATE REQUEST"))
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return fmt.Errorf("failed to parse CSR: %v", err)
	}
	if slices.Contains(parsed.Subject.Organization, GroupMasters) {
		return fmt.Errorf("use of %s signer with %s group is not allowed", certificatesv1.KubeAPIServerClientSignerName, GroupMasters)
	}
	return nil
}

// trustBundleAttest lets only those write a signer's trust bundle who may attest for the signer.
func trustBundleAttest(_ context.Context, r *AdmissionRequest) error {
	bundle, ok := r.Object.(*certificatesv1.ClusterTrustBundle)
	if !ok || bundle.Spec.SignerName == "" || r.Operation != Create && r.Operation != Update {
		return nil
	}
	if old, ok := r.Old.(*certificatesv1.ClusterTrustBundle); ok && onlyOwnershipChanges(bundle, old) {
		return nil
	}
	if !maySign(r, "attest", bundle.Spec.SignerName) {
		return fmt.Errorf("user not permitted to attest for signerName %q", bundle.Spec.SignerName)
	}
	return nil
}

// onlyOwnershipChanges tells that an update changes at most what garbage collection is about: the bundle
// means what it did.
func onlyOwnershipChanges(obj, old client.Object) bool {
	now, was := obj.DeepCopyObject().(client.Object), old.DeepCopyObject().(client.Object)
	now.GetObjectKind().SetGroupVersionKind(was.GetObjectKind().GroupVersionKind())
	now.SetOwnerReferences(was.GetOwnerReferences())
	now.SetFinalizers(was.GetFinalizers())
	now.SetManagedFields(was.GetManagedFields())
	return apiequality.Semantic.DeepEqual(now, was)
}

// podCertificateSigning lets only those write what became of a pod's request who may sign as its signer. To
// Kubernetes this is a part of validation.
func podCertificateSigning(_ context.Context, r *AdmissionRequest) error {
	old, okOld := r.Old.(*certificatesv1.PodCertificateRequest)
	req, ok := r.Object.(*certificatesv1.PodCertificateRequest)
	if !ok || !okOld || r.Ref.Subresource != "status" || apiequality.Semantic.DeepEqual(old.Status, req.Status) {
		return nil
	}
	if !maySign(r, "sign", old.Spec.SignerName) {
		return apierrors.NewInvalid(r.Kind.GroupKind(), req.Name, field.ErrorList{field.Forbidden(field.NewPath("spec", "signerName"),
			fmt.Sprintf("User %q is not permitted to \"sign\" for signer %q", r.User.User, old.Spec.SignerName))})
	}
	return nil
}
