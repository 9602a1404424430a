package apiserver

import (
	"cmp"
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
)

// groupPriorities put the groups in the order in which kube-apiserver lists them, from its priorities of
// API services. kubectl looks for short names and plain resource names in that order.
var groupPriorities = map[string]int32{
	"": 18000, "apiregistration.k8s.io": 17900, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700,
	"authorization.k8s.io": 17600, "autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300, "networking.k8s.io": 17200,
	"policy": 17100, "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800, "admissionregistration.k8s.io": 16700,
	"apiextensions.k8s.io": 16700, "scheduling.k8s.io": 16600, "coordination.k8s.io": 16500, "node.k8s.io": 16300,
	"discovery.k8s.io": 16200, "resource.k8s.io": 16200, "flowcontrol.apiserver.k8s.io": 16100, "storagemigration.k8s.io": 15800,
}

// order is that in which clients are told of groups, and of versions in a group. Without aggregation, groups of a
// program's own come last.
type order struct {
	aggregated bool
	group      map[string]int32
	version    map[schema.GroupVersion]int32
	remote     map[schema.GroupVersion]*AggregatedVersion
}

func newOrder(also *AggregatedVersions) *order {
	o := &order{group: groupPriorities}
	if also == nil {
		return o
	}
	o.aggregated, o.group = true, map[string]int32{"apiregistration.k8s.io": 20001}
	o.version, o.remote = map[schema.GroupVersion]int32{}, map[schema.GroupVersion]*AggregatedVersion{}
	for i := range also.Versions {
		v := &also.Versions[i]
		o.group[v.Group] = max(o.group[v.Group], v.GroupPriority)
		o.version[v.GroupVersion] = v.VersionPriority
		if v.Remote {
			o.remote[v.GroupVersion] = v
		}
	}
	for name, p := range groupPriorities { // of what has no API service yet
		if _, known := o.group[name]; !known {
			o.group[name] = p
		}
	}
	return o
}

// remotes returns the group versions of other servers.
func (o *order) remotes() []schema.GroupVersion {
	var out []schema.GroupVersion
	for gv := range o.remote {
		out = append(out, gv)
	}
	return out
}

// groups compares groups.
func (o *order) groups(a, b string) int {
	if c := cmp.Compare(o.group[b], o.group[a]); c != 0 || !o.aggregated {
		return c
	}
	return strings.Compare(a, b)
}

// versions compares versions of a group.
func (o *order) versions(a, b schema.GroupVersion) int {
	return cmp.Or(cmp.Compare(o.version[b], o.version[a]), -version.CompareKubeAwareVersionStrings(a.Version, b.Version))
}

// mergedDiscovery is what clients are told of this and of other servers.
type mergedDiscovery struct {
	own  *catalog
	also *AggregatedVersions
	docs *discoveryDocs
}

// aggregatedDiscovery returns the documents of all servers; they are made anew when something changed.
func (s *Server) aggregatedDiscovery(ctx context.Context, own *catalog) (*discoveryDocs, error) {
	also, err := s.cfg.Aggregator.Versions(ctx)
	if err != nil {
		return nil, err
	}
	if m := s.merged.Load(); m != nil && m.own == own && m.also == also {
		return m.docs, nil
	}
	docs, err := newDiscovery(own.table, also)
	if err != nil {
		return nil, err
	}
	s.merged.Store(&mergedDiscovery{own, also, docs})
	return docs, nil
}
