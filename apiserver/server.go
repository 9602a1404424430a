// Package apiserver serves the Kubernetes API over a store. A server is a value: New makes one,
// Client talks to it in the same process without sockets or serialization, Handler serves it over
// HTTP, Run keeps house. All kinds come from a table of rows (see Kind); every request, wherever it
// comes from, goes through one pipeline: authorize, default, admit, validate, store.
package apiserver

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/inboard/inboard/apiserver/client"
)

// Server is an API server; make it with New. All methods may be called from any number of goroutines.
type Server struct {
	cfg   Config
	store Store
	// catalog has what is served now, base the resources of Config.Kinds alone, which don't change.
	catalog   atomic.Pointer[catalog]
	base      *table
	setKinds  sync.Mutex
	admission []AdmissionPlugin
	proxies   *frontProxies
	merged    atomic.Pointer[mergedDiscovery]
	inFlight  chan struct{}
	pace      pacer
	ready     chan struct{}
	readyOnce sync.Once
	now       func() time.Time
}

// New makes a server. It starts nothing and writes nothing; Run does.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, store: cfg.Store, inFlight: make(chan struct{}, cfg.Limits.InFlight), ready: make(chan struct{}), now: time.Now,
	}
	if s.proxies, err = newFrontProxies(cfg.Authentication.RequestHeader); err != nil {
		return nil, err
	}
	kinds := cfg.Kinds
	if cfg.Authentication.ServiceAccounts != nil {
		kinds = withTokens(kinds, s.issueToken)
	}
	rows, err := newRows(kinds, nil, true)
	if err != nil {
		return nil, err
	}
	first, err := newCatalog(cfg.Version, rows, nil, nil)
	if err != nil {
		return nil, err
	}
	s.base = first.table
	s.catalog.Store(first)
	s.admission = s.admissionPlugins()
	return s, nil
}

// Ready is closed when Run has made what every cluster has: the initial namespaces and, with
// Config.Advertise, the Service "kubernetes".
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Client returns a client of the server in the same process, under the given identity. It goes
// through the same pipeline as HTTP, and costs nothing when it is not used.
func (s *Server) Client(id Identity) client.Interface { return &inProcess{server: s, user: &id} }

// lookup returns the newest state of an object as the server itself sees it, nil when there is none.
func (s *Server) lookup(ctx context.Context, r *resource, namespace, name string) (client.Object, int64, error) {
	e, _, err := s.store.Get(ctx, r.key(namespace, name))
	if err != nil {
		return nil, 0, storeError(err, 0)
	}
	if e == nil {
		return nil, 0, nil
	}
	obj, err := r.object(e)
	return obj, e.ModRevision, err
}
