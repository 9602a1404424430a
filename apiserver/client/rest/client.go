// Package rest is the contract of package client over HTTPS: to an inboard API server in another
// process, or to any real Kubernetes. Kinds of k8s.io/api travel as protobuf and arrive as their Go
// types; all others travel as JSON and arrive as *unstructured.Unstructured.
package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/inboard/inboard/apiserver/client"
)

// Config says which server to talk to, and as whom.
type Config struct {
	// REST, when not nil, is used as it is, but for the content type. It is copied.
	REST *rest.Config
	// Kubeconfig is the path of a kubeconfig file, read when REST is nil. When it is empty too,
	// the program must run in a pod, whose service account is used.
	Kubeconfig string
	// Context is the kubeconfig's context; empty means its current one.
	Context string
	// Types register Go types besides those of k8s.io/api that this package knows.
	Types []func(*runtime.Scheme) error
	// UserAgent is sent with each request; empty means the program's name.
	UserAgent string
}

// Client is the contract over HTTPS. Its requests are not limited in rate, as servers limit
// themselves (429 with Retry-After is obeyed).
type Client struct {
	base   *rest.Config
	http   *http.Client
	coding *coding

	mu    sync.Mutex
	byGV  map[schema.GroupVersion]*rest.RESTClient
	kinds map[schema.GroupVersion]map[string]schema.GroupVersionResource
}

var _ client.Interface = (*Client)(nil)

// New returns a client. It sends nothing yet, so that a server which is not up is no error here.
func New(cfg Config) (*Client, error) {
	base, err := load(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.UserAgent != "" {
		base.UserAgent = cfg.UserAgent
	}
	if base.QPS == 0 && base.RateLimiter == nil {
		base.QPS = -1
	}
	coding, err := newCoding(cfg.Types)
	if err != nil {
		return nil, err
	}
	hc, err := rest.HTTPClientFor(base)
	if err != nil {
		return nil, fmt.Errorf("rest: %w", err)
	}
	return &Client{
		base: base, http: hc, coding: coding,
		byGV:  map[schema.GroupVersion]*rest.RESTClient{},
		kinds: map[schema.GroupVersion]map[string]schema.GroupVersionResource{},
	}, nil
}

func load(cfg Config) (*rest.Config, error) {
	if cfg.REST != nil {
		return rest.CopyConfig(cfg.REST), nil
	}
	if cfg.Kubeconfig == "" {
		base, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("rest: no kubeconfig given, and not in a pod: %w", err)
		}
		return base, nil
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: cfg.Kubeconfig}
	overrides := &clientcmd.ConfigOverrides{CurrentContext: cfg.Context}
	base, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("rest: kubeconfig %s: %w", cfg.Kubeconfig, err)
	}
	return base, nil
}

// Close closes the connections that are idle. Watches end by their contexts.
func (c *Client) Close() error {
	utilnet.CloseIdleConnectionsFor(c.http.Transport)
	return nil
}

// at returns the client for one group and version.
func (c *Client) at(gv schema.GroupVersion) (*rest.RESTClient, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if rc, ok := c.byGV[gv]; ok {
		return rc, nil
	}
	cfg := rest.CopyConfig(c.base)
	cfg.GroupVersion, cfg.APIPath = &gv, "/apis"
	if gv.Group == "" {
		cfg.APIPath = "/api"
	}
	cfg.NegotiatedSerializer = c.coding
	cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	if c.coding.scheme.IsVersionRegistered(gv) {
		cfg.ContentType = runtime.ContentTypeProtobuf
		cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	}
	rc, err := rest.RESTClientForConfigAndClient(cfg, c.http)
	if err != nil {
		return nil, fmt.Errorf("rest: %w", err)
	}
	c.byGV[gv] = rc
	return rc, nil
}

