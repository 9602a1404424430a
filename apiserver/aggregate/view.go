package aggregate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// view is what is known of all APIServices.
type view struct {
	cfg      *Config
	services map[string]*entry
	// changes counts them.
	changes int64
}

// entry is an APIService, shared and read-only.
type entry struct {
	*apiregistrationv1.APIService
	// target is how its server is reached; nil for what is served here.
	target *target
}

// Reset forgets everything.
func (v *view) Reset() {
	v.changes++
	for name := range v.services {
		v.forget(name)
	}
}

// Put notes an APIService. Connections to its server stay as long as nothing but its status changes.
func (v *view) Put(_ int, obj client.Object) {
	v.changes++
	s := obj.(*apiregistrationv1.APIService)
	old := v.services[s.Name]
	if old != nil && apiequality.Semantic.DeepEqual(old.Spec, s.Spec) {
		v.services[s.Name] = &entry{s, old.target}
		return
	}
	v.forget(s.Name)
	e := &entry{APIService: s}
	if s.Spec.Service != nil {
		e.target = newTarget(v.cfg, &s.Spec)
	}
	v.services[s.Name] = e
}

// Remove forgets an APIService.
func (v *view) Remove(_ int, _, name string) {
	v.changes++
	v.forget(name)
}

func (v *view) forget(name string) {
	if e := v.services[name]; e != nil && e.target != nil {
		e.target.close()
	}
	delete(v.services, name)
}

// target is how another server is reached.
type target struct {
	// err tells that it can't be.
	err error
	// plain is for requests, upgrade for those that turn their connection into something else, which HTTP/2 has not.
	plain, upgrade *http.Transport
}

func newTarget(cfg *Config, spec *apiregistrationv1.APIServiceSpec) *target {
	config, err := clientTLS(cfg, spec)
	if err != nil {
		return &target{err: err}
	}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	transport := func(protocols ...string) *http.Transport {
		c := config.Clone()
		c.NextProtos = protocols
		return &http.Transport{
			DialContext: dial, TLSClientConfig: c, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second,
			MaxIdleConnsPerHost: 25, ForceAttemptHTTP2: len(protocols) > 1, DisableCompression: true,
		}
	}
	return &target{plain: transport("h2", "http/1.1"), upgrade: transport("http/1.1")}
}

func clientTLS(cfg *Config, spec *apiregistrationv1.APIServiceSpec) (*tls.Config, error) {
	c := &tls.Config{
		ServerName: spec.Service.Name + "." + spec.Service.Namespace + ".svc",
		MinVersion: tls.VersionTLS12,
		//nolint:gosec // the APIService asks for it
		InsecureSkipVerify: spec.InsecureSkipTLSVerify,
	}
	if len(spec.CABundle) > 0 {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(spec.CABundle) {
			return nil, errors.New("unable to load root certificates: unable to parse bytes as PEM block")
		}
	}
	if certificate := cfg.Certificate; certificate != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate() }
	}
	return c, nil
}

// close lets go of connections that nothing uses.
func (t *target) close() {
	if t.err == nil {
		t.plain.CloseIdleConnections()
		t.upgrade.CloseIdleConnections()
	}
}
