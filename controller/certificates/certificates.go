// Package certificates answers requests for certificates (certificates.k8s.io/v1): it approves those of kubelets
// that may have one, signs what is approved for Kubernetes' own signers, deletes old requests, and publishes which
// authority signs the API server's certificate.
//
// https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
package certificates

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// Signers of Kubernetes, whose rules about requests Sign knows.
const (
	KubeAPIServerClient        = certificatesv1.KubeAPIServerClientSignerName
	KubeAPIServerClientKubelet = certificatesv1.KubeAPIServerClientKubeletSignerName
	KubeletServing             = certificatesv1.KubeletServingSignerName
	LegacyUnknown              = "kubernetes.io/legacy-unknown"
)

// Authority is a certificate with the key that signs in its name.
type Authority struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// Config describes the controllers.
type Config struct {
	// Client is needed by New only; Add uses the group's.
	Client client.Interface
	// Signers are the authorities of those of Kubernetes' signers that shall sign, by name; SignAll makes one sign
	// for all. With none, requests are only approved and deleted.
	Signers map[string]Authority
	// Lifetime is how long a certificate lasts, unless its request asks for less; a year by default. No
	// certificate outlives its authority.
	Lifetime time.Duration
	// RootCA is the PEM certificate that signs the API server's, published as a ClusterTrustBundle of the signer
	// kubernetes.io/kube-apiserver-serving; empty publishes none.
	RootCA []byte
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

// SignAll returns Signers that sign for all signers of Kubernetes by one authority.
func SignAll(a Authority) map[string]Authority {
	out := map[string]Authority{}
	for name := range rules {
		out[name] = a
	}
	return out
}

// New returns the controllers with views of their own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controllers to a group, with the names that they have in Kubernetes.
func Add(g *controller.Group, cfg Config) error {
	for _, name := range slices.Sorted(maps.Keys(cfg.Signers)) {
		switch a := cfg.Signers[name]; {
		case rules[name] == nil:
			return fmt.Errorf("certificates: Config.Signers: %q is no signer of Kubernetes", name)
		case a.Certificate == nil || a.Key == nil:
			return fmt.Errorf("certificates: Config.Signers: %s lacks its certificate or its key", name)
		}
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = 365 * 24 * time.Hour
	}
	err := errors.Join(addApprover(g, cfg), addCleaners(g, cfg))
	if len(cfg.Signers) > 0 {
		err = errors.Join(err, addSigner(g, cfg))
	}
	if len(cfg.RootCA) > 0 {
		err = errors.Join(err, addPublisher(g, cfg))
	}
	if err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	return nil
}

// account is the service account that the controllers of requests have in Kubernetes.
const account = "certificate-controller"

// open are changes of requests that have no certificate yet.
var open = controller.On[*certificatesv1.CertificateSigningRequest]{
	Where: func(_, after *certificatesv1.CertificateSigningRequest) bool {
		return after != nil && len(after.Status.Certificate) == 0
	},
}

func has(o *certificatesv1.CertificateSigningRequest, t certificatesv1.RequestConditionType) bool {
	return slices.ContainsFunc(o.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool { return c.Type == t })
}

func parse(text []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("the request is no CERTIFICATE REQUEST in PEM")
	}
	return x509.ParseCertificateRequest(block.Bytes)
}
