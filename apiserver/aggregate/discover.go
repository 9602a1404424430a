package aggregate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	discoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
)

// discovered is what another server said that it serves in a group and version.
type discovered struct {
	version discoveryv2.APIVersionDiscovery
	etag    string
	// fresh tells that it said so when it was last asked.
	fresh bool
}

const acceptDiscovery = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// discover asks an APIService's server what it serves.
func (a *Aggregator) discover(ctx context.Context, e *entry) error {
	ctx, cancel := context.WithTimeout(ctx, discoveryTimeout)
	defer cancel()
	a.mu.Lock()
	old := a.found[e.Name]
	a.mu.Unlock()
	next, err := a.askVersion(ctx, e, old)
	if err != nil {
		next = &discovered{version: discoveryv2.APIVersionDiscovery{Version: e.Spec.Version}}
		if old != nil {
			next.version, next.etag = old.version, old.etag
		}
	}
	next.version.Freshness = discoveryv2.DiscoveryFreshnessStale
	if next.fresh = err == nil; next.fresh {
		next.version.Freshness = discoveryv2.DiscoveryFreshnessCurrent
	}
	a.note(e.Name, old, next)
	return err
}

// note keeps what was found; nil forgets it.
func (a *Aggregator) note(name string, old, next *discovered) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if next == nil {
		delete(a.found, name)
		delete(a.described, name)
	} else {
		a.found[name] = next
	}
	if old == nil || next == nil || old.fresh != next.fresh || !same(&old.version, &next.version) {
		a.news++
	}
}

func same(a, b *discoveryv2.APIVersionDiscovery) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// askVersion asks for the document with everything in it, and where there is none for the older one.
func (a *Aggregator) askVersion(ctx context.Context, e *entry, old *discovered) (*discovered, error) {
	header := http.Header{"Accept": {acceptDiscovery}}
	if old != nil && old.etag != "" {
		header.Set("If-None-Match", old.etag)
	}
	resp, err := a.ask(ctx, e, aggregatorUser, "/apis", header)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode == http.StatusNotModified && old != nil:
		again := *old
		return &again, nil
	case resp.StatusCode == http.StatusServiceUnavailable:
		return nil, fmt.Errorf("the server of %s is not available", e.Name)
	case resp.StatusCode != http.StatusOK || !isAggregated(resp.Header.Get("Content-Type")):
		return a.askOlder(ctx, e)
	}
	var list discoveryv2.APIGroupDiscoveryList
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(&list); err != nil {
		return nil, err
	}
	out := &discovered{version: discoveryv2.APIVersionDiscovery{Version: e.Spec.Version}, etag: resp.Header.Get("ETag")}
	for _, g := range list.Items {
		for _, v := range g.Versions {
			if g.Name == e.Spec.Group && v.Version == e.Spec.Version {
				complete(&v)
				out.version = v
			}
		}
	}
	return out, nil
}

func isAggregated(contentType string) bool {
	params := strings.Split(strings.ReplaceAll(contentType, " ", ""), ";")
	has := map[string]bool{}
	for _, p := range params {
		has[p] = true
	}
	return has["g=apidiscovery.k8s.io"] && has["v=v2"] && has["as=APIGroupDiscoveryList"]
}

// complete gives each resource a kind: older clients can't do without.
func complete(v *discoveryv2.APIVersionDiscovery) {
	for i := range v.Resources {
		r := &v.Resources[i]
		if r.ResponseKind == nil {
			r.ResponseKind = &metav1.GroupVersionKind{}
		}
		for j := range r.Subresources {
			if r.Subresources[j].ResponseKind == nil {
				r.Subresources[j].ResponseKind = &metav1.GroupVersionKind{}
			}
		}
	}
}

// askOlder asks for a group version's own document.
func (a *Aggregator) askOlder(ctx context.Context, e *entry) (*discovered, error) {
	path := "/apis/" + e.Spec.Group + "/" + e.Spec.Version
	resp, err := a.ask(ctx, e, &apiserver.Identity{User: aggregatorUser.User}, path, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("failed to download legacy discovery for %s: %s", path, resp.Status)
	}
	var list metav1.APIResourceList
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(&list); err != nil {
		return nil, err
	}
	return &discovered{version: convert(e.Spec.Group, e.Spec.Version, list.APIResources)}, nil
}

// convert makes the newer form of discovery from the older one.
func convert(group, version string, resources []metav1.APIResource) discoveryv2.APIVersionDiscovery {
	out := discoveryv2.APIVersionDiscovery{Version: version}
	index := map[string]int{}
	resource := func(name string) *discoveryv2.APIResourceDiscovery {
		i, ok := index[name]
		if !ok {
			i = len(out.Resources)
			index[name] = i
			out.Resources = append(out.Resources, discoveryv2.APIResourceDiscovery{Resource: name, ResponseKind: &metav1.GroupVersionKind{}})
		}
		return &out.Resources[i]
	}
	for i := range resources {
		x := &resources[i]
		kind := &metav1.GroupVersionKind{Group: x.Group, Version: x.Version, Kind: x.Kind}
		if x.Group == "" && x.Version == "" {
			kind.Group, kind.Version = group, version
		}
		scope := discoveryv2.ScopeCluster
		if x.Namespaced {
			scope = discoveryv2.ScopeNamespace
		}
		name, sub, isSub := strings.Cut(x.Name, "/")
		r := resource(name)
		if r.Scope == "" {
			r.Scope = scope
		}
		if isSub {
			r.Subresources = append(r.Subresources, discoveryv2.APISubresourceDiscovery{Subresource: sub, ResponseKind: kind, Verbs: x.Verbs})
			continue
		}
		r.ResponseKind, r.Verbs, r.Scope = kind, x.Verbs, scope
		r.SingularResource, r.ShortNames, r.Categories = x.SingularName, x.ShortNames, x.Categories
	}
	return out
}

// Versions returns what clients are told about groups and versions, besides what the server itself serves. It is the
// same pointer as long as nothing changes.
func (a *Aggregator) Versions(ctx context.Context) (*apiserver.AggregatedVersions, error) {
	var out *apiserver.AggregatedVersions
	err := a.follow.Read(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if now := (state{a.view.changes, a.news}); a.merged == nil || a.at != now {
			a.merged, a.at = a.merge(), now
		}
		out = a.merged
	})
	return out, err
}

// merge puts together what is known.
func (a *Aggregator) merge() *apiserver.AggregatedVersions {
	out := &apiserver.AggregatedVersions{}
	for name, e := range a.view.services {
		v := apiserver.AggregatedVersion{GroupPriority: e.Spec.GroupPriorityMinimum, VersionPriority: e.Spec.VersionPriority}
		v.Group, v.Version = e.Spec.Group, e.Spec.Version
		if v.Remote = e.target != nil; v.Remote {
			v.Discovery = discoveryv2.APIVersionDiscovery{Version: v.Version, Freshness: discoveryv2.DiscoveryFreshnessStale}
			if f := a.found[name]; f != nil {
				v.Discovery = f.version
			}
		}
		out.Versions = append(out.Versions, v)
	}
	return out
}
