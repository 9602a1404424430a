package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/inboard/inboard/apiserver/pki"
)

// kubernetes is the folder with the real etcd and kube-apiserver, which make test-kubernetes builds.
var kubernetes = flag.String("kubernetes", "", "folder with etcd and kube-apiserver, for the stories that need them")

// program is one that a story started.
type program struct {
	name   string
	cmd    *exec.Cmd
	output string
	exited chan error
}

func (p *program) stop() error {
	_ = p.cmd.Process.Signal(os.Interrupt)
	return <-p.exited
}

// run starts a program in the background; the story's end ends it.
func (s *story) run(ts *testscript.TestScript, file string, args ...string) (*program, error) {
	p := &program{name: filepath.Base(file), output: ts.MkAbs(filepath.Base(file) + ".log"), exited: make(chan error, 1)}
	out, err := os.Create(p.output)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command(file, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = ts.Getenv("WORK"), out, out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	s.programs = append(s.programs, p)
	go func() { p.exited <- p.cmd.Wait() }()
	return p, nil
}

// start PROGRAM ARGS... starts one of the examples; stop PROGRAM presses Ctrl-C, which must end it well.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	_, err := of(ts).run(ts, filepath.Join(strings.Split(ts.Getenv("PATH"), ":")[0], args[0]), args[1:]...)
	ts.Check(err)
}

func cmdStop(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	for i, p := range s.programs {
		if p.name == args[0] {
			s.programs = append(s.programs[:i:i], s.programs[i+1:]...)
			if err := p.stop(); err != nil {
				ts.Fatalf("%s: %v\n%s", p.name, err, read(p.output))
			}
			return
		}
	}
	ts.Fatalf("no %s runs", args[0])
}

// kube-apiserver starts the real one on a real etcd, and writes $KUBECONFIG.
func cmdKubeAPIServer(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	_, err := s.run(ts, filepath.Join(*kubernetes, "etcd"), "--data-dir="+ts.MkAbs("etcd"), "--log-level=error")
	ts.Check(err)
	ts.Check(certificates(ts))
	_, err = s.run(ts, filepath.Join(*kubernetes, "kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379",
		"--secure-port=6443", "--advertise-address="+nodeIP, "--authorization-mode=Node,RBAC",
		"--tls-cert-file=server.crt", "--tls-private-key-file=server.key", "--client-ca-file=ca.crt",
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-client-certificate=admin.crt", "--kubelet-client-key=admin.key",
		"--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=sa.key", "--service-account-signing-key-file=sa.key")
	ts.Check(err)
	ts.Check(eventually(func() error {
		if ts.Exec("kubectl", "get", "--raw", "/readyz") != nil || !strings.Contains(ts.ReadFile("stdout"), "ok") {
			return errors.New("kube-apiserver is not up: " + ts.ReadFile("stderr"))
		}
		return nil
	}))
}

// certificates makes all that kube-apiserver and its clients need.
func certificates(ts *testscript.TestScript) error {
	ca, err := pki.New("kubernetes")
	if err != nil {
		return err
	}
	server, err := ca.Server("127.0.0.1", "localhost", nodeIP, "10.96.0.1", "kubernetes.default.svc")
	if err != nil {
		return err
	}
	admin, err := ca.Client("admin", "system:masters")
	if err != nil {
		return err
	}
	sa, err := serviceAccountKey()
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"ca.crt": ca.CertificatePEM(), "sa.key": sa,
		"server.crt": server.CertificatePEM, "server.key": server.KeyPEM, "admin.crt": admin.CertificatePEM, "admin.key": admin.KeyPEM} {
		if err := os.WriteFile(ts.MkAbs(name), content, 0o600); err != nil {
			return err
		}
	}
	return pki.Kubeconfig{Server: "https://127.0.0.1:6443", Authority: ca.CertificatePEM(), Client: admin}.Write(ts.Getenv("KUBECONFIG"))
}

// serviceAccountKey is a new key in the form in which kube-apiserver reads those of tokens.
func serviceAccountKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
}

// TestKubernetes runs the stories that need a real kube-apiserver.
func TestKubernetes(t *testing.T) {
	if *kubernetes == "" {
		t.Skip("needs a real kube-apiserver: make test-kubernetes")
	}
	for _, name := range []string{"etcd", "kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(*kubernetes, name)); err != nil {
			t.Fatal(err)
		}
	}
	stories(t, filepath.Join("testdata", "kubernetes"))
}