// start begins a request; the RESTClient's methods differ only in the verb.
func (c *Client) start(ref client.Ref, verb func(*rest.RESTClient) *rest.Request, named bool) (*rest.Request, error) {
	if ref.Resource == "" || ref.Version == "" {
		return nil, fmt.Errorf("rest: reference %q names no resource", ref)
	}
	if named && ref.Name == "" {
		return nil, fmt.Errorf("rest: reference %q names no object", ref)
	}
	rc, err := c.at(ref.GroupVersion())
	if err != nil {
		return nil, err
	}
	req := verb(rc).NamespaceIfScoped(ref.Namespace, ref.Namespace != "").Resource(ref.Resource)
	if ref.Name != "" {
		req = req.Name(ref.Name)
	}
	if ref.Subresource != "" {
		req = req.SubResource(ref.Subresource)
	}
	return req, nil
}

// options adds the query parameters of opts.
func (c *Client) options(req *rest.Request, opts runtime.Object) *rest.Request {
	return req.SpecificallyVersionedParams(opts, c.coding.params, metav1.SchemeGroupVersion)
}

// Get is client.Reader.Get.
func (c *Client) Get(ctx context.Context, ref client.Ref, opts metav1.GetOptions) (runtime.Object, error) {
	req, err := c.start(ref, (*rest.RESTClient).Get, true)
	if err != nil {
		return nil, err
	}
	return c.options(req, &opts).Do(ctx).Get()
}

// List is client.Reader.List.
func (c *Client) List(ctx context.Context, ref client.Ref, opts metav1.ListOptions) (*client.List, error) {
	ref.Name = ""
	req, err := c.start(ref, (*rest.RESTClient).Get, false)
	if err != nil {
		return nil, err
	}
	obj, err := c.options(req, &opts).Do(ctx).Get()
	if err != nil {
		return nil, err
	}
	return c.coding.list(obj)
}

// Watch is client.Reader.Watch.
func (c *Client) Watch(ctx context.Context, ref client.Ref, opts metav1.ListOptions) (watch.Interface, error) {
	ref.Name = ""
	opts.Watch = true
	req, err := c.start(ref, (*rest.RESTClient).Get, false)
	if err != nil {
		return nil, err
	}
	return c.options(req, &opts).Watch(ctx)
}

// Create is client.Writer.Create.
func (c *Client) Create(ctx context.Context, ref client.Ref, obj runtime.Object, opts metav1.CreateOptions) (runtime.Object, error) {
	if obj == nil {
		return nil, errors.New("rest: create without an object")
	}
	if ref.Subresource == "" {
		ref.Name = ""
	}
	req, err := c.start(ref, (*rest.RESTClient).Post, false)
	if err != nil {
		return nil, err
	}
	return body(c.options(req, &opts), obj).Do(ctx).Get()
}

// Update is client.Writer.Update.
func (c *Client) Update(ctx context.Context, ref client.Ref, obj runtime.Object, opts metav1.UpdateOptions) (runtime.Object, error) {
	if obj == nil {
		return nil, errors.New("rest: update without an object")
	}
	req, err := c.start(ref, (*rest.RESTClient).Put, true)
	if err != nil {
		return nil, err
	}
	return body(c.options(req, &opts), obj).Do(ctx).Get()
}

// Patch is client.Writer.Patch.
func (c *Client) Patch(ctx context.Context, ref client.Ref, pt types.PatchType, patch []byte, opts metav1.PatchOptions) (runtime.Object, error) {
	req, err := c.start(ref, func(rc *rest.RESTClient) *rest.Request { return rc.Patch(pt) }, true)
	if err != nil {
		return nil, err
	}
	return c.options(req, &opts).Body(patch).Do(ctx).Get()
}

// Delete is client.Writer.Delete.
func (c *Client) Delete(ctx context.Context, ref client.Ref, opts metav1.DeleteOptions) error {
	req, err := c.start(ref, (*rest.RESTClient).Delete, true)
	if err != nil {
		return err
	}
	return req.Body(&opts).Do(ctx).Error()
}

// body adds obj to a request. Unstructured objects travel as JSON whatever the group speaks.
func body(req *rest.Request, obj runtime.Object) *rest.Request {
	req = req.Body(obj)
	if _, ok := obj.(runtime.Unstructured); ok {
		req = req.SetHeader("Content-Type", runtime.ContentTypeJSON)
	}
	return req
}
