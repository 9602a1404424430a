// Package hookclient calls webhooks over HTTPS as kube-apiserver does, with client-go's errors: those of admission, and
// those that convert custom objects. Connections are kept for as long as a configuration names the webhook.
package hookclient

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// Config describes Clients.
type Config struct {
	// Types make the reviews known that are sent and received, in Versions.
	Types    []func(*runtime.Scheme) error
	Versions []schema.GroupVersion
	// MaxAnswer bounds, in bytes, what a webhook may answer.
	MaxAnswer int64
	// Resolve finds where a port of a Service is served, as HOST:PORT, for each call; ctx has the values of Target.Do's. Nil
	// reaches no Service.
	Resolve func(ctx context.Context, namespace, name string, port int32) (string, error)
	// Dial opens connections; nil is a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Certificate proves to webhooks who asks; nil is none.
	Certificate *tls.Certificate
}

// Clients keeps a client for each way to call a webhook. Make it with New; it is safe for concurrent use.
type Clients struct {
	cfg   Config
	codec runtime.NegotiatedSerializer
	// life ends with Close, and all calls with it.
	life context.Context
	end  context.CancelFunc

	mu    sync.Mutex
	known map[string]*client
}

// New returns clients without any connection.
func New(cfg Config) *Clients {
	scheme := runtime.NewScheme()
	for _, add := range cfg.Types {
		if err := add(scheme); err != nil {
			panic(err) // the types don't fit the library
		}
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	codec := serializer.NewCodecFactory(scheme).LegacyCodec(cfg.Versions...)
	c := &Clients{cfg: cfg, known: map[string]*client{}, codec: serializer.NegotiatedSerializerWrapper(runtime.SerializerInfo{Serializer: codec})}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// Target is a webhook to call. Make it with To; it is safe for concurrent use.
type Target struct {
	clients *Clients
	name    string
	config  admissionregistrationv1.WebhookClientConfig
	key     string
}

// To returns the webhook of a name, which only errors tell, that is reached by a configuration.
func (c *Clients) To(name string, config admissionregistrationv1.WebhookClientConfig) *Target {
	key, err := json.Marshal(&config)
	if err != nil {
		panic(err) // of strings and bytes that does not happen
	}
	return &Target{clients: c, name: name, config: config, key: string(key)}
}

// SetupError tells that a configuration makes no client.
type SetupError struct{ reason error }

func (e *SetupError) Error() string { return "could not get REST client: " + e.reason.Error() }

// Unwrap returns what is wrong.
func (e *SetupError) Unwrap() error { return e.reason }

// Do sends a review to the webhook and reads its answer. The webhook is told how long ctx has; a ctx without a deadline has
// 30 s, as in kube-apiserver.
func (to *Target) Do(ctx context.Context, send, receive runtime.Object) error {
	c := to.clients
	k, err := c.acquire(to)
	if err != nil {
		return &SetupError{err}
	}
	defer c.release(k)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	r := k.rest.Post().Body(send)
	if deadline, ok := ctx.Deadline(); ok {
		if left := time.Until(deadline); left > 0 {
			if whole := left.Truncate(time.Second); whole != left {
				left = whole + time.Second
			}
			r.Timeout(left)
		}
	}
	return r.Do(ctx).Into(receive)
}

// Keep lets go of the connections to webhooks that are none of these, when the calls that use them end.
func (c *Clients) Keep(list []*Target) {
	needed := make(map[string]bool, len(list))
	for _, to := range list {
		needed[to.key] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, k := range c.known {
		if !needed[key] {
			delete(c.known, key)
			k.retired = true
			k.endIfUnused()
		}
	}
}

// Close ends all calls and connections. Calls afterwards are errors.
func (c *Clients) Close() {
	c.end()
	c.Keep(nil)
}

var errClosed = errors.New("webhooks are not asked any more")

// acquire returns the client for a webhook, for one call.
func (c *Clients) acquire(to *Target) (*client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil {
		return nil, errClosed
	}
	k := c.known[to.key]
	if k == nil {
		var err error
		if k, err = c.newClient(to); err != nil {
			return nil, err
		}
		c.known[to.key] = k
	}
	k.active++
	return k, nil
}

func (c *Clients) release(k *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.active--
	k.endIfUnused()
}
