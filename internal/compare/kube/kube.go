// Package kube starts real Kubernetes components for comparisons: etcd and kube-apiserver, built from
// their modules.
package kube

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// token is the credential of a member of system:masters.
const token = "compare"

// patience bounds the wait for a component to be up; kube-apiserver takes some seconds.
const patience = 2 * time.Minute

// Start builds and starts etcd and a kube-apiserver for the length of the test, and returns how to
// reach it as a member of system:masters. It listens on loopback only.
func Start(t testing.TB) *rest.Config {
	t.Helper()
	dir := t.TempDir()
	bin := build(t)
	client, peer := freeAddr(t), freeAddr(t)
	run(t, dir, filepath.Join(bin, "etcd"), "--data-dir="+filepath.Join(dir, "etcd"), "--log-level=error",
		"--listen-client-urls=http://"+client, "--advertise-client-urls=http://"+client,
		"--listen-peer-urls=http://"+peer, "--initial-advertise-peer-urls=http://"+peer, "--initial-cluster=default=http://"+peer)
	secure := freeAddr(t)
	host, port, _ := net.SplitHostPort(secure)
	key := writeKey(t, dir)
	tokens := filepath.Join(dir, "tokens.csv")
	write(t, tokens, token+",admin,admin,system:masters\n")
	exited := run(t, dir, filepath.Join(bin, "kube-apiserver"), "--etcd-servers=http://"+client,
		"--bind-address="+host, "--advertise-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+filepath.Join(dir, "certs"),
		"--token-auth-file="+tokens, "--authorization-mode=Node,RBAC", "--disable-admission-plugins=ServiceAccount",
		"--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+key,
		"--service-account-signing-key-file="+key)
	cfg := &rest.Config{Host: "https://" + secure, BearerToken: token, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	wait(t, cfg, exited)
	return cfg
}

// built is where the components are, to save the build: it takes minutes the first time.
var built = flag.String("kubernetes", "", "folder with etcd and kube-apiserver; they are built when there is none")

// build builds the components; after the first time Go's build cache makes it quick.
func build(t testing.TB) string {
	t.Helper()
	if *built != "" {
		return *built
	}
	dir := filepath.Join(os.TempDir(), "inboard-compare")
	cmd := exec.Command("go", "build", "-o", dir+"/", "./cmd/...")
	cmd.Dir = moduleRoot(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

func moduleRoot(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(out))
}

// run starts a component, and ends it with the test. Its output is shown when the test fails. The
// channel is closed when it exits.
func run(t testing.TB, dir, program string, args ...string) (exited <-chan struct{}) {
	t.Helper()
	name := filepath.Base(program)
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		log.Close()
		if text, _ := os.ReadFile(log.Name()); t.Failed() && len(text) > 0 {
			t.Logf("the end of %s's log:\n%s", name, text[max(0, len(text)-2000):])
		}
	})
	return done
}

func wait(t testing.TB, cfg *rest.Config, exited <-chan struct{}) {
	t.Helper()
	hc, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; {
		resp, err := hc.Get(cfg.Host + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
			err = fmt.Errorf("/readyz: %s", resp.Status)
		}
		if time.Now().After(deadline) {
			t.Fatalf("kube-apiserver is not up after %v: %v", patience, err)
		}
		select {
		case <-exited:
			t.Fatal("kube-apiserver ended")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func writeKey(t testing.TB, dir string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sa.key")
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	return file
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Run runs a program of ../cmd for the length of the test; it is built if there is none. The channel is closed when it
// exits.
func Run(t testing.TB, name string, args ...string) (exited <-chan struct{}) {
	t.Helper()
	program := filepath.Join(*built, name)
	if _, err := os.Stat(program); *built == "" || err != nil {
		program = filepath.Join(os.TempDir(), "inboard-compare", name)
		cmd := exec.Command("go", "build", "-o", program, "./cmd/"+name)
		cmd.Dir = moduleRoot(t)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	}
	return run(t, t.TempDir(), program, args...)
}
