package scheduler

import (
	"iter"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// kindTable holds the objects of one kind. Like everything in a snapshot it is persistent.
type kindTable struct {
	kind reflect.Type
	// version is another one after each change, of all snapshots of the program.
	version uint64
	// all has the objects by namespace and name; groups has them once more, by groupsOf.
	all    table[client.Object]
	groups table[table[client.Object]]
}

// groupsOf names the groups under which objects of a kind are found together: those of a namespace but for the kinds
// that placements look for otherwise. The second one is empty as a rule.
func groupsOf(obj client.Object) [2]string {
	switch x := obj.(type) {
	case *corev1.PersistentVolume:
		return volumeGroups(x)
	case *storagev1.CSIStorageCapacity:
		return [2]string{x.StorageClassName}
	case *storagev1.VolumeAttachment:
		return [2]string{x.Spec.NodeName}
	}
	return [2]string{obj.GetNamespace()}
}

func objectKey(namespace, name string) string { return namespace + "/" + name }

func (s *Snapshot) kind(t reflect.Type) *kindTable {
	for i := range s.kinds {
		if s.kinds[i].kind == t {
			return &s.kinds[i]
		}
	}
	return nil
}

// Object returns an object of a kind that plugins watch, such as
// Object[*corev1.PersistentVolumeClaim](s, "default", "data"); read it only.
func Object[T client.Object](s *Snapshot, namespace, name string) (T, bool) {
	var zero T
	k := s.orEmpty().kind(reflect.TypeFor[T]())
	if k == nil {
		return zero, false
	}
	obj, ok := k.all.get(objectKey(namespace, name))
	if !ok {
		return zero, false
	}
	return obj.(T), true
}

// Objects returns the objects of a kind in a namespace, or all when it is empty, in no order.
func Objects[T client.Object](s *Snapshot, namespace string) iter.Seq[T] {
	return func(yield func(T) bool) {
		k := s.orEmpty().kind(reflect.TypeFor[T]())
		if k == nil {
			return
		}
		in := k.all
		if namespace != "" {
			in, _ = k.groups.get(namespace)
		}
		for _, obj := range in.all() {
			if !yield(obj.(T)) {
				return
			}
		}
	}
}

// SetObject adds an object of a kind that a plugin watches, or replaces the one of its name. The kind is
// the Go type. Nodes, namespaces and pods on nodes have methods of their own.
func (b *Builder) SetObject(obj client.Object) {
	k := b.ownKind(reflect.TypeOf(obj))
	key, groups := objectKey(obj.GetNamespace(), obj.GetName()), groupsOf(obj)
	if old, ok := k.all.get(key); ok {
		if was := groupsOf(old); was != groups {
			k.leave(b.e, was, key)
		}
	}
	k.all.put(b.e, key, obj)
	for i, group := range groups {
		if i > 0 && group == "" {
			continue
		}
		in, _ := k.groups.get(group)
		in.put(b.e, key, obj)
		k.groups.put(b.e, group, in)
	}
}

// RemoveObject removes the object that has obj's kind, namespace and name.
func (b *Builder) RemoveObject(obj client.Object) {
	k := b.ownKind(reflect.TypeOf(obj))
	key := objectKey(obj.GetNamespace(), obj.GetName())
	old, ok := k.all.get(key)
	if !ok {
		return
	}
	k.all.remove(b.e, key)
	k.leave(b.e, groupsOf(old), key)
}

func (k *kindTable) leave(e *edit, groups [2]string, key string) {
	for i, group := range groups {
		if i > 0 && group == "" {
			continue
		}
		in, _ := k.groups.get(group)
		if in.remove(e, key); in.n == 0 {
			k.groups.remove(e, group)
		} else {
			k.groups.put(e, group, in)
		}
	}
}

// ownKind returns a table that may be changed. There are few kinds: their list is copied.
func (b *Builder) ownKind(t reflect.Type) *kindTable {
	if b.kindsOf != b.e {
		b.s.kinds, b.kindsOf = slices.Clone(b.s.kinds), b.e
	}
	k := b.s.kind(t)
	if k == nil {
		b.s.kinds = append(b.s.kinds, kindTable{kind: t})
		k = &b.s.kinds[len(b.s.kinds)-1]
	}
	k.version = versions.Add(1)
	return k
}

// hasAny tells whether there is any object of a kind.
func hasAny[T client.Object](s *Snapshot) bool {
	k := s.kind(reflect.TypeFor[T]())
	return k != nil && k.all.n > 0
}

// hasGroup tells whether any object of a kind is in a group.
func (s *Snapshot) hasGroup(t reflect.Type, group string) bool {
	k := s.orEmpty().kind(t)
	if k == nil {
		return false
	}
	_, ok := k.groups.get(group)
	return ok
}
