package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/inboard/inboard/store"
)

// Config configures a server. Only Store and Kinds have no default.
type Config struct {
	// Store keeps all objects. The server does not close it.
	Store Store
	// Kinds are the kinds to serve, such as kinds.All() or some of its groups.
	Kinds []Kind
	// Sources give further kinds, which change while the server runs; see Server.SetKinds.
	Sources []KindSource

	// Admission are plugins besides those that kube-apiserver has on by default; see AdmissionPlugin
	// about their order.
	Admission []AdmissionPlugin
	// DisableAdmission names built-in plugins that shall not run, such as "ResourceQuota".
	DisableAdmission []string
	// Authorizer decides what an identity may do: package rbac has Kubernetes' own. The default lets
	// the group system:masters do everything and the built-in components what they need, see
	// DefaultAuthorizer. One that is a Policy is asked about writes, too.
	Authorizer Authorizer
	// Authentication tells who sends a request over HTTP; see AuthenticationConfig.
	Authentication AuthenticationConfig
	// Aggregator adds groups and versions of other servers; package aggregate has one. Nil adds none.
	Aggregator Aggregator
	// RequireServiceAccounts refuses pods whose service account does not exist, and with
	// Authentication.ServiceAccounts mounts a token into those whose does. It needs a controller that makes
	// each namespace's account "default" and ConfigMap "kube-root-ca.crt".
	RequireServiceAccounts bool

	// ServiceCIDR is the range that cluster IPs come from, 10.96.0.0/16 by default.
	ServiceCIDR netip.Prefix
	// NodePorts is the range that node ports come from, 30000-32767 by default.
	NodePorts PortRange
	// Advertise is the address at which pods and nodes reach the server. With it, the server
	// keeps the Service "kubernetes", its Endpoints and its EndpointSlice; the zero value keeps none. Loopback
	// and link-local addresses are none that endpoints may have.
	Advertise netip.AddrPort

	// Kubelet tells how to reach the kubelets for logs.
	Kubelet KubeletConfig
	// EventTTL is how long Events are kept, an hour by default; negative keeps them.
	EventTTL time.Duration
	// Limits bound what clients can ask of the server at once.
	Limits Limits
	// FlowControl decides when requests over HTTP run, in place of Limits.InFlight; see package flowcontrol.
	FlowControl FlowControl
	// Metrics are shown at /metrics, see package metrics; without them nothing is measured and there is no such page.
	Metrics Metrics
	// HealthChecks are made by /healthz, /livez and /readyz besides the server's own.
	HealthChecks []HealthCheck
	// Version is what /version tells, "v1.37.2+inboard" by default.
	Version string
	// Logger receives what the operator should know; nil discards.
	Logger *slog.Logger
}

// Store is what a server needs of a store; *store.Store has it, and so has a replicated one.
type Store interface {
	Get(ctx context.Context, key string) (*store.Entry, int64, error)
	Range(ctx context.Context, r store.Range) (store.RangeResult, error)
	Txn(ctx context.Context, t store.Txn) (store.TxnResult, error)
	Txns(ctx context.Context, txns []store.Txn) []store.Outcome
	Watch(cfg store.WatchConfig) (*store.Watcher, error)
	Revision() int64
}

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last int32 }

