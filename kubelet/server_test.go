package kubelet_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/kubelet"

	corev1 "k8s.io/api/core/v1"
)

// authority makes a certificate authority and a client certificate that it signed.
func authority(t *testing.T) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kube-apiserver"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(caDER)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return pool, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestServerWantsCertificates(t *testing.T) {
	pool, cert := authority(t)
	own, err := kubelet.SelfSigned("node-a", []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c := apitest.Open(t).Admin()
	n := startNode(t, c, func(cfg *kubelet.Config) {
		cfg.NodeIPs = []net.IP{net.IPv4(127, 0, 0, 1)}
		cfg.Server = kubelet.ServerConfig{Address: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: pool}}
	})
	n.create(pod("talk", "print", "hello"))
	n.events("talk", map[string]string{"Started": "Started container main"})
	node, err := client.For[*corev1.Node](c).Get(context.Background(), "", "node-a")
	if err != nil {
		t.Fatal(err)
	}
	port := node.Status.DaemonEndpoints.KubeletEndpoint.Port
	get := func(path string, certs ...tls.Certificate) (string, error) {
		hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certs}}}
		resp, err := hc.Get("https://" + net.JoinHostPort("127.0.0.1", big.NewInt(int64(port)).String()) + path)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	if _, err := get("/healthz"); err == nil {
		t.Error("a client without a certificate was let in")
	}
	if _, err := get("/healthz", own); err == nil {
		t.Error("a client with a certificate of its own making was let in")
	}
	if text, err := get("/healthz", cert); err != nil || text != "ok" {
		t.Errorf("healthz: %q, %v", text, err)
	}
	if text, err := get("/containerLogs/default/talk/main?tailLines=1&timestamps=true", cert); err != nil || !strings.HasSuffix(text, "Z hello\n") {
		t.Errorf("logs: %q, %v", text, err)
	}
	if text, err := get("/pods", cert); err != nil || !strings.Contains(text, `"name":"talk"`) {
		t.Errorf("pods: %.200q, %v", text, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	c := apitest.Open(t).Admin()
	good := kubelet.Config{Client: c, Runtime: newMemory(), Dir: t.TempDir(), NodeName: "n"}
	for field, edit := range map[string]func(*kubelet.Config){
		"Client":     func(c *kubelet.Config) { c.Client = nil },
		"Runtime":    func(c *kubelet.Config) { c.Runtime = nil },
		"Dir":        func(c *kubelet.Config) { c.Dir = "" },
		"NodeName":   func(c *kubelet.Config) { c.NodeName = "Not_A_Name" },
		"MaxPods":    func(c *kubelet.Config) { c.MaxPods = -1 },
		"Labels":     func(c *kubelet.Config) { c.Labels = map[string]string{"a b": ""} },
		"ClusterDNS": func(c *kubelet.Config) { c.ClusterDNS = []string{"dns"} },
		"Server.TLS": func(c *kubelet.Config) { c.Server.TLS = &tls.Config{} },
	} {
		cfg := good
		edit(&cfg)
		if _, err := kubelet.New(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want an error that names the field", field, err)
		}
	}
}
