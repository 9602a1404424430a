package garbagecollector_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// TestWhatCustomObjectsOwnGoes has a custom object own what an operator would make for it. The kind is defined after
// the collector began.
func TestWhatCustomObjectsOwnGoes(t *testing.T) {
	each(t, func(w *world) {
		w.define()
		foo := w.add(foos, "Foo", "x", nil)
		w.add(deployments, "Deployment", "web", nil, foo)
		inner := w.add(foos, "Foo", "inner", nil, foo)
		w.add(configMaps, "ConfigMap", "settings", nil, inner)
		w.settle("marker")
		w.stays(deployments, "web", "x")
		w.stays(configMaps, "settings", "inner")
		w.delete(foos, "x", metav1.DeletePropagationBackground)
		w.gone(deployments, "web")
		w.gone(foos, "inner")
		w.gone(configMaps, "settings")
	})
}

func TestWhatCustomObjectsLetGoStays(t *testing.T) {
	each(t, func(w *world) {
		w.define()
		foo := w.add(foos, "Foo", "x", nil)
		w.add(deployments, "Deployment", "web", nil, foo)
		w.add(foos, "Foo", "inner", nil, foo)
		w.delete(foos, "x", metav1.DeletePropagationOrphan)
		w.gone(foos, "x")
		w.settle("marker")
		w.stays(deployments, "web")
		w.stays(foos, "inner")
	})
}

// TestOrphansOfNewKinds lets a dependent go whose kind is so new that nobody told the collector of it.
func TestOrphansOfNewKinds(t *testing.T) {
	each(t, func(w *world) {
		owner := w.add(configMaps, "ConfigMap", "owner", nil)
		w.define()
		w.add(foos, "Foo", "x", nil, owner)
		w.delete(configMaps, "owner", metav1.DeletePropagationOrphan)
		w.gone(configMaps, "owner")
		w.settle("marker")
		w.stays(foos, "x")
	})
}

func TestCustomObjectsGoWithBuiltinOwners(t *testing.T) {
	each(t, func(w *world) {
		owner := w.add(configMaps, "ConfigMap", "owner", nil)
		w.define()
		w.add(foos, "Foo", "x", nil, owner)
		w.delete(configMaps, "owner", metav1.DeletePropagationBackground)
		w.gone(foos, "x")
	})
}

func TestCustomOwnersGoLastInTheForeground(t *testing.T) {
	each(t, func(w *world) {
		w.define()
		foo := w.add(foos, "Foo", "x", nil)
		w.add(foos, "Foo", "held", []string{"example.com/hold"}, foo)
		w.add(configMaps, "ConfigMap", "settings", nil, foo)
		w.settle("marker") // its views have what was made before
		w.delete(foos, "x", metav1.DeletePropagationForeground)
		w.gone(configMaps, "settings")
		w.until("the dependent is being deleted", func() bool {
			o, there := w.get(foos, "held")
			return there && o.GetDeletionTimestamp() != nil
		})
		if o, there := w.get(foos, "x"); !there || o.GetDeletionTimestamp() == nil {
			t.Fatal("the owner went before its dependent")
		}
		_, err := w.c.Patch(w.Context(), ref(foos, "held"), types.MergePatchType, []byte(`{"metadata":{"finalizers":[]}}`), metav1.PatchOptions{})
		w.must(err)
		w.gone(foos, "held")
		w.gone(foos, "x")
	})
}

// TestWhatIsOwnedGoesWithTheDefinition deletes the kind itself: all its objects go with it, and what they own.
func TestWhatIsOwnedGoesWithTheDefinition(t *testing.T) {
	each(t, func(w *world) {
		for range 3 { // a kind may come again
			w.define()
			foo := w.add(foos, "Foo", "x", nil)
			w.add(configMaps, "ConfigMap", "settings", nil, foo)
			w.settle("marker")
			w.must(w.c.Delete(w.Context(), client.Ref{GroupVersionResource: crds, Name: "foos.example.com"}, metav1.DeleteOptions{}))
			w.until("the definition is gone", func() bool {
				list, err := w.c.List(w.Context(), client.Ref{GroupVersionResource: crds}, metav1.ListOptions{})
				w.must(err)
				return len(list.Items) == 0
			})
			w.gone(configMaps, "settings")
		}
	})
}

