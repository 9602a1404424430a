package kinds

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kubecertificates "k8s.io/kubernetes/pkg/apis/certificates"
	certvalidation "k8s.io/kubernetes/pkg/apis/certificates/validation"
	csrregistry "k8s.io/kubernetes/pkg/registry/certificates/certificates"
	"k8s.io/utils/clock"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/certificates"
	"github.com/inboard/inboard/internal/compare/known"
)

// unknown fails for each difference that is not known.
func (f findings) unknown(t *testing.T) {
	t.Helper()
	understood := known.Read(t, "testdata/known.txt")
	for what, d := range f {
		if !understood.Has(what) {
			t.Errorf("%d times: %s\n    such as %s", d.n, what, d.example)
		}
	}
}

// Requests are approved and denied under the same conditions as in Kubernetes.
func TestApproval(t *testing.T) {
	k, found := certificates.CertificateSigningRequest(), findings{}
	sub := k.Subresources["approval"]
	c := &comparison{kind: k, found: found, theirs: theirs{k.GroupVersionKind}}
	for i := range *runs {
		c.Rand = rand.New(rand.NewPCG(*seed, uint64(i)))
		old := c.sample(t).(*certificatesv1.CertificateSigningRequest)
		old.SetResourceVersion("1")
		if c.IntN(2) == 0 {
			mutator{c.Rand}.mutate(&old.Status, c.IntN(3))
		}
		asked := copyOf(old).(*certificatesv1.CertificateSigningRequest)
		if c.IntN(2) == 0 {
			asked.Status.Conditions = append(asked.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
				Type: []certificatesv1.RequestConditionType{"Approved", "Denied", "Failed"}[c.IntN(3)], Status: corev1.ConditionTrue,
			})
		}
		mutator{c.Rand}.mutate(&asked.Status, c.IntN(3))
		theirErrs, err := c.theirs.status(csrregistry.ApprovalStrategy, asked, old)
		if err != nil {
			t.Fatal(err)
		}
		merged := copyOf(old)
		sub.Merge(merged, copyOf(asked))
		errs := sub.Validate(merged, old)
		if len(errs) == 0 {
			c.accepted++
		}
		// What is wrong about the request itself was refused when it was made.
		theirErrs = slices.DeleteFunc(theirErrs, func(e *field.Error) bool { return strings.HasPrefix(e.Field, "spec.") })
		c.report("approval", errs, theirErrs, text(asked)+"\nfrom\n"+text(old))
	}
	if c.accepted == 0 {
		t.Error("no change was accepted")
	}
	found.unknown(t)
}

// What became of a pod's request is checked as in Kubernetes.
func TestPodCertificateStatus(t *testing.T) {
	k, found := certificates.PodCertificateRequest(), findings{}
	c := &comparison{kind: k, found: found, theirs: theirs{k.GroupVersionKind}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i := range *runs {
		c.Rand = rand.New(rand.NewPCG(*seed, uint64(i)))
		old := c.podRequest(t, key)
		asked := copyOf(old).(*certificatesv1.PodCertificateRequest)
		c.issue(t, asked, key)
		if c.IntN(8) == 0 {
			old = copyOf(asked).(*certificatesv1.PodCertificateRequest)
		}
		mutator{c.Rand}.mutate(&asked.Status, c.IntN(3))
		now, was := c.internalOf(t, asked), c.internalOf(t, old)
		theirErrs := certvalidation.ValidatePodCertificateRequestStatusUpdate(
			now.(*kubecertificates.PodCertificateRequest), was.(*kubecertificates.PodCertificateRequest), clock.RealClock{})
		errs := k.ValidateStatus(asked, old)
		if len(errs) == 0 {
			c.accepted++
		}
		c.report("status", errs, theirErrs, text(asked))
	}
	if c.accepted == 0 {
		t.Error("no change was accepted")
	}
	found.unknown(t)
}

func (c *comparison) internalOf(t *testing.T, obj client.Object) runtime.Object {
	t.Helper()
	in, err := c.theirs.internal(obj)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func (c *comparison) podRequest(t *testing.T, key *ecdsa.PrivateKey) *certificatesv1.PodCertificateRequest {
	t.Helper()
	o := c.sample(t).(*certificatesv1.PodCertificateRequest)
	c.kind.Default(o)
	o.SetResourceVersion("1")
	stub, err := x509.CreateCertificateRequest(cryptorand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	o.Spec.StubPKCS10Request = stub
	return o
}

// issue makes a certificate for a request that is right, or wrong in one way, and notes it in the status.
func (c *comparison) issue(t *testing.T, o *certificatesv1.PodCertificateRequest, key *ecdsa.PrivateKey) {
	t.Helper()
	begin := time.Now().Truncate(time.Second)
	begin = begin.Add([]time.Duration{0, 0, 0, -time.Minute, -time.Hour, time.Hour}[c.IntN(6)])
	life := []time.Duration{time.Hour, 2 * time.Hour, 2 * time.Hour, 30 * time.Minute, 48 * time.Hour}[c.IntN(5)]
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: begin, NotAfter: begin.Add(life)}
	template.DNSNames = [][]string{nil, nil, {"a.example.com"}, {".example.com"}, {"example.com."}}[c.IntN(5)]
	template.EmailAddresses = [][]string{nil, nil, {"a@example.com"}, {"nobody"}}[c.IntN(4)]
	subject := key
	if c.IntN(6) == 0 {
		var err error
		if subject, err = ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.CreateCertificate(cryptorand.Reader, template, template, &subject.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	chain := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	chain += []string{"", "", chain, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n"}[c.IntN(5)]
	refresh := begin.Add([]time.Duration{30 * time.Minute, 30 * time.Minute, time.Minute, life}[c.IntN(4)])
	at := func(v time.Time) *metav1.Time { return &metav1.Time{Time: v} }
	o.Status = certificatesv1.PodCertificateRequestStatus{CertificateChain: chain, NotBefore: at(begin), NotAfter: at(begin.Add(life)), BeginRefreshAt: at(refresh)}
	state := []string{"Issued", "Issued", "Issued", "Denied", "Failed", "Other"}[c.IntN(6)]
	o.Status.Conditions = []metav1.Condition{{Type: state, Status: metav1.ConditionTrue, Reason: "Reason", LastTransitionTime: metav1.Now()}}
	if state != "Issued" && c.IntN(2) == 0 {
		o.Status = certificatesv1.PodCertificateRequestStatus{Conditions: o.Status.Conditions}
	}
	if c.IntN(8) == 0 {
		o.Status.Conditions = nil
	}
}
