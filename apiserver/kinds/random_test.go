package kinds_test

import (
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
)

// random returns an object with everything in it set at random, depending on seed alone.
func random(k apiserver.Kind, seed int64) client.Object {
	obj := empty(k)
	randfill.NewWithSeed(seed).NilChance(0.4).NumElements(0, 3).MaxDepth(12).Funcs(
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewMilliQuantity(c.Int63()-1<<62, resource.DecimalSI)
		},
		func(v *runtime.RawExtension, c randfill.Continue) { v.Raw = []byte(c.String(8)) },
		func(v *intstr.IntOrString, c randfill.Continue) {
			if *v = intstr.FromInt32(c.Int31()); c.Bool() {
				*v = intstr.FromString(c.String(0))
			}
		},
	).Fill(obj)
	return obj
}

// Whatever clients send, rows answer; and an object that has its defaults gets no others.
func check(t *testing.T, k apiserver.Kind, seed int64) {
	obj, old := random(k, seed), random(k, seed+1)
	setDefaults(k, obj)
	again := obj.DeepCopyObject().(client.Object)
	setDefaults(k, again)
	if !equality.Semantic.DeepEqual(obj, again) {
		t.Errorf("%s, seed %d: the second defaulting changed the object", k.Kind, seed)
	}
	setDefaults(k, old)
	if k.Prepare != nil {
		k.Prepare(obj, nil)
		k.Prepare(again, old)
	}
	if k.Validate != nil {
		k.Validate(obj, nil)
		k.Validate(again, old)
	}
	if k.ValidateStatus != nil {
		k.ValidateStatus(again, old)
	}
	if n := len(k.Row(obj, now)); n != len(k.Columns) {
		t.Errorf("%s: %d cells in %d columns", k.Kind, n, len(k.Columns))
	}
	for _, f := range k.Fields {
		f(obj)
	}
	if k.Scale != nil {
		k.Scale.Get(obj)
		k.Scale.Set(obj, 3)
	}
	if k.GracePeriod != nil && k.GracePeriod(obj) < 0 {
		t.Errorf("%s, seed %d: a negative grace period", k.Kind, seed)
	}
	if k.Held != nil {
		k.Held(obj)
	}
}

func TestRandomObjects(t *testing.T) {
	for _, k := range kinds.All() {
		for seed := range int64(60) {
			check(t, k, seed)
		}
	}
}

func FuzzRows(f *testing.F) {
	all := kinds.All()
	f.Add(int64(1), uint8(0))
	f.Fuzz(func(t *testing.T, seed int64, kind uint8) { check(t, all[int(kind)%len(all)], seed) })
}

// Rows change only what they are given: an update leaves the old object alone.
func TestOldObjectsStay(t *testing.T) {
	for _, k := range kinds.All() {
		for seed := range int64(20) {
			obj, old := random(k, seed), random(k, seed+1)
			before := old.DeepCopyObject()
			update(k, obj, old)
			if k.ValidateStatus != nil {
				k.ValidateStatus(obj, old)
			}
			if !reflect.DeepEqual(before, old) {
				t.Errorf("%s, seed %d: an update changed the old object", k.Kind, seed)
			}
		}
	}
}

// Two servers in one process share nothing: each call makes rows of its own.
func TestRows(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range kinds.All() {
		switch {
		case k.Object == nil || k.List == nil && k.Review == nil || k.Resource == "" || k.Singular == "":
			t.Errorf("%s: the row is not complete", k.Kind)
		case seen[k.ResourceRef().String()]:
			t.Errorf("%s: two rows", k.Kind)
		case len(k.Columns) == 0 || k.Columns[0].Name != "Name" && k.Kind != "Event":
			t.Errorf("%s: the columns do not begin with the name", k.Kind)
		}
		seen[k.ResourceRef().String()] = true
		if errs := create(k, empty(k)); k.Kind == "ConfigMap" && len(errs) > 0 {
			t.Errorf("%s: an empty object: %v", k.Kind, errs)
		}
	}
	if len(seen) != 62 {
		t.Errorf("%d kinds", len(seen))
	}
}
