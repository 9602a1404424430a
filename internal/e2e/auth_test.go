package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"sigs.k8s.io/yaml"
)

// token-kubeconfig FILE OUT writes a kubeconfig for the story's cluster whose user has nothing but the token in a
// file.
func cmdTokenKubeconfig(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: token-kubeconfig FILE OUT")
	}
	var doc map[string]any
	ts.Check(yaml.Unmarshal([]byte(ts.ReadFile(ts.Getenv("KUBECONFIG"))), &doc))
	user := doc["users"].([]any)[0].(map[string]any)
	user["user"] = map[string]any{"token": strings.TrimSpace(ts.ReadFile(args[0]))}
	ts.Check(writeYAML(ts.MkAbs(args[1]), doc))
}

func writeYAML(path string, doc any) error {
	text, err := yaml.Marshal(doc)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// certificate-request USER GROUP OUT writes OUT.key and the manifest OUT.yaml of a CertificateSigningRequest OUT for a
// client certificate.
func cmdCertificateRequest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: certificate-request USER GROUP OUT")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	der, err := x509.MarshalECPrivateKey(key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]+".key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600))
	subject := pkix.Name{CommonName: args[0], Organization: []string{args[1]}}
	der, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
	ts.Check(err)
	manifest := fmt.Sprintf(`apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: %s}
spec:
  signerName: kubernetes.io/kube-apiserver-client
  expirationSeconds: 3600
  usages: [client auth, digital signature]
  request: %s
`, args[2], base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
	ts.Check(os.WriteFile(ts.MkAbs(args[2]+".yaml"), []byte(manifest), 0o600))
}

// certificate-kubeconfig KEY CERTIFICATE OUT writes a kubeconfig for the story's cluster whose user has the key, and
// the certificate that a file has in base64.
func cmdCertificateKubeconfig(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: certificate-kubeconfig KEY CERTIFICATE OUT")
	}
	var doc map[string]any
	ts.Check(yaml.Unmarshal([]byte(ts.ReadFile(ts.Getenv("KUBECONFIG"))), &doc))
	user := doc["users"].([]any)[0].(map[string]any)
	user["user"] = map[string]any{
		"client-key-data":         base64.StdEncoding.EncodeToString([]byte(ts.ReadFile(args[0]))),
		"client-certificate-data": strings.TrimSpace(ts.ReadFile(args[1])),
	}
	ts.Check(writeYAML(ts.MkAbs(args[2]), doc))
}
