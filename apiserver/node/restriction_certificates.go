package node

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
)

// signingRequests lets nodes ask for certificates in their own name only.
func (w *write) signingRequests() error {
	if w.Operation != apiserver.Create {
		return nil
	}
	csr, ok := w.Object.(*certificatesv1.CertificateSigningRequest)
	if !ok {
		return unexpected(w.Object)
	}
	if csr.Spec.SignerName != certificatesv1.KubeletServingSignerName && csr.Spec.SignerName != certificatesv1.KubeAPIServerClientKubeletSignerName {
		return nil
	}
	parsed, err := parseSigningRequest(csr.Spec.Request)
	if err != nil {
		return fmt.Errorf("unable to parse csr: %w", err)
	}
	if parsed.Subject.CommonName != UserPrefix+w.node {
		return fmt.Errorf("can only create a node CSR with CN=%s%s", UserPrefix, w.node)
	}
	return nil
}

func parseSigningRequest(text []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	return x509.ParseCertificateRequest(block.Bytes)
}

// certificateRequests lets nodes ask for certificates for their pods. What may be so only because somebody else was
// faster is no refusal but an error, after which the node asks again.
func (w *write) certificateRequests() error {
	if w.Operation != apiserver.Create {
		return fmt.Errorf("unexpected operation %v", w.Operation)
	}
	if w.Ref.Subresource != "" {
		return fmt.Errorf("unexpected subresource %v", w.Ref.Subresource)
	}
	req, ok := w.Object.(*certificatesv1.PodCertificateRequest)
	if !ok {
		return unexpected(w.Object)
	}
	if string(req.Spec.NodeName) != w.node {
		return fmt.Errorf("PodCertificateRequest.Spec.NodeName=%q, which is not the requesting node %q", req.Spec.NodeName, w.node)
	}
	n, err := w.lookupNode()
	if err != nil {
		return retrieving("node", w.node, err)
	}
	full := w.Ref.Namespace + "/" + req.Spec.PodName
	if n.UID != req.Spec.NodeUID {
		return again("PodCertificateRequest for pod %q names node UID %q, inconsistent with the running node (%q)", full, req.Spec.NodeUID, n.UID)
	}
	p, err := w.lookupPod(req.Spec.PodName)
	switch {
	case err != nil:
		return retrieving("pod", full, err)
	case req.Spec.PodUID != p.UID:
		return again("PodCertificateRequest for pod %q contains pod UID (%q) which differs from running pod %q", full, req.Spec.PodUID, string(p.UID))
	case p.Spec.NodeName != w.node:
		return fmt.Errorf("pod %q is not running on node %q named in the PodCertificateRequest", full, req.Spec.NodeName)
	}
	if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return fmt.Errorf("pod %q is a mirror pod", full)
	}
	if err := w.certificateAccount(req, p, full); err != nil {
		return err
	}
	return w.certificateSigner(req, p, full)
}

func (w *write) certificateAccount(req *certificatesv1.PodCertificateRequest, p *corev1.Pod, full string) error {
	name := req.Spec.ServiceAccountName
	if name != p.Spec.ServiceAccountName {
		return fmt.Errorf("PodCertificateRequest for pod %q contains serviceAccountName (%q) that differs from running pod (%q)", full, name, p.Spec.ServiceAccountName)
	}
	account, err := lookup[*corev1.ServiceAccount](w, corev1.SchemeGroupVersion, "serviceaccounts", "serviceaccount", w.Ref.Namespace, name)
	switch {
	case err != nil:
		return retrieving("service account", w.Ref.Namespace+"/"+name, err)
	case req.Spec.ServiceAccountUID != account.UID:
		return again("PodCertificateRequest for pod %q names service account UID %q, which differs from the running service account (%q)",
			full, req.Spec.ServiceAccountUID, account.UID)
	}
	return nil
}

// certificateSigner checks that the pod asks for the signer, or that the node may ask it in any case.
func (w *write) certificateSigner(req *certificatesv1.PodCertificateRequest, p *corev1.Pod, full string) error {
	for i := range p.Spec.Volumes {
		if v := p.Spec.Volumes[i].Projected; v != nil {
			for j := range v.Sources {
				if s := v.Sources[j].PodCertificate; s != nil && s.SignerName == req.Spec.SignerName {
					return nil
				}
			}
		}
	}
	// Names of resources have no slashes in RBAC.
	ok, err := w.mayAsk("request-serviceaccounts-podcertificate-signer", strings.ReplaceAll(req.Spec.SignerName, "/", ":"), req.Spec.ServiceAccountName)
	switch {
	case ok:
		return nil
	case err != nil:
		return fmt.Errorf("error authorizing %s to request podcertificaterequests for signer %q: %w", w.User.User, req.Spec.SignerName, err)
	}
	return fmt.Errorf("pod %q does not mount a podCertificate projected volume for signer %q", full, req.Spec.SignerName)
}

// again is an error that passes; Kubernetes gives it no reason.
func again(format string, args ...any) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: fmt.Sprintf(format, args...)}}
}

func retrieving(what, name string, err error) error {
	const text = "while retrieving %s %q named in the PodCertificateRequest: %w"
	if apierrors.IsNotFound(err) {
		return again("%s", fmt.Errorf(text, what, name, err).Error())
	}
	return fmt.Errorf(text, what, name, err)
}
