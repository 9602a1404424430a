package certificates

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

const (
	// backdate is how far back certificates begin, for clocks that are behind.
	backdate = 5 * time.Minute
	// short is a lifetime of which backdate would take too much: such certificates last longer instead.
	short = 8 * time.Hour
	// shortest is the least that certificates last.
	shortest = 10 * time.Minute
)

// Lifetime returns how long a certificate for csr lasts, longest at most.
func Lifetime(csr *certificatesv1.CertificateSigningRequest, longest time.Duration) time.Duration {
	if csr.Spec.ExpirationSeconds == nil {
		return longest
	}
	return min(longest, max(shortest, time.Duration(*csr.Spec.ExpirationSeconds)*time.Second))
}

// Check returns why csr asks for something that its signer does not sign; signers other than Kubernetes' sign
// nothing.
func Check(csr *certificatesv1.CertificateSigningRequest) error {
	request, err := parse(csr.Spec.Request)
	if err != nil {
		return err
	}
	rule := rules[csr.Spec.SignerName]
	if rule == nil {
		return fmt.Errorf("%q is no signer of Kubernetes", csr.Spec.SignerName)
	}
	return rule(request, csr.Spec.Usages)
}

// Sign returns the certificate in PEM that csr asks for, for a lifetime from now on. It asks nobody whether the
// request is approved, nor Check.
func Sign(a Authority, csr *certificatesv1.CertificateSigningRequest, lifetime time.Duration, now time.Time) ([]byte, error) {
	request, err := parse(csr.Spec.Request)
	if err != nil {
		return nil, err
	}
	if err := request.CheckSignature(); err != nil {
		return nil, err
	}
	end := a.Certificate.NotAfter
	if !now.Before(end) {
		return nil, fmt.Errorf("the authority has expired: NotAfter=%v", end)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: request.Subject,
		DNSNames: request.DNSNames, IPAddresses: request.IPAddresses, EmailAddresses: request.EmailAddresses, URIs: request.URIs,
		BasicConstraintsValid: true, // it is no authority
		NotBefore:             now.Add(-backdate), NotAfter: now.Add(lifetime - backdate),
	}
	if lifetime < short {
		template.NotAfter = now.Add(lifetime)
	}
	if template.NotAfter.After(end) {
		template.NotAfter = end
	}
	if template.KeyUsage, template.ExtKeyUsage, err = keyUsages(csr.Spec.Usages); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, request.PublicKey, a.Key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

var plainUsages = map[certificatesv1.KeyUsage]x509.KeyUsage{
	certificatesv1.UsageSigning:           x509.KeyUsageDigitalSignature,
	certificatesv1.UsageDigitalSignature:  x509.KeyUsageDigitalSignature,
	certificatesv1.UsageContentCommitment: x509.KeyUsageContentCommitment,
	certificatesv1.UsageKeyEncipherment:   x509.KeyUsageKeyEncipherment,
	certificatesv1.UsageKeyAgreement:      x509.KeyUsageKeyAgreement,
	certificatesv1.UsageDataEncipherment:  x509.KeyUsageDataEncipherment,
	certificatesv1.UsageCertSign:          x509.KeyUsageCertSign,
	certificatesv1.UsageCRLSign:           x509.KeyUsageCRLSign,
	certificatesv1.UsageEncipherOnly:      x509.KeyUsageEncipherOnly,
	certificatesv1.UsageDecipherOnly:      x509.KeyUsageDecipherOnly,
}

var extendedUsages = map[certificatesv1.KeyUsage]x509.ExtKeyUsage{
	certificatesv1.UsageAny:             x509.ExtKeyUsageAny,
	certificatesv1.UsageServerAuth:      x509.ExtKeyUsageServerAuth,
	certificatesv1.UsageClientAuth:      x509.ExtKeyUsageClientAuth,
	certificatesv1.UsageCodeSigning:     x509.ExtKeyUsageCodeSigning,
	certificatesv1.UsageEmailProtection: x509.ExtKeyUsageEmailProtection,
	certificatesv1.UsageSMIME:           x509.ExtKeyUsageEmailProtection,
	certificatesv1.UsageIPsecEndSystem:  x509.ExtKeyUsageIPSECEndSystem,
	certificatesv1.UsageIPsecTunnel:     x509.ExtKeyUsageIPSECTunnel,
	certificatesv1.UsageIPsecUser:       x509.ExtKeyUsageIPSECUser,
	certificatesv1.UsageTimestamping:    x509.ExtKeyUsageTimeStamping,
	certificatesv1.UsageOCSPSigning:     x509.ExtKeyUsageOCSPSigning,
	certificatesv1.UsageMicrosoftSGC:    x509.ExtKeyUsageMicrosoftServerGatedCrypto,
	certificatesv1.UsageNetscapeSGC:     x509.ExtKeyUsageNetscapeServerGatedCrypto,
}

func keyUsages(list []certificatesv1.KeyUsage) (plain x509.KeyUsage, extended []x509.ExtKeyUsage, err error) {
	set := map[x509.ExtKeyUsage]bool{}
	for _, u := range list {
		if bits, ok := plainUsages[u]; ok {
			plain |= bits
		} else if e, ok := extendedUsages[u]; ok {
			set[e] = true
		} else {
			return 0, nil, fmt.Errorf("unknown usage %q", u)
		}
	}
	return plain, slices.Sorted(maps.Keys(set)), nil
}

type signer struct {
	typed    client.Typed[*certificatesv1.CertificateSigningRequest]
	requests *controller.View[*certificatesv1.CertificateSigningRequest]
	signers  map[string]Authority
	longest  time.Duration
}

func addSigner(g *controller.Group, cfg Config) error {
	r := &signer{signers: maps.Clone(cfg.Signers), longest: cfg.Lifetime}
	r.typed = client.For[*certificatesv1.CertificateSigningRequest](g.ClientFor(account))
	var err error
	if r.requests, err = controller.ViewOf[*certificatesv1.CertificateSigningRequest](g); err != nil {
		return err
	}
	_, err = g.Add(controller.Config{Name: "csrsigning", Reconciler: r, Sources: []controller.Source{open}, Logger: cfg.Logger})
	return err
}

// Reconcile implements controller.Reconciler.
func (r *signer) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	csr, ok := r.requests.Get("", key.Name)
	if !ok || len(csr.Status.Certificate) > 0 || !has(csr, certificatesv1.CertificateApproved) ||
		has(csr, certificatesv1.CertificateDenied) || has(csr, certificatesv1.CertificateFailed) {
		return controller.Result{}, nil
	}
	authority, ok := r.signers[csr.Spec.SignerName]
	if !ok {
		return controller.Result{}, nil
	}
	csr = csr.DeepCopy()
	if err := Check(csr); err != nil {
		csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateFailed, Status: corev1.ConditionTrue,
			Reason: "SignerValidationFailure", Message: err.Error(), LastUpdateTime: metav1.Now(),
		})
	} else if csr.Status.Certificate, err = Sign(authority, csr, Lifetime(csr, r.longest), time.Now()); err != nil {
		return controller.Result{}, fmt.Errorf("sign %s: %w", csr.Name, err)
	}
	if _, err := r.typed.UpdateStatus(ctx, csr); err != nil && !apierrors.IsNotFound(err) {
		return controller.Result{}, fmt.Errorf("write the certificate of %s: %w", csr.Name, err)
	}
	return controller.Result{}, nil
}

// expiry returns when the first of some certificates in PEM ends; zero when there is none.
func expiry(text []byte) time.Time {
	block, _ := pem.Decode(bytes.TrimSpace(text))
	if block == nil {
		return time.Time{}
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}
	}
	return cert.NotAfter
}