// String returns the range as kube-apiserver's messages tell it, as in "30000-32767".
func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// KubeletConfig tells how the server talks to kubelets.
type KubeletConfig struct {
	// TLS holds the client certificate and the authorities that kubelets' certificates are
	// checked against; nil verifies nothing and presents no certificate.
	TLS *tls.Config
	// Dial opens a connection to a kubelet, or for proxies to a pod; nil is a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// AuthenticationConfig tells which credentials the server accepts over HTTP. Client certificates are
// accepted when the connection's TLS configuration verified them: the common name is the user, the
// organizations are the groups.
type AuthenticationConfig struct {
	// Tokens are static bearer tokens.
	Tokens map[string]Identity
	// ServiceAccounts issues and checks the tokens of service accounts; nil issues none. Package
	// serviceaccount has it.
	ServiceAccounts ServiceAccountTokens
	// Authenticators are asked in turn about tokens that are none of those.
	Authenticators []TokenAuthenticator
	// RequestHeader tells whose word about users in headers is taken; nil is nobody's.
	RequestHeader *RequestHeader
	// Custom is asked about requests without a certificate or a token of Tokens; ok false means
	// that it knows nothing about the request's sender.
	Custom func(r *http.Request) (id Identity, ok bool, err error)
	// NoAnonymous refuses requests without credentials instead of treating them as made by
	// system:anonymous.
	NoAnonymous bool
}

// Limits bound what clients can ask of the server at once. Zero fields have kube-apiserver's defaults.
type Limits struct {
	// InFlight is the number of requests that are neither watches nor logs, 600 by default. More
	// get 429 with Retry-After. Config.FlowControl takes its place.
	InFlight int
	// Body is the size of a request's body in bytes, 3 MiB by default. More gets 413.
	Body int64
	// RequestTimeout bounds requests that are neither watches nor logs, 60 s by default.
	RequestTimeout time.Duration
}

// withDefaults returns a copy of c with defaults filled in, and what is wrong with c.
func (c Config) withDefaults() (Config, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if !c.ServiceCIDR.IsValid() {
		c.ServiceCIDR = netip.MustParsePrefix("10.96.0.0/16")
	}
	if c.NodePorts == (PortRange{}) {
		c.NodePorts = PortRange{30000, 32767}
	}
	if c.EventTTL == 0 {
		c.EventTTL = time.Hour
	}
	if c.Version == "" {
		c.Version = "v1.37.2+inboard"
	}
	if c.Authorizer == nil {
		c.Authorizer = DefaultAuthorizer()
	}
	c.Limits = c.Limits.withDefaults()
	return c, c.validate()
}

func (l Limits) withDefaults() Limits {
	if l.InFlight == 0 {
		l.InFlight = 600
	}
	if l.Body == 0 {
		l.Body = 3 << 20
	}
	if l.RequestTimeout == 0 {
		l.RequestTimeout = time.Minute
	}
	return l
}

func (c *Config) validate() error {
	switch {
	case c.Store == nil:
		return errors.New("apiserver: Config.Store is missing")
	case len(c.Kinds) == 0:
		return errors.New("apiserver: Config.Kinds is empty")
	case c.ServiceCIDR != c.ServiceCIDR.Masked():
		return fmt.Errorf("apiserver: Config.ServiceCIDR %s has bits set below its mask; want %s", c.ServiceCIDR, c.ServiceCIDR.Masked())
	case c.ServiceCIDR.Addr().BitLen()-c.ServiceCIDR.Bits() < 2:
		return fmt.Errorf("apiserver: Config.ServiceCIDR %s is too small", c.ServiceCIDR)
	case c.NodePorts.First < 1 || c.NodePorts.Last > 65535 || c.NodePorts.First > c.NodePorts.Last:
		return fmt.Errorf("apiserver: Config.NodePorts %s is no range of ports", c.NodePorts)
	case c.Advertise.IsValid() && (c.Advertise.Addr().IsLoopback() || c.Advertise.Addr().IsUnspecified() || c.Advertise.Addr().IsLinkLocalUnicast()):
		return fmt.Errorf("apiserver: Config.Advertise is %s, an address that pods can't reach; want one of the machine's own", c.Advertise)
	case slices.ContainsFunc(c.HealthChecks, func(h HealthCheck) bool { return h.Name == "" || h.Check == nil }):
		return errors.New("apiserver: Config.HealthChecks has one without a name or without a function")
	case c.Limits.InFlight < 0 || c.Limits.Body < 0 || c.Limits.RequestTimeout < 0:
		return errors.New("apiserver: Config.Limits has a negative field")
	}
	return nil
}
