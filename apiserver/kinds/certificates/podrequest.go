package certificates

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

type podRequest = certificatesv1.PodCertificateRequest

// Bounds of a pod's request, in bytes and in seconds.
const (
	maxStub               = 10 << 10
	shortestLife          = 60 * 60
	longestLife           = 91 * 24 * 60 * 60
	longestKubernetesLife = 24 * 60 * 60
)

// PodCertificateRequest returns the row of PodCertificateRequest.
func PodCertificateRequest() apiserver.Kind {
	k := newKind("PodCertificateRequest", "podcertificaterequests", "podcertificaterequest")
	k.Object, k.List = &podRequest{}, &certificatesv1.PodCertificateRequestList{}
	k.Namespaced = true
	k.ConditionalUpdate = true
	k.Status = true
	k.StatusResets = []string{"metadata"}
	k.Default = row.Of(func(o *podRequest) { fill.Nil(&o.Spec.MaxExpirationSeconds, longestKubernetesLife) })
	k.Validate = row.Check(validatePodRequest)
	k.PrepareStatus = row.Pair(func(o, old *podRequest) {
		o.Labels, o.Annotations = old.Labels, old.Annotations
	})
	k.ValidateStatus = row.Check(validatePodRequestStatus)
	k.Fields = row.Fields(map[string]func(*podRequest) string{
		"spec.signerName": func(o *podRequest) string { return o.Spec.SignerName },
		"spec.podName":    func(o *podRequest) string { return o.Spec.PodName },
		"spec.nodeName":   func(o *podRequest) string { return string(o.Spec.NodeName) },
	})
	k.Columns = row.Columns("Name", "PodName", "ServiceAccountName", "NodeName", "SignerName", "State", "UnverifiedUserAnnotations")
	k.Row = row.Cells(func(o *podRequest, _ time.Time) []any {
		state := "Pending"
		for _, c := range o.Status.Conditions {
			switch c.Type {
			case issued, denied, failed:
				state = c.Type
			}
		}
		return []any{o.Name, o.Spec.PodName, o.Spec.ServiceAccountName, string(o.Spec.NodeName), o.Spec.SignerName, state,
			row.Labels(o.Spec.UnverifiedUserAnnotations)}
	})
	return k
}

func validatePodRequest(o, old *podRequest) field.ErrorList {
	if old != nil {
		return apivalidation.ValidateImmutableField(o.Spec, old.Spec, specPath)
	}
	var l check.List
	s := &o.Spec
	l.Signer(specPath.Child("signerName"), s.SignerName)
	if s.UnverifiedUserAnnotations != nil {
		l.SignerAnnotations(specPath.Child("unverifiedUserAnnotations"), s.UnverifiedUserAnnotations)
	}
	for _, n := range []struct{ what, name, uid string }{
		{"pod", s.PodName, string(s.PodUID)}, {"serviceAccount", s.ServiceAccountName, string(s.ServiceAccountUID)},
		{"node", string(s.NodeName), string(s.NodeUID)},
	} {
		l.Subdomain(specPath.Child(n.what+"Name"), n.name)
		path := specPath.Child(n.what + "UID")
		if n.uid == "" {
			l.Invalid(path, n.uid, "must not be empty")
		}
		if len(n.uid) > 128 {
			l.Add(field.TooLong(path, n.uid, 128))
		}
	}
	path := specPath.Child("maxExpirationSeconds")
	if s.MaxExpirationSeconds == nil {
		l.Required(path, "must be set")
		return l.Errors()
	}
	longest := int32(longestLife)
	if check.IsKubernetesSigner(s.SignerName) {
		longest = longestKubernetesLife
	}
	if n := *s.MaxExpirationSeconds; n < shortestLife || n > longest {
		l.Invalid(path, n, fmt.Sprintf("must be in the range [%d, %d]", shortestLife, longest))
	}
	requestedKey(&l, s)
	return l.Errors()
}

// requestedKey checks the key that a certificate is asked for, and that the sender has it.
func requestedKey(l *check.List, s *certificatesv1.PodCertificateRequestSpec) {
	if len(s.StubPKCS10Request) == 0 {
		// In the words of before v1, which had another way.
		l.Invalid(specPath, field.OmitValueType{}, "exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set")
		return
	}
	stubRequest(l, specPath.Child("stubPKCS10Request"), s.StubPKCS10Request)
}

// keyProblem returns what is wrong with a kind of key: the value to name, and the message.
func keyProblem(key crypto.PublicKey) (value, problem string) {
	switch k := key.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() && k.Curve != elliptic.P521() {
			return "curve " + k.Params().Name, "elliptic public keys must use curve P256, P384, or P521"
		}
	case *rsa.PublicKey:
		if bits := k.Size() * 8; bits != 3072 && bits != 4096 {
			return fmt.Sprintf("%d-bit modulus", bits), "RSA keys must have modulus size 3072 or 4096"
		}
	default:
		return "", "unknown public key type; supported types are Ed25519, ECDSA, and RSA"
	}
	return "", ""
}

func stubRequest(l *check.List, path *field.Path, der []byte) {
	if len(der) > maxStub {
		l.Add(field.TooLong(path, der, maxStub))
		return
	}
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		l.Invalid(path, field.OmitValueType{}, "must be a valid PKCS#10 CSR")
		return
	}
	switch value, problem := keyProblem(r.PublicKey); {
	case problem != "" && value == "":
		l.Invalid(path, field.OmitValueType{}, problem)
	case problem != "":
		l.Invalid(path, value, problem)
	case r.CheckSignature() != nil:
		l.Invalid(path, field.OmitValueType{}, "invalid signature")
	}
}
