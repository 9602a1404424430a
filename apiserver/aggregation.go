package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	discoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Aggregator makes groups and versions of other servers part of the API. Package aggregate has one.
type Aggregator interface {
	// Proxies tells whether another server answers for a group and version.
	Proxies(ctx context.Context, gv schema.GroupVersion) (bool, error)
	// Proxy passes a request on to it that the user may make.
	Proxy(w http.ResponseWriter, r *http.Request, user *Identity, gv schema.GroupVersion)
	// Versions returns what clients are told about groups and versions; as long as nothing changes, the same
	// pointer.
	Versions(ctx context.Context) (*AggregatedVersions, error)
	// ServeOpenAPI serves /openapi and what is below; own is the handler of what the server itself serves.
	ServeOpenAPI(w http.ResponseWriter, r *http.Request, user *Identity, own http.Handler)
	// Run keeps what the aggregator keeps until ctx ends; Server.Run calls it.
	Run(ctx context.Context, s *Server) error
}

// AggregatedVersions are groups and versions of this and of other servers, read-only and in no order.
type AggregatedVersions struct{ Versions []AggregatedVersion }

// AggregatedVersion is one of AggregatedVersions.
type AggregatedVersion struct {
	schema.GroupVersion
	// GroupPriority puts the group before others of lower priority, VersionPriority the version in its group.
	GroupPriority, VersionPriority int32
	// Remote tells that another server answers for it, and Discovery what that serves.
	Remote    bool
	Discovery discoveryv2.APIVersionDiscovery
}

// resources returns what another server said that it serves, in the older form of discovery.
func (v *AggregatedVersion) resources() ([]byte, error) {
	if v.Discovery.Freshness != discoveryv2.DiscoveryFreshnessCurrent {
		return nil, fmt.Errorf("unable to retrieve the complete list of server APIs: %s: stale GroupVersion discovery: %s", v.GroupVersion, v.GroupVersion)
	}
	list := resourceList(v.GroupVersion, nil)
	for i := range v.Discovery.Resources {
		r := &v.Discovery.Resources[i]
		a := metav1.APIResource{Name: r.Resource, SingularName: r.SingularResource, Namespaced: r.Scope == discoveryv2.ScopeNamespace,
			Verbs: r.Verbs, ShortNames: r.ShortNames, Categories: r.Categories}
		if r.ResponseKind != nil {
			a.Kind = r.ResponseKind.Kind
		}
		list.APIResources = append(list.APIResources, a)
	}
	return json.Marshal(list)
}

// ServedVersion is a group and version that the server itself serves.
type ServedVersion struct {
	schema.GroupVersion
	// Builtin tells that it has kinds of Config.Kinds.
	Builtin bool
}

// GroupVersions returns the groups and versions that the server itself serves now.
func (s *Server) GroupVersions(ctx context.Context) ([]ServedVersion, error) {
	now, err := s.refreshed(ctx)
	if err != nil {
		return nil, err
	}
	builtin := map[schema.GroupVersion]bool{}
	for _, r := range s.base.ordered {
		builtin[r.GroupVersion()] = true
	}
	seen := map[schema.GroupVersion]bool{}
	var out []ServedVersion
	for _, r := range now.table.ordered {
		if gv := r.GroupVersion(); !seen[gv] {
			seen[gv] = true
			out = append(out, ServedVersion{gv, builtin[gv]})
		}
	}
	return out, nil
}

// remote tells whether another server answers for a group and version.
func (s *Server) remote(ctx context.Context, gv schema.GroupVersion) (bool, error) {
	if s.cfg.Aggregator == nil {
		return false, nil
	}
	return s.cfg.Aggregator.Proxies(ctx, gv)
}

// versionPath reads the path of a group version's own document.
func versionPath(path string) (schema.GroupVersion, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) == 2 && parts[0] == "api":
		return schema.GroupVersion{Version: parts[1]}, true
	case len(parts) == 3 && parts[0] == "apis":
		return schema.GroupVersion{Group: parts[1], Version: parts[2]}, true
	}
	return schema.GroupVersion{}, false
}

// aggregated serves a request that is another server's to answer, once it is known that the user may make it.
func (c *call) aggregated(gv schema.GroupVersion) {
	ctx, done := c.stopped()
	defer done()
	c.server.cfg.Aggregator.Proxy(c.handOver(), c.r.WithContext(ctx), c.user, gv)
}

// describeAPI serves what is below /openapi.
func (c *call) describeAPI(own http.Handler) {
	if a := c.server.cfg.Aggregator; a != nil {
		a.ServeOpenAPI(c.handOver(), c.r, c.user, own)
		return
	}
	own.ServeHTTP(c.handOver(), c.r)
}

// aggregatedResource authorizes a request for a resource of another server and passes it on.
func (c *call) aggregatedResource(verb string) {
	rq := &request{user: c.user, verb: verb, ref: c.target.ref, only: c.selectors(verb), warn: noWarnings}
	if err := c.server.authorize(c.r.Context(), rq); err != nil {
		c.fail(err)
		return
	}
	c.initialized() // what it costs is the other server's to count
	c.aggregated(rq.ref.GroupVersion())
}