// TestKindsThatAreDefinedLater: an owner of an unknown kind keeps; once the kind is known, one that does not exist
// does not.
func TestKindsThatAreDefinedLater(t *testing.T) {
	each(t, func(w *world) {
		w.add(configMaps, "ConfigMap", "settings", nil,
			metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Foo", Name: "x", UID: "never-was"})
		w.settle("marker")
		w.stays(configMaps, "settings", "x")
		w.define()
		w.gone(configMaps, "settings")
	})
}

// TestUnservedKinds stops serving a kind whose objects stay stored: what they own stays, too.
func TestUnservedKinds(t *testing.T) {
	each(t, func(w *world) {
		w.define()
		foo := w.add(foos, "Foo", "x", nil)
		w.add(configMaps, "ConfigMap", "settings", nil, foo)
		w.settle("marker")
		serve := func(patch string) {
			t.Helper()
			_, err := w.c.Patch(w.Context(), client.Ref{GroupVersionResource: crds, Name: "foos.example.com"}, types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
			w.must(err)
		}
		serve(`[{"op": "replace", "path": "/spec/versions/0/served", "value": false}]`)
		w.add(configMaps, "ConfigMap", "more", nil, foo)
		w.settle("marker-2")
		time.Sleep(400 * time.Millisecond) // two resyncs; what is wrong here could only go unseen
		w.add(configMaps, "ConfigMap", "most", nil, foo)
		w.settle("marker-3")
		for _, name := range []string{"settings", "more", "most"} {
			w.stays(configMaps, name, "x")
		}
		serve(`[{"op": "replace", "path": "/spec/versions/0/served", "value": true}]`)
		w.until("the kind is served again", func() bool { _, there := w.get(foos, "x"); return there })
		w.delete(foos, "x", metav1.DeletePropagationBackground)
		for _, name := range []string{"settings", "more", "most"} {
			w.gone(configMaps, name)
		}
	})
}

// TestUnavailableGroups: neither kinds that can't be discovered nor those that can't be listed keep the others from
// being collected, and what was known of a group stays known while its server is away.
func TestUnavailableGroups(t *testing.T) {
	w := newWorld(t)
	w.define()
	var away atomic.Int32
	discover := func(ctx context.Context) ([]controller.Resource, error) {
		get := func(ctx context.Context, path string) ([]byte, error) {
			switch {
			case path == "/apis" && away.Load() == 2:
				return nil, errors.New("nobody answers")
			case path == "/apis/example.com/v1" && away.Load() == 1:
				return nil, errors.New("the group's server does not answer")
			}
			return w.api.API.Discovery(ctx, path)
		}
		found, err := controller.Discover(get)(ctx)
		unlistable := schema.GroupVersionResource{Group: "metrics.example.com", Version: "v1", Resource: "samples"}
		return append(found, controller.Resource{GroupVersionResource: unlistable, Kind: "Sample", Namespaced: true}), err
	}
	w.collect(w.c, discover)
	for i := range int32(3) {
		away.Store(i)
		time.Sleep(500 * time.Millisecond) // looks with this state; what is wrong could only go unseen
		foo := w.add(foos, "Foo", "x", nil)
		w.add(configMaps, "ConfigMap", "settings", nil, foo)
		w.settle("marker")
		w.delete(foos, "x", metav1.DeletePropagationBackground)
		w.gone(configMaps, "settings")
	}
	away.Store(0)
	w.add(configMaps, "ConfigMap", "kept", nil, metav1.OwnerReference{APIVersion: "metrics.example.com/v1", Kind: "Sample", Name: "s", UID: "s"})
	w.settle("marker")
	w.stays(configMaps, "kept", "s")
	if _, err := client.For[*corev1.ConfigMap](w.c).Get(t.Context(), "default", "kept"); err != nil {
		t.Error(err)
	}
}
