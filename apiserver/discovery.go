package apiserver

import (
	"cmp"
	"context"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	discoveryv2 "k8s.io/api/apidiscovery/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// discoveryDocs tells clients what is served. It is made once for each table.
type discoveryDocs struct {
	versions []schema.GroupVersion
	docs     map[string]k8sruntime.Object // by path
	// aggregated are the documents of /api and /apis with everything in them.
	aggregated map[string][]byte
	etags      map[string]string
	order      *order
}

const aggregatedMedia = mediaJSON + ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// newDiscovery tells of the resources of a table and, if also is not nil, of what other servers serve.
func newDiscovery(t *table, also *AggregatedVersions) (*discoveryDocs, error) {
	d := &discoveryDocs{docs: map[string]k8sruntime.Object{}, aggregated: map[string][]byte{}, etags: map[string]string{}, order: newOrder(also)}
	byVersion := map[schema.GroupVersion][]*resource{}
	d.versions = d.order.remotes()
	for _, r := range t.ordered {
		gv := r.GroupVersion()
		if d.order.remote[gv] != nil {
			continue // it was put in the place of the server's own
		}
		if byVersion[gv] == nil {
			d.versions = append(d.versions, gv)
		}
		byVersion[gv] = append(byVersion[gv], r)
	}
	groups := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroupList"}, Groups: []metav1.APIGroup{}}
	aggregated := map[string]*discoveryv2.APIGroupDiscoveryList{"/api": {}, "/apis": {}}
	for _, name := range d.groups() {
		versions := d.versionsOf(name)
		root := "/apis"
		if name == "" {
			root = "/api"
			d.docs["/api"] = &metav1.APIVersions{
				TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: versionNames(versions),
				ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{},
			}
		} else {
			g := apiGroup(name, versions)
			groups.Groups = append(groups.Groups, g)
			g.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroup"}
			d.docs["/apis/"+name] = &g
		}
		for _, gv := range versions {
			if d.order.remote[gv] == nil {
				d.docs[strings.Replace(root+"/"+gv.String(), "//", "/", 1)] = resourceList(gv, byVersion[gv])
			}
		}
		list := aggregated[root]
		list.Items = append(list.Items, d.groupDiscovery(name, versions, byVersion))
	}
	d.docs["/apis"] = &groups
	return d, d.aggregate(aggregated)
}

// aggregate encodes the documents with everything in them.
func (d *discoveryDocs) aggregate(lists map[string]*discoveryv2.APIGroupDiscoveryList) error {
	for path, list := range lists {
		list.TypeMeta = metav1.TypeMeta{APIVersion: "apidiscovery.k8s.io/v2", Kind: "APIGroupDiscoveryList"}
		if list.Items == nil {
			list.Items = []discoveryv2.APIGroupDiscovery{}
		}
		b, err := json.Marshal(list)
		if err != nil {
			return err
		}
		d.aggregated[path], d.etags[path] = b, fmt.Sprintf(`"%X"`, sha512.Sum512(b))
	}
	return nil
}

func (d *discoveryDocs) groups() []string {
	var out []string
	for _, gv := range d.versions {
		if !slices.Contains(out, gv.Group) {
			out = append(out, gv.Group)
		}
	}
	slices.SortStableFunc(out, d.order.groups)
	return out
}

// versionsOf returns the versions of a group, the preferred one first.
func (d *discoveryDocs) versionsOf(group string) []schema.GroupVersion {
	var out []schema.GroupVersion
	for _, gv := range d.versions {
		if gv.Group == group {
			out = append(out, gv)
		}
	}
	slices.SortStableFunc(out, d.order.versions)
	return out
}

func versionNames(versions []schema.GroupVersion) []string {
	out := make([]string, len(versions))
	for i, gv := range versions {
		out[i] = gv.Version
	}
	return out
}

func apiGroup(name string, versions []schema.GroupVersion) metav1.APIGroup {
	g := metav1.APIGroup{Name: name}
	for _, gv := range versions {
		g.Versions = append(g.Versions, metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version})
	}
	g.PreferredVersion = g.Versions[0]
	return g
}

// subresource is how discovery tells of a subresource.
type subresource struct {
	name  string
	kind  schema.GroupVersionKind
	verbs []string
}

// subresources returns all of a resource's, in order of name.
func (r *resource) subresources() []subresource {
	update := []string{verbGet, verbPatch, verbUpdate}
	var out []subresource
	if r.Status {
		out = append(out, subresource{"status", r.GroupVersionKind, update})
	}
	if r.Scale != nil {
		out = append(out, subresource{"scale", scaleKind, update})
	}
	if r.gvr == podsResource {
		out = append(out, subresource{"log", r.GroupVersionKind, []string{verbGet}})
	}
	for _, c := range r.connections() {
		out = append(out, subresource{c.name, corev1.SchemeGroupVersion.WithKind(c.kind), c.verbs})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Subresources)) {
		sub := r.Subresources[name]
		s := subresource{name: name, kind: sub.Kind}
		if sub.Create != nil {
			s.verbs = append(s.verbs, verbCreate)
		}
		if sub.Merge != nil {
			s.verbs = append(s.verbs, update...)
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b subresource) int { return cmp.Compare(a.name, b.name) })
	return out
}

