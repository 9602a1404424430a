package apiserver_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/inboard/inboard/apiserver/client"
)

// applier applies ConfigMaps under the names of several managers.
type applier struct {
	c   client.Interface
	ref client.Ref
}

func (a *applier) apply(t *rapid.T, manager string, data map[string]string, force bool) (*corev1.ConfigMap, error) {
	patch, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": a.ref.Name}, "data": data,
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := a.c.Patch(t.Context(), a.ref, types.ApplyYAMLPatchType, patch, metav1.PatchOptions{FieldManager: manager, Force: &force})
	if err != nil {
		return nil, err
	}
	return out.(*corev1.ConfigMap), nil
}

func (a *applier) must(t *rapid.T, manager string, data map[string]string, force bool) *corev1.ConfigMap {
	out, err := a.apply(t, manager, data, force)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// owned returns the keys of the data that a manager applied.
func owned(t *rapid.T, cm *corev1.ConfigMap, manager string) map[string]bool {
	out := map[string]bool{}
	for _, f := range cm.ManagedFields {
		if f.Manager != manager || f.Operation != metav1.ManagedFieldsOperationApply {
			continue
		}
		var fields map[string]map[string]any
		if err := json.Unmarshal(f.FieldsV1.GetRawBytes(), &fields); err != nil {
			t.Fatal(err)
		}
		for key := range fields["f:data"] {
			if key != "." {
				out[key[2:]] = true
			}
		}
	}
	return out
}

var applied = rapid.MapOfN(rapid.StringMatching(`[a-e]`), rapid.StringMatching(`[0-2]`), 1, 4)

// Applying again changes nothing; who forces owns what it applied, and nobody else does; fields are
// there as long as somebody applies them.
func TestApplyProperties(t *testing.T) {
	c := newServer(t).Client(admin)
	gvr, err := c.ResourceFor(&corev1.ConfigMap{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		a := applier{c: c, ref: client.Ref{GroupVersionResource: gvr, Namespace: "default", Name: fmt.Sprint("a", n)}}
		wants := map[string]map[string]string{} // what each manager applied last
		for range rapid.IntRange(1, 8).Draw(t, "applies") {
			manager := rapid.SampledFrom([]string{"one", "two", "three"}).Draw(t, "manager")
			data, force := applied.Draw(t, "data"), rapid.Bool().Draw(t, "force")
			out, err := a.apply(t, manager, data, force)
			conflicts := conflicts(wants, manager, data)
			if (err != nil) != (conflicts && !force) || err != nil && !apierrors.IsConflict(err) {
				t.Fatalf("%s applies %v to %v, force %v: %v", manager, data, wants, force, err)
			}
			if err != nil {
				continue
			}
			wants[manager] = data
			check(t, out, wants, manager)
			if again := a.must(t, manager, data, force); !reflect.DeepEqual(again, out) {
				t.Fatalf("applied again:\n%v\nbefore:\n%v", again, out)
			}
		}
	})
}

// conflicts tells whether others applied other values.
func conflicts(wants map[string]map[string]string, manager string, data map[string]string) bool {
	for other, theirs := range wants {
		for k, v := range data {
			if w, ok := theirs[k]; other != manager && ok && w != v {
				return true
			}
		}
	}
	return false
}

// check compares an object with what its managers want. Who was forced out no longer owns a field.
func check(t *rapid.T, cm *corev1.ConfigMap, wants map[string]map[string]string, last string) {
	all := map[string]string{}
	for manager, data := range wants {
		for k, v := range data {
			if own, ok := wants[last][k]; ok && own != v {
				delete(data, k)
				continue
			}
			all[k] = v
		}
		want := map[string]bool{}
		for k := range data {
			want[k] = true
		}
		if got := owned(t, cm, manager); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s owns %v, applied %v", manager, got, want)
		}
	}
	if len(all) != len(cm.Data) || len(all) > 0 && !reflect.DeepEqual(all, cm.Data) {
		t.Fatalf("the data is %v, wanted by managers are %v", cm.Data, all)
	}
}

// Managers whose fields have nothing in common never meet a conflict.
func TestDisjointManagers(t *testing.T) {
	c := newServer(t).Client(admin)
	gvr, err := c.ResourceFor(&corev1.ConfigMap{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		a := applier{c: c, ref: client.Ref{GroupVersionResource: gvr, Namespace: "default", Name: fmt.Sprint("d", n)}}
		for range rapid.IntRange(1, 10).Draw(t, "applies") {
			manager := rapid.SampledFrom([]string{"one", "two", "three"}).Draw(t, "manager")
			data := map[string]string{}
			for k, v := range applied.Draw(t, "data") {
				data[manager+k] = v
			}
			out := a.must(t, manager, data, false)
			for k, v := range data {
				if out.Data[k] != v {
					t.Fatalf("%s applied %v, the data is %v", manager, data, out.Data)
				}
			}
		}
	})
}
