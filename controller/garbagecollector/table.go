package garbagecollector

import (
	"maps"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// view is what is read of a resource: a group's view, or one that comes and goes with its kind.
type view interface {
	Get(namespace, name string) (client.Object, bool)
	List(namespace string) []client.Object
	ByIndex(index, value string) []client.Object
}

// table is what is known at a time. It is not changed once it is stored.
type table struct {
	views  map[schema.GroupVersionResource]view
	byKind map[schema.GroupKind]controller.Resource
	// followed are the kinds whose views come and go; they are in views and byKind as well.
	followed []*followed
}

func newTable() *table {
	return &table{views: map[schema.GroupVersionResource]view{}, byKind: map[schema.GroupKind]controller.Resource{}}
}

// with returns a table that has the views and kinds of more as well.
func (t *table) with(more map[schema.GroupVersionResource]*followed) *table {
	out := &table{views: maps.Clone(t.views), byKind: maps.Clone(t.byKind)}
	for gvr, f := range more {
		out.followed = append(out.followed, f)
		out.views[gvr] = f.view
		out.byKind[f.GroupVersionKind().GroupKind()] = f.Resource
	}
	return out
}
