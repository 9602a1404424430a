package certificates_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/controller/certificates"
	"github.com/inboard/inboard/internal/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type request = certificatesv1.CertificateSigningRequest

// world is an API server with the controllers.
type world struct {
	*testing.T
	api   *apitest.Server
	ca    *pki.Authority
	typed client.Typed[*request]
}

func newWorld(t *testing.T) *world {
	t.Helper()
	api := apitest.Open(t)
	ca, err := pki.New("test")
	check(t, err)
	cert, key := ca.Signer()
	g, err := certificates.New(certificates.Config{
		Client: api.Admin(), Signers: certificates.SignAll(certificates.Authority{Certificate: cert, Key: key}), RootCA: ca.CertificatePEM(),
	})
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		check(t, <-done)
	})
	return &world{t, api, ca, client.For[*request](api.Admin())}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// eventually waits until a request is as it should be; nil is one that is gone.
func (w *world) eventually(name, what string, ok func(*request) bool) *request {
	w.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		csr, err := w.typed.Get(w.Context(), "", name)
		if apierrors.IsNotFound(err) {
			csr, err = nil, nil
		}
		check(w.T, err)
		if ok(csr) {
			return csr
		}
		if time.Now().After(deadline) {
			w.Fatalf("never %s: %+v", what, csr)
		}
	}
}

func (w *world) create(as client.Interface, name, signer string, subject pkix.Name, usages ...certificatesv1.KeyUsage) *request {
	w.Helper()
	csr, err := client.For[*request](as).Create(w.Context(), newRequest(w.T, name, signer, subject, usages...))
	if err != nil {
		w.Fatal(err)
	}
	return csr
}

func newRequest(t *testing.T, name, signer string, subject pkix.Name, usages ...certificatesv1.KeyUsage) *request {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
	check(t, err)
	return &request{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: certificatesv1.CertificateSigningRequestSpec{
		SignerName: signer, Usages: usages, Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
	}}
}

func (w *world) decide(csr *request, t certificatesv1.RequestConditionType, at time.Time) {
	w.Helper()
	csr = csr.DeepCopy()
	csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: t, Status: "True", Reason: "Test", LastUpdateTime: metav1.Time{Time: at},
	})
	ref := w.typed.Ref("", csr.Name)
	ref.Subresource = "approval"
	_, err := w.api.Admin().Update(w.Context(), ref, csr, metav1.UpdateOptions{})
	check(w.T, err)
}

func parsed(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%q is no certificate", text)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	check(t, err)
	return cert
}

func has(csr *request, t certificatesv1.RequestConditionType, reason string) bool {
	return csr != nil && slices.ContainsFunc(csr.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.Type == t && c.Reason == reason
	})
}

var issued = func(csr *request) bool { return csr != nil && len(csr.Status.Certificate) > 0 }

var kubelet = pkix.Name{CommonName: "system:node:n1", Organization: []string{"system:nodes"}}

