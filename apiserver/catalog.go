package apiserver

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/openapi"
)

// KindSource gives a server kinds besides those of its Config, which change while it runs.
type KindSource interface {
	// Refresh brings what the source gives to the server up to date, by Server.SetKinds. The server calls it
	// before each request that is not for one of Config.Kinds, so it must cost little while nothing
	// changes. An error is the answer to the request.
	Refresh(ctx context.Context, s *Server) error
}

// catalog is all that follows from the kinds that a server serves at one time. It does not change: SetKinds puts
// another in its place, and requests go on with the one that they began with.
type catalog struct {
	table     *table
	discovery func() (*discoveryDocs, error)
	docs      *openapi.OpenAPI
	openapi   http.Handler
	// fixed are the rows of Config.Kinds, sources those of each source, by its name.
	fixed   []*row
	sources map[string][]*row
}

// row is one row of the table of kinds, in all its versions; the stored one is the first.
type row struct {
	versions []*resource
	// end is called when the row is not served any more. Nil for those of Config.Kinds.
	end context.CancelFunc
}

func newRow(k Kind) (*row, error) {
	r, err := newResource(k)
	if err != nil {
		return nil, err
	}
	out := &row{versions: []*resource{r}}
	for i := range k.Versions {
		v, err := newVersion(r, &k.Versions[i])
		if err != nil {
			return nil, err
		}
		v.managers = newManagers(&v.Kind, r.family, i+1)
		out.versions = append(out.versions, v)
	}
	r.all = out.versions
	return out, nil
}

// newRows makes rows of kinds, and keeps those that are there already. Only those of a source ever end.
func newRows(kinds []Kind, before []*row, fixed bool) ([]*row, error) {
	out := make([]*row, len(kinds))
	for i, k := range kinds {
		if same := slices.IndexFunc(before, func(r *row) bool { return r.isOf(&k) }); same >= 0 {
			out[i] = before[same]
			continue
		}
		r, err := newRow(k)
		if err != nil {
			return nil, err
		}
		if !fixed {
			ctx, cancel := context.WithCancel(context.Background())
			r.end = cancel
			for _, v := range r.versions {
				v.gone = ctx
			}
		}
		out[i] = r
	}
	joinVersions(out)
	return out, nil
}

// joinVersions makes the rows of a custom resource know each other.
func joinVersions(rows []*row) {
	byResource := map[schema.GroupResource][]*resource{}
	for _, r := range rows {
		if first := r.versions[0]; first.Custom != nil {
			byResource[first.gr] = append(byResource[first.gr], first)
		}
	}
	for _, all := range byResource {
		for _, r := range all {
			if !slices.Equal(r.all, all) {
				r.all = all
			}
		}
	}
}

// isOf tells whether a row was made of a kind: its sample is the very same object.
func (r *row) isOf(k *Kind) bool {
	mine := &r.versions[0].Kind
	return mine.GroupVersionKind == k.GroupVersionKind && reflect.ValueOf(mine.Object).Pointer() == reflect.ValueOf(k.Object).Pointer()
}

// newCatalog makes the catalog of some rows; what it has in common with the one before it shares.
func newCatalog(version string, fixed []*row, sources map[string][]*row, before *catalog) (*catalog, error) {
	rows := fixed
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		rows = append(slices.Clip(rows), sources[name]...)
	}
	t, err := newTable(rows)
	if err != nil {
		return nil, err
	}
	c := &catalog{table: t, fixed: fixed, sources: sources}
	c.discovery = sync.OnceValues(func() (*discoveryDocs, error) { return newDiscovery(t, nil) })
	var docs *openapi.OpenAPI
	if before != nil {
		docs = before.docs
	}
	c.docs = openapi.New(openapi.Config{Version: version, Kinds: describe(t.kinds()), Previous: docs})
	c.openapi = c.docs.Handler()
	return c, nil
}

// SetKinds replaces the kinds that a source gives to the server, by those of Config.Kinds and of other sources; none
// removes them. It is an error, and nothing changes, when a kind or resource would be there twice. A kind whose
// Object is the very same sample as before counts as unchanged. Requests on their way end as they began; watches of
// kinds that were removed or changed end, as in Kubernetes.
func (s *Server) SetKinds(source string, kinds []Kind) error {
	s.setKinds.Lock()
	defer s.setKinds.Unlock()
	was := s.catalog.Load()
	rows, err := newRows(kinds, was.sources[source], false)
	if err != nil {
		return err
	}
	sources := maps.Clone(was.sources)
	if sources == nil {
		sources = map[string][]*row{}
	}
	if sources[source] = rows; len(rows) == 0 {
		delete(sources, source)
	}
	next, err := newCatalog(s.cfg.Version, was.fixed, sources, was)
	if err != nil {
		return fmt.Errorf("%w (source %q)", err, source)
	}
	s.catalog.Store(next)
	for _, r := range was.sources[source] {
		if !slices.Contains(rows, r) {
			r.end()
		}
	}
	return nil
}

// ServesFixed tells whether one of Config.Kinds is of a group and version.
func (s *Server) ServesFixed(group, version string) bool {
	return slices.ContainsFunc(s.base.ordered, func(r *resource) bool { return r.Group == group && r.Version == version })
}

// StoresFixed tells whether one of Config.Kinds is stored where objects of a resource are, in whatever version.
func (s *Server) StoresFixed(gr schema.GroupResource) bool {
	return slices.ContainsFunc(s.base.ordered, func(r *resource) bool { return r.gr == gr })
}

// refreshed returns the catalog after all sources brought their kinds up to date.
func (s *Server) refreshed(ctx context.Context) (*catalog, error) {
	for _, source := range s.cfg.Sources {
		if err := source.Refresh(ctx, s); err != nil {
			return nil, asStatus(err)
		}
	}
	return s.catalog.Load(), nil
}
