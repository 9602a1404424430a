package pki

import (
	"errors"

	"sigs.k8s.io/yaml"
)

// Kubeconfig is what a kubeconfig file with one cluster, one user and one context says.
type Kubeconfig struct {
	// Cluster, User and Context are the names of the entries, by default "inboard", "admin" and
	// "USER@CLUSTER".
	Cluster, User, Context string
	// Server is the URL of the API server, "https://127.0.0.1:6443".
	Server string
	// Namespace is the context's; empty is "default".
	Namespace string
	// Authority is the certificate that the server's is checked against, in PEM.
	Authority []byte
	// Client is the user's certificate, Token a bearer token; either may be missing.
	Client *Pair
	Token  string
}

// The file's format, https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/.
type (
	configFile struct {
		APIVersion     string         `json:"apiVersion"`
		Kind           string         `json:"kind"`
		Clusters       []namedCluster `json:"clusters"`
		Users          []namedUser    `json:"users"`
		Contexts       []namedContext `json:"contexts"`
		CurrentContext string         `json:"current-context"`
	}
	namedCluster struct {
		Name    string  `json:"name"`
		Cluster cluster `json:"cluster"`
	}
	cluster struct {
		Server    string `json:"server"`
		Authority []byte `json:"certificate-authority-data,omitempty"`
	}
	namedUser struct {
		Name string `json:"name"`
		User user   `json:"user"`
	}
	user struct {
		Certificate []byte `json:"client-certificate-data,omitempty"`
		Key         []byte `json:"client-key-data,omitempty"`
		Token       string `json:"token,omitempty"`
	}
	namedContext struct {
		Name    string     `json:"name"`
		Context contextRef `json:"context"`
	}
	contextRef struct {
		Cluster   string `json:"cluster"`
		User      string `json:"user"`
		Namespace string `json:"namespace,omitempty"`
	}
)

// YAML returns the file's content.
func (k Kubeconfig) YAML() ([]byte, error) {
	if k.Server == "" {
		return nil, errors.New("pki: Kubeconfig.Server is missing")
	}
	if k.Cluster == "" {
		k.Cluster = "inboard"
	}
	if k.User == "" {
		k.User = "admin"
	}
	if k.Context == "" {
		k.Context = k.User + "@" + k.Cluster
	}
	u := user{Token: k.Token}
	if k.Client != nil {
		u.Certificate, u.Key = k.Client.CertificatePEM, k.Client.KeyPEM
	}
	return yaml.Marshal(configFile{
		APIVersion: "v1", Kind: "Config",
		Clusters:       []namedCluster{{k.Cluster, cluster{k.Server, k.Authority}}},
		Users:          []namedUser{{k.User, u}},
		Contexts:       []namedContext{{k.Context, contextRef{k.Cluster, k.User, k.Namespace}}},
		CurrentContext: k.Context,
	})
}

// Write writes the file, which only its owner can read.
func (k Kubeconfig) Write(path string) error {
	b, err := k.YAML()
	if err != nil {
		return err
	}
	return WriteFile(path, b)
}
