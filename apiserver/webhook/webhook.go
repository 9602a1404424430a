// Package webhook asks admission webhooks about requests, as kube-apiserver does
// (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/): HTTPS servers that
// MutatingWebhookConfigurations and ValidatingWebhookConfigurations name, which may change or refuse what clients ask for.
//
//	hooks, err := webhook.New(webhook.Config{Store: st})
//	server, err := apiserver.New(apiserver.Config{Store: st,
//		Kinds:     append(kinds.All(), webhook.Kinds()...),
//		Admission: hooks.Admission()})
//
// Requests in the same process are asked about as those over HTTPS are.
package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/internal/follow"
	"github.com/inboard/inboard/apiserver/internal/hookclient"
	"github.com/inboard/inboard/apiserver/internal/registration"
)

// Config describes Webhooks.
type Config struct {
	// Store is the API server's; it has no default.
	Store apiserver.Store
	// Resolve finds where a port of a Service is served, as HOST:PORT. The default is EndpointOf.
	Resolve Resolver
	// Dial opens a connection to a webhook; nil is a net.Dialer. Proxies of the environment are not used.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Certificate proves to webhooks who asks; nil is none.
	Certificate *tls.Certificate
	// Logger receives failed calls and what webhooks refuse; nil discards.
	Logger *slog.Logger
}

// Webhooks asks webhooks. Make it with New. It is safe for concurrent use.
type Webhooks struct {
	cfg      Config
	view     *view
	follower *follow.Follower
	clients  *hookclient.Clients
}

// New returns the webhooks that the configurations in a store name. It holds cursors over the store's history and
// idle connections to webhooks, but no goroutine while nothing is asked, until Close.
func New(cfg Config) (*Webhooks, error) {
	if cfg.Store == nil {
		return nil, errors.New("webhook: Config.Store is missing")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if cfg.Resolve == nil {
		cfg.Resolve = EndpointOf
	}
	w := &Webhooks{cfg: cfg, clients: newClients(&cfg)}
	w.view = newView(w.clients)
	var sources []follow.Source
	for _, k := range Kinds() {
		s, err := apiserver.StoredAs(k)
		if err != nil {
			return nil, fmt.Errorf("webhook: %w", err)
		}
		sources = append(sources, follow.Source{Prefix: s.Prefix(), Object: s.Object})
	}
	w.follower = follow.New(cfg.Store, w.view, sources...)
	return w, nil
}

// Close gives up the cursors, what is asked and the connections. Requests that are asked about afterwards are refused.
func (w *Webhooks) Close() error {
	w.follower.Close()
	w.clients.Close()
	return nil
}

// Names of the plugins; they are Kubernetes' own.
const (
	MutatingName   = "MutatingAdmissionWebhook"
	ValidatingName = "ValidatingAdmissionWebhook"
)

// Admission returns the two plugins that ask webhooks.
func (w *Webhooks) Admission() []apiserver.AdmissionPlugin {
	return []apiserver.AdmissionPlugin{
		{Name: MutatingName, Admit: w.mutate},
		{Name: ValidatingName, Validate: w.validate},
	}
}

// hooks returns the webhooks of a kind that are configured, none for requests that they are not asked about.
func (w *Webhooks) hooks(ctx context.Context, source int, r *apiserver.AdmissionRequest) ([]*hook, error) {
	var list []*hook
	if err := w.follower.Read(ctx, func() { list = w.view.hooks[source] }); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	if len(list) == 0 || isConfiguration(r) || registration.IsReview(r.Ref.Group, r.Ref.Resource) {
		return nil, nil
	}
	return list, nil
}

// configurations are the resources of admission itself: who breaks it must be able to mend it.
var configurations = map[string]bool{
	"validatingwebhookconfigurations": true, "mutatingwebhookconfigurations": true,
	"validatingadmissionpolicies": true, "validatingadmissionpolicybindings": true,
	"mutatingadmissionpolicies": true, "mutatingadmissionpolicybindings": true,
}

func isConfiguration(r *apiserver.AdmissionRequest) bool {
	return r.Ref.Group == "admissionregistration.k8s.io" && configurations[r.Ref.Resource]
}
