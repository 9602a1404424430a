package main

import (
	"crypto/tls"
	"path/filepath"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/aggregate"
	"github.com/inboard/inboard/apiserver/pki"
)

// frontProxyName is the common name by which extension API servers know the API server, as kubeadm has it.
const frontProxyName = "front-proxy-client"

// aggregate lets other API servers answer for groups of their own.
func (c *cluster) aggregate(cfg *apiserver.Config) error {
	var err error
	if c.frontProxies, err = c.loadAuthority("front-proxy-ca", "front-proxy"); err != nil {
		return err
	}
	pair, err := c.frontProxies.Client(frontProxyName)
	if err != nil {
		return err
	}
	cfg.Authentication.RequestHeader = &apiserver.RequestHeader{CA: c.frontProxies.CertificatePEM(), AllowedNames: []string{frontProxyName}}
	layer, err := aggregate.New(aggregate.Config{
		Store: cfg.Store, Logger: c.log,
		Certificate: func() (*tls.Certificate, error) { return &pair.TLS, nil },
		Trust:       aggregate.Trust{ClientCA: c.authority.CertificatePEM(), RequestHeader: cfg.Authentication.RequestHeader},
	})
	if err != nil {
		return err
	}
	cfg.Kinds = append(cfg.Kinds, aggregate.Kinds()...)
	cfg.Aggregator = layer
	return nil
}

// loadAuthority makes an authority, or with -dir loads the one that was made before.
func (c *cluster) loadAuthority(commonName string, dir ...string) (*pki.Authority, error) {
	if c.dir == "" {
		return pki.New(commonName)
	}
	return pki.Load(filepath.Join(append([]string{c.home, "pki"}, dir...)...), commonName)
}
