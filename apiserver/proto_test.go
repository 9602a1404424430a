package apiserver_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/store"
)

// marshaler is what the types of k8s.io/api have.
type marshaler interface{ Marshal() ([]byte, error) }

// randomObject returns an object with everything in it set at random.
func randomObject(sample client.Object, seed int64) client.Object {
	obj := reflect.New(reflect.TypeOf(sample).Elem()).Interface().(client.Object)
	randfill.NewWithSeed(seed).NilChance(0.5).NumElements(0, 3).MaxDepth(10).Funcs(
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewMilliQuantity(int64(c.Intn(9999)), resource.DecimalSI)
		},
		func(v *runtime.RawExtension, c randfill.Continue) { v.Raw = fmt.Appendf(nil, `{"a":%d}`, c.Intn(3)) },
		func(f *metav1.FieldsV1, c randfill.Continue) { f.SetRawString(`{"f:a":{}}`) },
		func(v *intstr.IntOrString, c randfill.Continue) { *v = intstr.FromInt32(int32(c.Intn(99))) },
	).Fill(obj)
	obj.SetResourceVersion("")
	return obj
}

// What clients get in protobuf is, byte by byte, what encoding the decoded object gives: for every kind, and for the
// last states that DELETED events show.
func TestProtoIsTheSame(t *testing.T) {
	for _, k := range kinds.All() {
		if _, ok := k.Object.(marshaler); !ok || k.Review != nil {
			continue
		}
		c, err := apiserver.NewCoder(k)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range int64(10) {
			value := canonical(t, c, randomObject(k.Object, seed))
			sameLabels(t, c, value, true)
			state := &store.Entry{Key: "k", Value: value, ModRevision: 1 << (6 * seed)}
			for _, at := range []*store.Entry{state, {Key: "k", ModRevision: state.ModRevision + 9}} {
				got, stored, err := c.Proto(state, at)
				if err != nil || !stored {
					t.Fatalf("%s, seed %d: not taken from the stored bytes, error %v", k.GroupVersionKind, seed, err)
				}
				obj, err := c.Object(&store.Entry{Value: value, ModRevision: at.ModRevision})
				if err != nil {
					t.Fatal(err)
				}
				want, err := obj.(marshaler).Marshal()
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%s, seed %d:\n%q, want\n%q, error %v", k.GroupVersionKind, seed, got, want, err)
				}
			}
		}
	}
}

// sameLabels compares the labels that are read in a stored value with those of the decoded object.
func sameLabels(t *testing.T, c apiserver.Coder, value []byte, must bool) {
	lookup, ok := c.Labels(value)
	if !ok {
		if must {
			t.Fatalf("labels are not found in %q", value)
		}
		return
	}
	obj, err := c.Object(&store.Entry{Value: value})
	if err != nil {
		return
	}
	for k, want := range obj.GetLabels() {
		if got, has := lookup(k); !has || got != want {
			t.Fatalf("label %q is %q, there: %v; want %q", k, got, has, want)
		}
		if _, has := lookup(k + "x"); has && obj.GetLabels()[k+"x"] == "" {
			t.Fatalf("a label %q is found, the object has none", k+"x")
		}
	}
}

// canonical returns the storage form of an object as a decoder leaves it, where nil and empty bytes are the same.
func canonical(t *testing.T, c apiserver.Coder, obj client.Object) []byte {
	value, err := c.Value(obj)
	if err != nil {
		t.Fatal(err)
	}
	if obj, err = c.Object(&store.Entry{Value: value}); err != nil {
		t.Fatal(err)
	}
	if value, err = c.Value(obj); err != nil {
		t.Fatal(err)
	}
	return value
}

// FuzzProto sends stored values that others may have written: what is taken from their bytes is what decoding gives.
func FuzzProto(f *testing.F) {
	c, err := apiserver.NewCoder(podKind())
	if err != nil {
		f.Fatal(err)
	}
	for seed := range int64(5) {
		value, err := c.Value(randomObject(&corev1.Pod{}, seed))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value)
	}
	f.Add([]byte(`{"kind":"Pod","metadata":{"name":"p"}}`))
	f.Add([]byte("k8s\x00\x0a\x00\x12\x04\x0a\x02\x32\x00\x1a\x00\x22\x00"))
	f.Fuzz(func(t *testing.T, value []byte) {
		sameLabels(t, c, value, false)
		e := &store.Entry{Key: "k", Value: value, ModRevision: 77}
		got, stored, err := c.Proto(e, e)
		if err != nil || !stored {
			return
		}
		want, err := c.Object(e)
		var pod corev1.Pod
		if e := pod.Unmarshal(got); (e == nil) != (err == nil) {
			t.Fatalf("decoding the value: %v, decoding what clients get: %v", err, e)
		}
		if err == nil {
			pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
			if !equality.Semantic.DeepEqual(&pod, want) {
				t.Fatalf("clients get\n%v, stored is\n%v", &pod, want)
			}
		}
	})
}

func podKind() apiserver.Kind {
	for _, k := range kinds.All() {
		if k.GroupVersionKind == corev1.SchemeGroupVersion.WithKind("Pod") {
			return k
		}
	}
	panic("no pods")
}
