package managed_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"reflect"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/managed"
	"github.com/inboard/inboard/apiserver/kinds"
)

// random returns an object with everything in it set at random. Strings are few, so that items of
// lists and keys of maps are often the same.
func random(sample client.Object, seed int64) client.Object {
	obj := reflect.New(reflect.TypeOf(sample).Elem()).Interface().(client.Object)
	randfill.NewWithSeed(seed).NilChance(0.6).NumElements(0, 3).MaxDepth(14).Funcs(
		func(s *string, c randfill.Continue) { *s = string(rune('a' + c.Intn(24))) },
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewMilliQuantity(int64(c.Intn(4)*500), resource.DecimalSI)
		},
		func(v *intstr.IntOrString, c randfill.Continue) {
			if *v = intstr.FromInt32(int32(c.Intn(3))); c.Bool() {
				*v = intstr.FromString("x")
			}
		},
		func(t *metav1.Time, c randfill.Continue) { *t = metav1.Unix(int64(c.Intn(3)), 0) },
		func(t *metav1.MicroTime, c randfill.Continue) {
			*t = metav1.NewMicroTime(time.Unix(int64(c.Intn(3)), 0))
		},
		func(f *metav1.FieldsV1, c randfill.Continue) { f.SetRawString("{}") },
		func(e *runtime.RawExtension, c randfill.Continue) { e.Raw = fmt.Appendf(nil, `{"a":%d}`, c.Intn(3)) },
	).Fill(obj)
	tame(reflect.ValueOf(obj).Elem(), rand.New(rand.NewSource(seed)))
	obj.SetManagedFields(nil)
	return obj
}

// tame does to strings of named types what random does to strings.
func tame(v reflect.Value, rnd *rand.Rand) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() != reflect.TypeFor[string]() {
			v.SetString(string(rune('a' + rnd.Intn(24))))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			tame(v.Elem(), rnd)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() && !isMarshaler(v.Field(i).Type()) {
				tame(v.Field(i), rnd)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			tame(v.Index(i), rnd)
		}
	}
}

func isMarshaler(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]())
}

// blend takes some parts of src over into dst.
func blend(dst, src reflect.Value, rnd *rand.Rand) {
	switch {
	case rnd.Intn(12) == 0:
		dst.Set(src)
	case isMarshaler(dst.Type()):
	case dst.Kind() == reflect.Struct:
		for i := range dst.NumField() {
			if dst.Field(i).CanSet() {
				blend(dst.Field(i), src.Field(i), rnd)
			}
		}
	case dst.Kind() == reflect.Pointer && !dst.IsNil() && !src.IsNil():
		blend(dst.Elem(), src.Elem(), rnd)
	case dst.Kind() == reflect.Slice && dst.Len() > 0 && src.Len() > 0:
		blend(dst.Index(0), src.Index(0), rnd)
	}
}

func blended(obj, other client.Object, rnd *rand.Rand) client.Object {
	out := obj.DeepCopyObject().(client.Object)
	blend(reflect.ValueOf(out).Elem(), reflect.ValueOf(other.DeepCopyObject()).Elem(), rnd)
	out.SetManagedFields(nil)
	return out
}

func untimed(fields []metav1.ManagedFieldsEntry) map[string]string {
	out := map[string]string{}
	for _, f := range fields {
		out[fmt.Sprint(f.Manager, " ", f.Operation, " ", f.APIVersion, " ", f.FieldsType, " ", f.Subresource)] = f.FieldsV1.GetRawString()
	}
	return out
}

// managers returns those of an object and of its status.
func managers(k apiserver.Kind) []*managed.Manager {
	t := managed.NewType(managed.Kind{GroupVersionKind: k.GroupVersionKind, Object: k.Object, Default: k.Default})
	return []*managed.Manager{managed.NewManager(t, "", "status"), managed.NewManager(t, "status", "spec", "metadata.labels")}
}

type history struct {
	t     *testing.T
	kind  apiserver.Kind
	seed  int64
	quick int
	all   int
}

// step makes live into obj twice, and compares what comes out.
func (h *history) step(m *managed.Manager, live, obj client.Object, name string) client.Object {
	h.t.Helper()
	obj.GetObjectKind().SetGroupVersionKind(h.kind.GroupVersionKind)
	plain := obj.DeepCopyObject().(client.Object)
	if err := m.Plain(live, plain, name); err != nil {
		return nil // lists with items that can't be told apart
	}
	h.all++
	if !m.Quick(live, obj, name) {
		return plain
	}
	h.quick++
	if want, got := untimed(plain.GetManagedFields()), untimed(obj.GetManagedFields()); !reflect.DeepEqual(want, got) {
		h.t.Fatalf("%s, seed %d:\ngot  %v\nwant %v\nof %v\nand %v", h.kind.Kind, h.seed, got, want, untimed(live.GetManagedFields()), live)
	}
	return obj
}

func (h *history) run(steps int) {
	rnd := rand.New(rand.NewSource(h.seed))
	ms := managers(h.kind)
	live := reflect.New(reflect.TypeOf(h.kind.Object).Elem()).Interface().(client.Object)
	live.GetObjectKind().SetGroupVersionKind(h.kind.GroupVersionKind)
	obj := h.step(ms[0], live, random(h.kind.Object, h.seed), "creator")
	for i := 0; obj != nil && i < steps; i++ {
		live = obj
		live.SetUID("x")
		next := blended(live, random(h.kind.Object, h.seed+int64(i)+1), rnd)
		next.SetUID("x")
		obj = h.step(ms[rnd.Intn(2)], live, next, fmt.Sprint("m", rnd.Intn(3)))
	}
}

// The short way keeps the same managed fields as the library, for every kind.
func TestQuickIsPlain(t *testing.T) {
	for _, k := range kinds.All() {
		if err := managers(k)[0].PlanError(); err != nil {
			t.Errorf("%s is left to the library: %v", k.Kind, err)
		}
		quick, all := 0, 0
		for seed := range int64(40) {
			h := history{t: t, kind: k, seed: seed * 1000}
			h.run(5)
			quick, all = quick+h.quick, all+h.all
		}
		t.Logf("%s: %d of %d took the short way", k.Kind, quick, all)
		if quick*5 < all {
			t.Errorf("%s: only %d of %d took the short way", k.Kind, quick, all)
		}
	}
}

func FuzzQuick(f *testing.F) {
	all := kinds.All()
	f.Add(int64(1), uint8(0))
	f.Fuzz(func(t *testing.T, seed int64, kind uint8) {
		h := history{t: t, kind: all[int(kind)%len(all)], seed: seed}
		h.run(4)
	})
}
