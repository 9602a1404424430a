// Package crd serves kinds that users define by CustomResourceDefinitions, as apiextensions-apiserver does
// (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/): structural
// schemas with pruning, defaults, validation and CEL rules, status and scale subresources, several versions with
// conversion, columns, selectable fields, discovery and OpenAPI. A program opts in:
//
//	defs, err := crd.New(crd.Config{Store: st})
//	server, err := apiserver.New(apiserver.Config{
//		Store: st, Kinds: append(kinds.All(), defs.Kinds()...),
//		Sources: []apiserver.KindSource{defs}, Admission: defs.Admission(),
//	})
//	go defs.Run(ctx, server.Client(identity)) // accepts names, establishes, removes instances
//
// Definitions are read where the server stores them, before each request that may be about one of them. So a
// definition that one of several servers over a store has established is served by all of them at once.
package crd

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/follow"
	"github.com/inboard/inboard/apiserver/internal/hookclient"
	"github.com/inboard/inboard/store"
)

// sourceName is the name of the kinds in Server.SetKinds.
const sourceName = "customresourcedefinitions"

// Config describes Definitions.
type Config struct {
	// Store is the API server's; it has no default.
	Store apiserver.Store
	// Resolve finds where a port of a Service that is a conversion webhook is served, as HOST:PORT, as EndpointOf does; nil
	// reaches only webhooks that have a URL.
	Resolve func(ctx context.Context, namespace, name string, port int32) (string, error)
	// Dial opens a connection to a conversion webhook; nil is a net.Dialer. Proxies of the environment are not used.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Logger receives what the operator should know; nil discards.
	Logger *slog.Logger
}

// Definitions give one server the kinds that are defined in its store. Make it with New; it is safe for
// concurrent use.
type Definitions struct {
	cfg      Config
	row      apiserver.Kind
	follower *follow.Follower
	view     *view

	// server is the one that the kinds are for, once it has asked for them.
	server atomic.Pointer[apiserver.Server]

	mu sync.Mutex
	// applied is the view's version that the server has.
	applied atomic.Int64
	// told are the definitions of which the log tells that they are not served; guarded by mu.
	told map[string]refusal
}

var _ apiserver.KindSource = (*Definitions)(nil)

// New returns the definitions in a store. It holds a cursor over the store's history, but no goroutine, until Close
// or the end of the store.
func New(cfg Config) (*Definitions, error) {
	if cfg.Store == nil {
		return nil, errors.New("crd: Config.Store is missing")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	row := definitionKind()
	stored, err := apiserver.StoredAs(row)
	if err != nil {
		return nil, err
	}
	d := &Definitions{cfg: cfg, row: row, view: &view{clients: newClients(&cfg)}}
	d.view.Reset()
	d.follower = follow.New(cfg.Store, d.view, follow.Source{
		Prefix: stored.Prefix(),
		Object: func(e *store.Entry) (client.Object, error) {
			obj, err := stored.Object(e)
			if err != nil { // the others are served without it
				name := strings.TrimPrefix(e.Key, stored.Prefix())
				cfg.Logger.Error("a stored definition of custom resources can't be read", "name", name, "error", err)
				obj = &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name}}
			}
			return obj, nil
		},
	})
	return d, nil
}

// Close gives up the cursor, what is asked of conversion webhooks and connections to them. What needs the definitions
// afterwards is an error.
func (d *Definitions) Close() error {
	d.view.clients.Close()
	d.follower.Close()
	return nil
}

// Kinds returns the row of CustomResourceDefinitions, for the server's Config.
func (d *Definitions) Kinds() []apiserver.Kind { return []apiserver.Kind{d.row} }

// Refresh gives the server the kinds that are defined now.
func (d *Definitions) Refresh(ctx context.Context, s *apiserver.Server) error {
	if d.server.Load() != s {
		d.server.Store(s)
	}
	current := false
	if err := d.follower.Read(ctx, func() { current = d.view.version == d.applied.Load() }); err != nil || current {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var version int64
	var kinds []apiserver.Kind
	var refused map[string]refusal
	var hooks []*hookclient.Target
	if err := d.follower.Read(ctx, func() {
		version, hooks = d.view.version, d.view.hooks()
		kinds, refused = d.view.serving(s)
	}); err != nil {
		return err
	}
	if version == d.applied.Load() {
		return nil
	}
	d.tell(refused)
	if err := s.SetKinds(sourceName, kinds); err != nil {
		// It is not known for which of them: another source of the program's has kinds of the same names.
		d.cfg.Logger.Error("definitions of custom resources can't be served", "error", err)
		return err
	}
	d.applied.Store(version)
	d.view.clients.Keep(hooks)
	return nil
}

// view is what is kept of the definitions.
type view struct {
	// clients call conversion webhooks.
	clients *hookclient.Clients
	byName  map[string]*definition
	// version changes with what is served.
	version int64
}

func (v *view) Reset() {
	v.byName = map[string]*definition{}
	v.version++
}

func (v *view) Put(_ int, obj client.Object) {
	crd := obj.(*apiextensionsv1.CustomResourceDefinition)
	old := v.byName[crd.Name]
	if old != nil && old.servesLike(crd) {
		next := *old
		next.crd = crd
		v.byName[crd.Name] = &next
		return
	}
	v.byName[crd.Name] = newDefinition(crd, v.clients)
	v.version++
}

func (v *view) Remove(_ int, _, name string) {
	if v.byName[name] == nil {
		return
	}
	delete(v.byName, name)
	v.version++
}

// hooks returns the conversion webhooks of all definitions.
func (v *view) hooks() (out []*hookclient.Target) {
	for _, d := range v.byName {
		if d.webhook != nil {
			out = append(out, d.webhook.Target)
		}
	}
	return out
}

// nothing is what a server has of its own of which nothing is known.
type nothing struct{}

func (nothing) ServesFixed(string, string) bool          { return false }
func (nothing) StoresFixed(gr schema.GroupResource) bool { return false }

// own returns what the server has of its own. One that has not asked for kinds yet does so when it is asked, by c,
// for something that is none of them.
func (d *Definitions) own(ctx context.Context, c client.Interface) builtIn {
	if d.server.Load() == nil {
		none := client.Ref{GroupVersionResource: apiextensionsv1.SchemeGroupVersion.WithResource("none"), Name: "none"}
		_, _ = c.Get(ctx, none, metav1.GetOptions{}) // there is none
	}
	if s := d.server.Load(); s != nil {
		return s
	}
	return nothing{}
}