func resourceList(gv schema.GroupVersion, resources []*resource) *metav1.APIResourceList {
	l := &metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}, GroupVersion: gv.String(), APIResources: []metav1.APIResource{},
	}
	for _, r := range resources {
		l.APIResources = append(l.APIResources, metav1.APIResource{
			Name: r.Resource, SingularName: r.Singular, Namespaced: r.Namespaced, Kind: r.GroupVersionKind.Kind,
			Verbs: r.verbs(), ShortNames: r.ShortNames, Categories: r.Categories,
		})
		for _, sub := range r.subresources() {
			a := metav1.APIResource{Name: r.Resource + "/" + sub.name, Namespaced: r.Namespaced, Kind: sub.kind.Kind, Verbs: sub.verbs}
			if sub.kind.GroupVersion() != gv {
				a.Group, a.Version = sub.kind.Group, sub.kind.Version
			}
			l.APIResources = append(l.APIResources, a)
		}
	}
	slices.SortFunc(l.APIResources, func(a, b metav1.APIResource) int { return cmp.Compare(a.Name, b.Name) })
	return l
}

func (d *discoveryDocs) groupDiscovery(name string, versions []schema.GroupVersion, byVersion map[schema.GroupVersion][]*resource) discoveryv2.APIGroupDiscovery {
	g := discoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, gv := range versions {
		if remote := d.order.remote[gv]; remote != nil {
			g.Versions = append(g.Versions, remote.Discovery)
			continue
		}
		v := discoveryv2.APIVersionDiscovery{Version: gv.Version, Freshness: discoveryv2.DiscoveryFreshnessCurrent}
		for _, r := range byVersion[gv] {
			v.Resources = append(v.Resources, resourceDiscovery(r))
		}
		slices.SortFunc(v.Resources, func(a, b discoveryv2.APIResourceDiscovery) int { return cmp.Compare(a.Resource, b.Resource) })
		g.Versions = append(g.Versions, v)
	}
	return g
}

func resourceDiscovery(r *resource) discoveryv2.APIResourceDiscovery {
	scope := discoveryv2.ScopeCluster
	if r.Namespaced {
		scope = discoveryv2.ScopeNamespace
	}
	d := discoveryv2.APIResourceDiscovery{
		Resource: r.Resource, SingularResource: r.Singular, Scope: scope, ResponseKind: groupVersionKind(r.GroupVersionKind),
		Verbs: r.verbs(), ShortNames: r.ShortNames, Categories: r.Categories,
	}
	for _, sub := range r.subresources() {
		d.Subresources = append(d.Subresources, discoveryv2.APISubresourceDiscovery{
			Subresource: sub.name, ResponseKind: groupVersionKind(sub.kind), Verbs: sub.verbs,
		})
	}
	return d
}

func groupVersionKind(k schema.GroupVersionKind) *metav1.GroupVersionKind {
	return &metav1.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Kind}
}

// discovery serves /api, /apis and what is below.
// unknownVersion answers for a version that is not served, of a group that is or not.
func (c *call) unknownVersion(path string) {
	group, ok := strings.CutPrefix(path, "/apis/")
	group, _, _ = strings.Cut(group, "/")
	if ok && !c.server.catalog.Load().table.hasGroup(group) {
		c.noPage()
		return
	}
	c.fail(notFoundPath())
}

func (c *call) discovery(path string) {
	d, err := c.server.discovery(c.r.Context())
	if err != nil {
		c.fail(err)
		return
	}
	if b, ok := d.aggregated[path]; ok && wantsAggregated(c.r) {
		c.w.Header().Add("Vary", "Accept")
		c.w.Header().Set("ETag", d.etags[path])
		if strings.Contains(c.r.Header.Get("If-None-Match"), strings.Trim(d.etags[path], `"`)) {
			c.started, c.code = true, http.StatusNotModified
			c.w.WriteHeader(http.StatusNotModified)
			return
		}
		c.write(http.StatusOK, aggregatedMedia, b)
		return
	}
	doc, ok := d.docs[path]
	if !ok {
		c.unknownVersion(path)
		return
	}
	f, err := negotiate(c.r, false, true, anyForm)
	if err != nil {
		c.fail(err)
		return
	}
	b, err := encodeObject(f.media, doc)
	if err != nil {
		c.fail(err)
		return
	}
	c.write(http.StatusOK, f.media, b)
}

// Discovery returns what a GET of /api, /apis or a path below answers in JSON, for who looks for kinds in the same
// process. The error is a NotFound for other paths. What another server serves is told as it last said; when it does
// not say so any more, that is an error.
func (s *Server) Discovery(ctx context.Context, path string) ([]byte, error) {
	d, err := s.discovery(ctx)
	if err != nil {
		return nil, err
	}
	if gv, ok := versionPath(path); ok && d.order.remote[gv] != nil {
		return d.order.remote[gv].resources()
	}
	doc, ok := d.docs[path]
	if !ok {
		return nil, notFoundPath()
	}
	return json.Marshal(doc)
}

// discovery returns the documents about what is served now.
func (s *Server) discovery(ctx context.Context) (*discoveryDocs, error) {
	now, err := s.refreshed(ctx)
	if err != nil {
		return nil, err
	}
	if s.cfg.Aggregator == nil {
		return now.discovery()
	}
	return s.aggregatedDiscovery(ctx, now)
}

// wantsAggregated tells whether a client prefers the one document with everything.
func wantsAggregated(r *http.Request) bool {
	for _, a := range parseAccept(r.Header.Get("Accept")) {
		if a.media != mediaJSON && a.media != "*/*" && a.media != "application/*" {
			continue
		}
		if a.params["as"] == "" {
			return false
		}
		if a.params["as"] == "APIGroupDiscoveryList" && a.params["g"] == "apidiscovery.k8s.io" && a.params["v"] == "v2" {
			return true
		}
	}
	return false
}
