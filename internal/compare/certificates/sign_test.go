package certificates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"reflect"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	kubecertificates "k8s.io/kubernetes/pkg/apis/certificates"
	"k8s.io/kubernetes/pkg/controller/certificates/authority"

	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/controller/certificates"
)

const runs = 2000

var usages = []certificatesv1.KeyUsage{"digital signature", "key encipherment", "client auth", "server auth", "any", "cert sign", "s/mime", "email protection", "swim"}

type generator struct{ *rand.Rand }

func (g generator) usages() []certificatesv1.KeyUsage {
	if g.IntN(2) == 0 {
		likely := [][]certificatesv1.KeyUsage{
			{"digital signature", "client auth"}, {"client auth", "key encipherment", "digital signature"},
			{"digital signature", "server auth"}, {"digital signature", "key encipherment", "server auth"},
		}
		return likely[g.IntN(len(likely))]
	}
	out := make([]certificatesv1.KeyUsage, 1+g.IntN(4))
	for i := range out {
		out[i] = usages[g.IntN(len(usages))]
	}
	return out
}

func (g generator) request() *x509.CertificateRequest {
	r := &x509.CertificateRequest{Subject: pkix.Name{
		CommonName:   []string{"system:node:n1", "system:node:n1", "alice", ""}[g.IntN(4)],
		Organization: [][]string{{"system:nodes"}, {"system:nodes"}, {"system:nodes"}, {"devs"}, {"system:nodes", "devs"}, nil}[g.IntN(6)],
	}}
	if g.IntN(3) == 0 {
		r.DNSNames = []string{"n1.example.com"}
	}
	if g.IntN(3) == 0 {
		r.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1).To4()}
	}
	if g.IntN(8) == 0 {
		r.EmailAddresses = []string{"a@example.com"}
	}
	if g.IntN(8) == 0 {
		r.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/a"}}
	}
	return r
}

// TestSign makes random requests, and compares what is said about them and the certificates.
func TestSign(t *testing.T) {
	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}
	root, rootKey := ca.Signer()
	theirs := authority.CertificateAuthority{Certificate: root, PrivateKey: rootKey}
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	taken, signed := map[string]int{}, 0
	for i := range runs {
		g := generator{rand.New(rand.NewPCG(1, uint64(i)))}
		der, err := x509.CreateCertificateRequest(cryptorand.Reader, g.request(), key)
		if err != nil {
			t.Fatal(err)
		}
		csr := &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), Usages: g.usages(),
		}}
		request, err := x509.ParseCertificateRequest(der)
		if err != nil {
			t.Fatal(err)
		}
		set := sets.NewString()
		for _, u := range csr.Spec.Usages {
			set.Insert(string(u))
		}
		for name, want := range map[string]error{
			certificates.KubeletServing:             kubecertificates.ValidateKubeletServingCSR(request, set),
			certificates.KubeAPIServerClientKubelet: kubecertificates.ValidateKubeletClientCSR(request, set),
		} {
			csr.Spec.SignerName = name
			got := certificates.Check(csr)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s, %+v, %v: %v, Kubernetes says %v", name, request.Subject, csr.Spec.Usages, got, want)
			}
			if want == nil {
				taken[name]++
			}
		}
		lifetime := []time.Duration{10 * time.Minute, 7 * time.Hour, 8 * time.Hour, 24 * time.Hour, 100 * 365 * 24 * time.Hour}[g.IntN(5)]
		now := time.Now()
		want, wantErr := theirs.Sign(der, authority.PermissiveSigningPolicy{
			TTL: lifetime, Usages: csr.Spec.Usages, Backdate: 5 * time.Minute, Short: 8 * time.Hour, Now: func() time.Time { return now },
		})
		got, gotErr := certificates.Sign(certificates.Authority{Certificate: root, Key: rootKey}, csr, lifetime, now)
		if (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("%v: %v, Kubernetes: %v", csr.Spec.Usages, gotErr, wantErr)
		}
		if gotErr == nil {
			signed++
			same(t, got, want)
		}
	}
	if len(taken) != 2 || signed == 0 {
		t.Errorf("taken: %v, signed: %d", taken, signed)
	}
}

// same compares certificates in all that does not differ each time.
func same(t *testing.T, text, der []byte) {
	t.Helper()
	block, _ := pem.Decode(text)
	ours, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*x509.Certificate{ours, theirs} {
		c.Raw, c.RawTBSCertificate, c.Signature, c.SerialNumber = nil, nil, nil, nil
	}
	if !reflect.DeepEqual(ours, theirs) {
		t.Errorf("%+v\nKubernetes: %+v", ours, theirs)
	}
}