// What a person approves is signed, and nothing else is.
func TestApprovedIsSigned(t *testing.T) {
	w := newWorld(t)
	csr := w.create(w.api.Admin(), "alice", certificates.KubeAPIServerClient, pkix.Name{CommonName: "alice"}, "client auth")
	if has(csr, certificatesv1.CertificateApproved, "AutoApproved") {
		t.Error("a person's request was approved")
	}
	w.decide(csr, certificatesv1.CertificateApproved, time.Now())
	cert := parsed(t, w.eventually("alice", "issued", issued).Status.Certificate)
	_, err := cert.Verify(x509.VerifyOptions{Roots: w.ca.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	check(t, err)
	if cert.Subject.CommonName != "alice" || cert.IsCA {
		t.Errorf("the certificate is for %v, authority %v", cert.Subject, cert.IsCA)
	}

	wrong := w.create(w.api.Admin(), "wrong", certificates.KubeAPIServerClient, pkix.Name{CommonName: "bob"}, "server auth")
	w.decide(wrong, certificatesv1.CertificateApproved, time.Now())
	failed := w.eventually("wrong", "failed", func(csr *request) bool { return has(csr, certificatesv1.CertificateFailed, "SignerValidationFailure") })
	if issued(failed) || !strings.Contains(failed.Status.Conditions[1].Message, "invalid usage for client certificate: server auth") {
		t.Errorf("%+v", failed.Status)
	}
}

// A kubelet that may ask for a certificate gets it without anybody's doing; one that may not does not.
func TestKubeletsAreApproved(t *testing.T) {
	w := newWorld(t)
	w.create(w.api.Admin(), "granted", certificates.KubeAPIServerClientKubelet, kubelet, "client auth", "digital signature")
	csr := w.eventually("granted", "issued", issued)
	if !has(csr, certificatesv1.CertificateApproved, "AutoApproved") {
		t.Errorf("%+v", csr.Status)
	}
	// The user may make requests, and nobody granted it certificates.
	asked := newRequest(t, "forged", certificates.KubeAPIServerClientKubelet, kubelet, "client auth", "digital signature")
	_, err := client.For[*request](w.api.As("system:kube-proxy")).Create(t.Context(), asked)
	if !apierrors.IsForbidden(err) {
		t.Errorf("%v", err)
	}
	grants, err := certificates.Grants(asked)
	if check(t, err); len(grants) != 1 || grants[0].Subresource != "nodeclient" {
		t.Errorf("of another's name: %v", grants)
	}
	asked.Spec.Username = kubelet.CommonName
	if grants, err = certificates.Grants(asked); err != nil || len(grants) != 2 || grants[0].Subresource != "selfnodeclient" {
		t.Errorf("of the own name: %v, %v", grants, err)
	}
}

// Requests that were decided long ago go.
func TestOldRequestsGo(t *testing.T) {
	w := newWorld(t)
	old := w.create(w.api.Admin(), "old", "example.com/mine", pkix.Name{CommonName: "a"}, "client auth")
	young := w.create(w.api.Admin(), "young", "example.com/mine", pkix.Name{CommonName: "a"}, "client auth")
	w.decide(young, certificatesv1.CertificateDenied, time.Now())
	w.decide(old, certificatesv1.CertificateDenied, time.Now().Add(-2*time.Hour))
	w.eventually("old", "gone", func(csr *request) bool { return csr == nil })
	if csr, err := w.typed.Get(t.Context(), "", "young"); err != nil || csr.UID != young.UID {
		t.Errorf("%v, %v", csr, err)
	}
}

// The authority of the API server's certificate is published, as the only one of its signer.
func TestAuthorityIsPublished(t *testing.T) {
	w := newWorld(t)
	bundles := client.For[*certificatesv1.ClusterTrustBundle](w.api.Admin())
	other := w.ca.CertificatePEM()
	_, err := bundles.Create(t.Context(), &certificatesv1.ClusterTrustBundle{
		ObjectMeta: metav1.ObjectMeta{Name: "kubernetes.io:kube-apiserver-serving:old"},
		Spec:       certificatesv1.ClusterTrustBundleSpec{SignerName: "kubernetes.io/kube-apiserver-serving", TrustBundle: string(other)},
	})
	check(t, err)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		list, err := bundles.List(t.Context(), "", metav1.ListOptions{})
		check(t, err)
		if len(list.Items) == 1 && list.Items[0].Name != "kubernetes.io:kube-apiserver-serving:old" && list.Items[0].Spec.TrustBundle == string(w.ca.CertificatePEM()) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", list.Items)
		}
	}
}

// A certificate lasts as long as was asked for, within bounds.
func TestLifetime(t *testing.T) {
	ca, err := pki.New("test")
	check(t, err)
	root, key := ca.Signer()
	a := certificates.Authority{Certificate: root, Key: key}
	now := time.Now().Truncate(time.Second)
	csr := newRequest(t, "a", certificates.KubeAPIServerClient, pkix.Name{CommonName: "a"}, "client auth")
	for _, c := range []struct {
		asked *int32
		want  time.Duration // from now to the end
	}{
		{nil, 48*time.Hour - 5*time.Minute}, {ptr.To[int32](3600), time.Hour}, {ptr.To[int32](1), 10 * time.Minute},
		{ptr.To[int32](1 << 30), 48*time.Hour - 5*time.Minute},
	} {
		csr.Spec.ExpirationSeconds = c.asked
		text, err := certificates.Sign(a, csr, certificates.Lifetime(csr, 48*time.Hour), now)
		check(t, err)
		cert := parsed(t, text)
		if got := cert.NotAfter.Sub(now); got != c.want || now.Sub(cert.NotBefore) != 5*time.Minute {
			t.Errorf("asked for %v: from %v to %v", ptr.Deref(c.asked, 0), cert.NotBefore.Sub(now), got)
		}
	}
	text, err := certificates.Sign(a, csr, 100*365*24*time.Hour, now)
	if check(t, err); !parsed(t, text).NotAfter.Equal(root.NotAfter) {
		t.Error("a certificate outlives its authority")
	}
	if _, err := certificates.Sign(a, csr, time.Hour, root.NotAfter); err == nil {
		t.Error("an authority signs after its end")
	}
}

func TestConfig(t *testing.T) {
	api := apitest.Open(t)
	_, err := certificates.New(certificates.Config{Client: api.Admin(), Signers: map[string]certificates.Authority{"example.com/mine": {}}})
	if err == nil || !strings.Contains(err.Error(), `"example.com/mine" is no signer of Kubernetes`) {
		t.Error(err)
	}
	_, err = certificates.New(certificates.Config{Client: api.As("x", apiserver.GroupMasters), Signers: certificates.SignAll(certificates.Authority{})})
	if err == nil || !strings.Contains(err.Error(), "lacks its certificate or its key") {
		t.Error(err)
	}
}
