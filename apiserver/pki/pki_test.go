package pki_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/inboard/inboard/apiserver/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ok[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestLoadKeepsOneAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	first := ok(pki.Load(dir, "test"))
	again := ok(pki.Load(dir, "test"))
	if !bytes.Equal(first.CertificatePEM(), again.CertificatePEM()) {
		t.Error("the second load made another authority")
	}
	// What the first signed, the second trusts, and the other way round.
	own := ok(again.Client("user", "group"))
	if _, err := own.TLS.Leaf.Verify(x509.VerifyOptions{Roots: first.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	info := ok(os.Stat(filepath.Join(dir, "ca.key")))
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file has mode %s", info.Mode())
	}
}

func TestLoadTellsWhatIsWrong(t *testing.T) {
	for _, tc := range []struct {
		name, file, content, want string
	}{
		{"no key", "ca.key", "", "its key can't be read"},
		{"broken key", "ca.key", "nonsense", "no PEM key"},
		{"broken certificate", "ca.crt", "nonsense", "no PEM certificate"},
		{"another's key", "ca.key", "other", "do not belong together"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, other := t.TempDir(), t.TempDir()
			ok(pki.Load(dir, "test"))
			ok(pki.Load(other, "other"))
			path := filepath.Join(dir, tc.file)
			switch tc.content {
			case "":
				_ = os.Remove(path)
			case "other":
				_ = os.WriteFile(path, ok(os.ReadFile(filepath.Join(other, tc.file))), 0o600)
			default:
				_ = os.WriteFile(path, []byte(tc.content), 0o600)
			}
			_, err := pki.Load(dir, "test")
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%v, want %q and the directory", err, tc.want)
			}
		})
	}
}

// TestHandshake has a server and clients talk: who a client is comes out of its certificate.
func TestHandshake(t *testing.T) {
	ca := ok(pki.New("test"))
	serving := ok(ca.Server("kubernetes", "127.0.0.1"))
	own := ok(ca.Client("jane", "devs", "ops"))
	cfg := ca.ClientTLS(own)
	cfg.ServerName = "kubernetes"
	here, there := net.Pipe()
	done := make(chan tls.ConnectionState, 1)
	go func() {
		s := tls.Server(there, ca.ServerTLS(serving))
		_ = s.Handshake()
		done <- s.ConnectionState()
		_, _ = io.Copy(io.Discard, s)
	}()
	c := tls.Client(here, cfg)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	subject := (<-done).VerifiedChains[0][0].Subject
	slices.Sort(subject.Organization) // a certificate holds them as a set
	if subject.CommonName != "jane" || strings.Join(subject.Organization, " ") != "devs ops" {
		t.Errorf("%v", subject)
	}
	_ = c.Close()
	_ = there.Close()
}

// TestKubeconfig has client-go read what is written.
func TestKubeconfig(t *testing.T) {
	ca := ok(pki.New("test"))
	path := filepath.Join(t.TempDir(), "config")
	k := pki.Kubeconfig{Server: "https://127.0.0.1:6443", Namespace: "team", Authority: ca.CertificatePEM(), Client: ok(ca.Client("admin"))}
	if err := k.Write(path); err != nil {
		t.Fatal(err)
	}
	cfg := ok(clientcmd.LoadFromFile(path))
	if cfg.CurrentContext != "admin@inboard" || cfg.Contexts["admin@inboard"].Namespace != "team" {
		t.Errorf("%+v", cfg)
	}
	rc := ok(clientcmd.NewDefaultClientConfig(*cfg, nil).ClientConfig())
	if rc.Host != k.Server || !bytes.Equal(rc.CAData, k.Authority) || !bytes.Equal(rc.KeyData, k.Client.KeyPEM) {
		t.Errorf("%+v", rc)
	}
	if _, err := (pki.Kubeconfig{}).YAML(); err == nil {
		t.Error("a kubeconfig without a server was written")
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		ca := ok(pki.New("test"))
		ok(ca.Server("127.0.0.1"))
		ok(ca.Client("admin"))
	}
}
