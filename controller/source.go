package controller

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/replica"
)

// Source is a stream of changes that lead to reconciles, an On, or what a controller waits for at its start: a Reads
// or an Until.
type Source interface {
	bind(g *Group, c *Controller) error
}

// On is the Source of all changes to the objects of one kind, T, such as *corev1.Pod. The objects
// that its functions get are shared and read-only.
type On[T client.Object] struct {
	// Resource is the resource to watch; zero is the one that the client maps T to.
	Resource schema.GroupVersionResource
	// Keys returns what to reconcile when obj changed; nil is the object itself. An update asks
	// for the old and the new state, so that what obj points to no more is reconciled as well.
	Keys func(obj T) []Key
	// Where drops the changes for which it returns false; nil drops none. Before is T's zero
	// value for an object that is new, after for one that is gone.
	Where func(before, after T) bool
}

func (o On[T]) bind(g *Group, c *Controller) error {
	v, err := viewOf[T](g, o.Resource)
	if err != nil {
		return err
	}
	c.waits = append(c.waits, v.slot.ready)
	v.OnChange(func(ch replica.Change[T]) {
		if ch.Kind == replica.Synced {
			return
		}
		defer c.contain("a source's function")
		if o.Where != nil && !o.Where(ch.Old, ch.New) {
			return
		}
		if ch.Kind != replica.Added {
			o.enqueue(c, ch.Old)
		}
		if ch.Kind != replica.Deleted {
			o.enqueue(c, ch.New)
		}
	})
	return nil
}

func (o On[T]) enqueue(c *Controller, obj T) {
	if o.Keys == nil {
		c.Enqueue(KeyOf(obj))
		return
	}
	for _, key := range o.Keys(obj) {
		c.Enqueue(key)
	}
}

// Reads is a Source that never leads to a reconcile: it makes the controller wait at its start for
// the view of a kind that its reconciler reads.
type Reads[T client.Object] struct {
	Resource schema.GroupVersionResource
}

func (r Reads[T]) bind(g *Group, c *Controller) error {
	v, err := viewOf[T](g, r.Resource)
	if err != nil {
		return err
	}
	c.waits = append(c.waits, v.slot.ready)
	return nil
}

// Until is a Source that never leads to a reconcile: it makes the controller wait at its start until the channel is
// closed.
type Until <-chan struct{}

func (u Until) bind(_ *Group, c *Controller) error {
	c.waits = append(c.waits, u)
	return nil
}

// OwnerKeys returns a Keys function for On: the key of the object's controller, when that is of
// the given kind. The version does not matter.
func OwnerKeys[T client.Object](owner schema.GroupKind) func(obj T) []Key {
	return func(obj T) []Key {
		ref := metav1.GetControllerOfNoCopy(obj)
		if ref == nil || ref.Kind != owner.Kind {
			return nil
		}
		if gv, err := schema.ParseGroupVersion(ref.APIVersion); err != nil || gv.Group != owner.Group {
			return nil
		}
		return []Key{{Namespace: obj.GetNamespace(), Name: ref.Name}}
	}
}
