// Package aggregate is the aggregation layer of the API, as kube-aggregator is
// (https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/): an APIService names the
// Service of a server that answers for a group and version, and requests for those are passed on to it, in the name of
// whoever sent them. Discovery and OpenAPI tell of all servers together.
//
//	layer, err := aggregate.New(aggregate.Config{Store: st, Certificate: frontProxy})
//	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: append(kinds.All(), aggregate.Kinds()...), Aggregator: layer})
//
// The server's Run then keeps an APIService for each group and version of its own, tells in the condition Available
// which of the others answer, and keeps the ConfigMap by which these know whose word to take about users.
package aggregate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/internal/follow"
)

// Config describes an Aggregator.
type Config struct {
	// Store is the API server's; it has no default.
	Store apiserver.Store
	// Certificate returns the certificate by which other servers know this one, whenever it connects: it may be
	// renewed. Nil presents none, and servers that check then treat all requests as anonymous.
	Certificate func() (*tls.Certificate, error)
	// Resolver finds the servers behind Services. The default is one of a Service's ready endpoints, as for
	// kube-apiserver with --enable-aggregator-routing: that needs no service proxy on the machine.
	Resolver Resolver
	// ClusterIPs sends requests to Services' cluster IPs instead, as kube-apiserver does by default.
	ClusterIPs bool
	// Dial opens connections to other servers; nil is a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Trust is what other servers are told about whom to believe; nothing is told when it is zero.
	Trust Trust
	// Refresh is how often other servers are asked whether they are well and what they serve, besides whenever
	// something about them changes; 30 s by default.
	Refresh time.Duration
	// Logger nil discards.
	Logger *slog.Logger
}

// Resolver finds the server behind a Service's port.
type Resolver interface {
	// Resolve returns the host and port of a URL.
	Resolve(ctx context.Context, namespace, name string, port int32) (*url.URL, error)
}

// Aggregator is the layer. Make it with New; it is safe for concurrent use.
type Aggregator struct {
	cfg    Config
	read   *reader
	follow *follow.Follower
	view   *view

	mu    sync.Mutex
	found map[string]*discovered // by the APIService's name
	// news counts changes of found; merged is what was made of the view's and this state.
	news      int64
	described map[string]*described
	merged    *apiserver.AggregatedVersions
	at        state

	openapi struct {
		mu      sync.Mutex
		key     string
		handler http.Handler
	}
}

// state tells whether something changed.
type state struct{ view, news int64 }

var _ apiserver.Aggregator = (*Aggregator)(nil)

// New returns an aggregator over a store. It starts nothing, but holds a cursor over the store's history until Close
// or the end of the store.
func New(cfg Config) (*Aggregator, error) {
	if cfg.Store == nil {
		return nil, errors.New("aggregate: Config.Store is missing")
	}
	if cfg.Refresh < 0 {
		return nil, fmt.Errorf("aggregate: Config.Refresh is %s", cfg.Refresh)
	}
	if cfg.Refresh == 0 {
		cfg.Refresh = 30 * time.Second
	}
	read, err := newReader(cfg.Store)
	if err != nil {
		return nil, fmt.Errorf("aggregate: %w", err)
	}
	switch {
	case cfg.Resolver != nil:
	case cfg.ClusterIPs:
		cfg.Resolver = clusterIPResolver{read}
	default:
		cfg.Resolver = endpointResolver{read}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	stored, err := apiserver.StoredAs(APIService())
	if err != nil {
		return nil, fmt.Errorf("aggregate: %w", err)
	}
	a := &Aggregator{cfg: cfg, read: read, found: map[string]*discovered{}, described: map[string]*described{}}
	a.view = &view{cfg: &a.cfg, services: map[string]*entry{}}
	a.follow = follow.New(cfg.Store, a.view, follow.Source{Prefix: stored.Prefix(), Object: stored.Object})
	return a, nil
}

// Close lets go of the store and of connections. What is asked afterwards is an error.
func (a *Aggregator) Close() error {
	a.follow.Close()
	a.view.Reset()
	return nil
}

// entry returns what is kept of an APIService, nil when there is none.
func (a *Aggregator) entry(ctx context.Context, name string) (e *entry, err error) {
	err = a.follow.Read(ctx, func() { e = a.view.services[name] })
	return e, err
}

// entries returns what is kept of all APIServices.
func (a *Aggregator) entries(ctx context.Context) (out []*entry, err error) {
	err = a.follow.Read(ctx, func() {
		for _, e := range a.view.services {
			out = append(out, e)
		}
	})
	return out, err
}

// Proxies tells whether another server answers for a group and version.
func (a *Aggregator) Proxies(ctx context.Context, gv schema.GroupVersion) (bool, error) {
	e, err := a.entry(ctx, serviceName(gv.Group, gv.Version))
	return e != nil && e.target != nil, err
}
