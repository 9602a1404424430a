package pki_test

import (
	"fmt"
	"strings"

	"github.com/inboard/inboard/apiserver/pki"
)

func Example() {
	ca, err := pki.New("my-cluster")
	if err != nil {
		fmt.Println(err)
		return
	}
	serving, err := ca.Server("127.0.0.1", "kubernetes.default.svc")
	if err != nil {
		fmt.Println(err)
		return
	}
	admin, err := ca.Client("admin", "system:masters")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(serving.TLS.Leaf.Issuer.CommonName, serving.TLS.Leaf.DNSNames, serving.TLS.Leaf.IPAddresses)
	fmt.Println(admin.TLS.Leaf.Subject.CommonName, admin.TLS.Leaf.Subject.Organization)

	config, err := pki.Kubeconfig{Server: "https://127.0.0.1:6443", Authority: ca.CertificatePEM(), Client: admin}.YAML()
	fmt.Println(strings.Contains(string(config), "server: https://127.0.0.1:6443"), err)
	// Output:
	// my-cluster [kubernetes.default.svc] [127.0.0.1]
	// admin [system:masters]
	// true <nil>
}
