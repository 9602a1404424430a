package apiserver_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/store"
)

// patchFrom makes a patch of the document of another object of the same kind: some of its fields, some gone, and now
// and then something that does not belong there.
func patchFrom(rnd *rand.Rand, doc map[string]any) map[string]any {
	out := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(doc)) {
		v := doc[k]
		inner, isMap := v.(map[string]any)
		switch n := rnd.IntN(20); {
		case n < 8:
		case n < 10:
			out[k] = nil
		case n < 16 && isMap:
			out[k] = patchFrom(rnd, inner)
		case n == 19 && rnd.IntN(8) == 0:
			out[k] = []any{"not", 1.5, "right"}
		default:
			out[k] = v
		}
	}
	if rnd.IntN(40) == 0 {
		out[pick(rnd, "unknown", "Spec", "$patch", "$retainKeys")] = pick(rnd, "replace", "x")
	}
	return out
}

func document(t *testing.T, obj client.Object) map[string]any {
	b, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// A patch that is applied to the fields that it names makes what it makes of the whole object, for every kind.
func TestPatchedPartIsPlain(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	short, tried := 0, 0
	for _, k := range kinds.All() {
		if k.Review != nil {
			continue
		}
		c, err := apiserver.NewCoder(k)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range int64(12) {
			old, err := c.Object(&store.Entry{Value: canonical(t, c, randomObject(k.Object, seed)), ModRevision: 7})
			if err != nil {
				t.Fatal(err)
			}
			doc := document(t, randomObject(k.Object, seed+100))
			delete(doc, "kind")
			delete(doc, "apiVersion")
			patch, err := json.Marshal(patchFrom(rnd, doc))
			if err != nil {
				t.Fatal(err)
			}
			tried++
			if samePatched(t, c, old, patch) {
				short++
			}
		}
	}
	if short < tried/2 {
		t.Errorf("%d of %d patches went the short way", short, tried)
	}
}

// samePatched patches both ways and tells whether there was a short one.
func samePatched(t *testing.T, c apiserver.Coder, old client.Object, patch []byte) (anyShort bool) {
	before := old.DeepCopyObject()
	for _, pt := range []types.PatchType{types.MergePatchType, types.StrategicMergePatchType} {
		short, part, whole, err := c.Patch(old, pt, patch, metav1.FieldValidationStrict)
		if !equality.Semantic.DeepEqual(old, before) {
			t.Fatalf("the patch %s changed what it was applied to", patch)
		}
		if !short {
			continue
		}
		anyShort = true
		if err != nil {
			t.Fatalf("the patch %s of type %s was applied to a part; to the whole: %v", patch, pt, err)
		}
		if !equality.Semantic.DeepEqual(part, whole) {
			t.Fatalf("the patch %s of type %s makes\n%v\nof the whole object\n%v", patch, pt, part, whole)
		}
		if a, b := document(t, part.(client.Object)), document(t, whole.(client.Object)); !reflect.DeepEqual(a, b) {
			t.Fatalf("the patch %s of type %s makes\n%v\nof the whole object\n%v", patch, pt, a, b)
		}
	}
	return anyShort
}

// FuzzPatchPart sends any text as a patch of a pod.
func FuzzPatchPart(f *testing.F) {
	c, err := apiserver.NewCoder(podKind())
	if err != nil {
		f.Fatal(err)
	}
	for _, patch := range []string{
		`{"metadata":{"annotations":{"x":"1"}}}`, `{"metadata":{"labels":null,"finalizers":["a"]},"spec":{"nodeName":"n"}}`,
		`{"spec":{"containers":[{"name":"c","$patch":"delete"}],"$setElementOrder/containers":[{"name":"x"}]}}`,
		`{"metadata":{"annotations":{"x":1}}}`, `{"status":null,"metadata":{}}`, `{"metadata":[]}`, `{"spec":{"priority":1e3}}`,
	} {
		f.Add(patch, int64(3))
	}
	f.Fuzz(func(t *testing.T, patch string, seed int64) {
		old, err := c.Object(&store.Entry{Value: canonical(t, c, randomObject(testPod("p"), seed)), ModRevision: 7})
		if err != nil {
			t.Fatal(err)
		}
		samePatched(t, c, old, []byte(patch))
	})
}
