package replica

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
)

func keyOf(obj client.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// put shows obj in the view and tells the subscribers.
func (r *Replica[T]) put(obj T) {
	key := keyOf(obj)
	r.mu.Lock()
	old, had := r.objects[key]
	if had {
		r.unindex(key, old)
	}
	r.objects[key] = obj
	space := r.spaces[key.Namespace]
	if space == nil {
		space = map[string]T{}
		r.spaces[key.Namespace] = space
	}
	space[key.Name] = obj
	for name, f := range r.cfg.Indexers {
		for _, value := range f(obj) {
			bucket := r.indices[name][value]
			if bucket == nil {
				bucket = map[types.NamespacedName]T{}
				r.indices[name][value] = bucket
			}
			bucket[key] = obj
		}
	}
	r.mu.Unlock()
	change := Change[T]{Kind: Added, New: obj}
	if had {
		change.Kind, change.Old = Updated, old
	}
	r.tell(change)
}

// remove takes an object out of the view; last is its last state, if that was told.
func (r *Replica[T]) remove(key types.NamespacedName, last T, told bool) {
	r.mu.Lock()
	old, had := r.objects[key]
	if !had {
		r.mu.Unlock()
		return
	}
	r.unindex(key, old)
	delete(r.objects, key)
	if space := r.spaces[key.Namespace]; space != nil {
		if delete(space, key.Name); len(space) == 0 {
			delete(r.spaces, key.Namespace)
		}
	}
	r.mu.Unlock()
	if !told {
		last = old
	}
	r.tell(Change[T]{Kind: Deleted, Old: last})
}

// unindex is called with mu held.
func (r *Replica[T]) unindex(key types.NamespacedName, obj T) {
	for name, f := range r.cfg.Indexers {
		for _, value := range f(obj) {
			if bucket := r.indices[name][value]; bucket != nil {
				if delete(bucket, key); len(bucket) == 0 {
					delete(r.indices[name], value)
				}
			}
		}
	}
}

func (r *Replica[T]) tell(c Change[T]) {
	for _, f := range r.subs {
		f(c)
	}
}
