package certificates

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
)

// rules are what signers sign, by their name; the words are Kubernetes'.
var rules = map[string]func(*x509.CertificateRequest, []certificatesv1.KeyUsage) error{
	KubeAPIServerClient:        anyClient,
	KubeAPIServerClientKubelet: kubeletClient,
	KubeletServing:             kubeletServing,
	LegacyUnknown:              func(*x509.CertificateRequest, []certificatesv1.KeyUsage) error { return nil },
}

func anyClient(_ *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	for _, u := range usages {
		switch u {
		case certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment:
		default:
			return fmt.Errorf("invalid usage for client certificate: %s", u)
		}
	}
	if !slices.Contains(usages, certificatesv1.UsageClientAuth) {
		return fmt.Errorf("missing required usage for client certificate: %s", certificatesv1.UsageClientAuth)
	}
	return nil
}

func kubeletClient(r *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	if !slices.Equal(r.Subject.Organization, []string{"system:nodes"}) {
		return errors.New("subject organization is not system:nodes")
	}
	switch {
	case len(r.DNSNames) > 0:
		return errors.New("DNS subjectAltNames are not allowed")
	case len(r.EmailAddresses) > 0:
		//lint:ignore ST1005 these are Kubernetes' own words
		return errors.New("Email subjectAltNames are not allowed")
	case len(r.IPAddresses) > 0:
		return errors.New("IP subjectAltNames are not allowed")
	case len(r.URIs) > 0:
		return errors.New("URI subjectAltNames are not allowed")
	case !strings.HasPrefix(r.Subject.CommonName, "system:node:"):
		//lint:ignore ST1005 these are Kubernetes' own words
		return errors.New("subject common name does not begin with system:node:")
	}
	return usagesOf(usages, certificatesv1.UsageClientAuth)
}

func kubeletServing(r *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	switch {
	case !slices.Equal(r.Subject.Organization, []string{"system:nodes"}):
		return errors.New("subject organization is not system:nodes")
	case len(r.DNSNames) == 0 && len(r.IPAddresses) == 0:
		return errors.New("DNS or IP subjectAltName is required")
	case len(r.EmailAddresses) > 0:
		//lint:ignore ST1005 these are Kubernetes' own words
		return errors.New("Email subjectAltNames are not allowed")
	case len(r.URIs) > 0:
		return errors.New("URI subjectAltNames are not allowed")
	}
	if err := usagesOf(usages, certificatesv1.UsageServerAuth); err != nil {
		return err
	}
	if !strings.HasPrefix(r.Subject.CommonName, "system:node:") {
		//lint:ignore ST1005 these are Kubernetes' own words
		return errors.New("subject common name does not begin with system:node:")
	}
	return nil
}

// usagesOf asks for the usages of a kubelet's certificate: keys other than RSA encipher no keys.
func usagesOf(usages []certificatesv1.KeyUsage, purpose certificatesv1.KeyUsage) error {
	given := slices.Compact(slices.Sorted(slices.Values(usages)))
	full := slices.Sorted(slices.Values([]certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, purpose}))
	less := slices.DeleteFunc(slices.Clone(full), func(u certificatesv1.KeyUsage) bool { return u == certificatesv1.UsageKeyEncipherment })
	if !slices.Equal(given, full) && !slices.Equal(given, less) {
		return fmt.Errorf("usages did not match %v", full)
	}
	return nil
}
