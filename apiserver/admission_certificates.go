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
