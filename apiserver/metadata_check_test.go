package apiserver

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pick returns one of the values, the first, which is a right one, most of the time.
func pick[T any](r *rand.Rand, right T, others ...T) T {
	if r.IntN(8) > 0 {
		return right
	}
	return others[r.IntN(len(others))]
}

var (
	tooLong = strings.Repeat("b", 300<<10)
	long    = tooLong[:300]
)

func someMetadata(r *rand.Rand) metav1.ObjectMeta {
	at, seconds := metav1.Unix(1, 0), int64(1)
	return metav1.ObjectMeta{
		Name:                       pick(r, "web", "", "Web", "a/b", "..", long),
		GenerateName:               pick(r, "", "web-", "W"),
		Namespace:                  pick(r, "default", "", "a.b", "-", long),
		UID:                        pick(r, types.UID("1"), "2", ""),
		ResourceVersion:            pick(r, "7", ""),
		Generation:                 pick(r, int64(3), 2, -1),
		CreationTimestamp:          pick(r, metav1.Unix(5, 0), metav1.Time{}, metav1.NewTime(time.Unix(5, 0).UTC())),
		DeletionTimestamp:          pick(r, nil, &at),
		DeletionGracePeriodSeconds: pick(r, nil, &seconds),
		Labels:                     pick(r, map[string]string{"app": "web"}, nil, map[string]string{"a b": ""}, map[string]string{"a": "-"}, map[string]string{"x.y/z": ""}),
		Annotations: pick(r, map[string]string{"Example.com/A": "\x00"}, nil, map[string]string{"a//b": ""},
			map[string]string{"a": tooLong[:65<<10]}, map[string]string{"a": tooLong}),
		OwnerReferences: pick(r, nil, []metav1.OwnerReference{{Kind: "x"}}),
		Finalizers:      pick(r, nil, []string{"a/b"}, []string{"a b"}),
		ManagedFields: pick(r, []metav1.ManagedFieldsEntry{{Operation: "Update", Manager: "me", FieldsType: "FieldsV1"}}, nil,
			[]metav1.ManagedFieldsEntry{{Operation: "Apply", Manager: "\u00e9"}}, []metav1.ManagedFieldsEntry{{Operation: "update"}},
			[]metav1.ManagedFieldsEntry{{Operation: "Update", Manager: "a\n"}}, []metav1.ManagedFieldsEntry{{Operation: "Update", FieldsType: "v2"}},
			[]metav1.ManagedFieldsEntry{{Operation: "Update", Subresource: long}}, []metav1.ManagedFieldsEntry{{Operation: "Update", Manager: long}}),
	}
}

// TestPlainMetadata holds the scan of metadata equal to apimachinery's checks.
func TestPlainMetadata(t *testing.T) {
	names := map[string]validation.ValidateNameFunc{"subdomain": nameIsDNSSubdomain, "path": pathSegment}
	library := maps.Clone(names)
	library["subdomain"] = validation.NameIsDNSSubdomain
	r, right := rand.New(rand.NewPCG(1, 2)), 0
	for range 20_000 {
		obj, old := &corev1.Pod{ObjectMeta: someMetadata(r)}, &corev1.Pod{ObjectMeta: someMetadata(r)}
		namespaced, rule := r.IntN(4) > 0, pick(r, "subdomain", "path")
		got := checkMetadata(obj, namespaced, names[rule])
		want := validation.ValidateObjectMetaAccessor(obj, namespaced, library[rule], metadataPath)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%+v:\ngot  %v\nwant %v", obj.ObjectMeta, got, want)
		}
		update := checkMetadataUpdate(obj, old, namespaced)
		wantUpdate := validation.ValidateObjectMetaAccessorUpdate(obj, old, metadataPath)
		if len(wantUpdate) > 0 || len(update) > 0 {
			if got, want := fmt.Sprint(slices.Sorted(texts(update))), fmt.Sprint(slices.Sorted(texts(wantUpdate))); got != want {
				t.Fatalf("%+v to %+v:\ngot  %v\nwant %v", old.ObjectMeta, obj.ObjectMeta, got, want)
			}
		}
		if len(want) == 0 && len(wantUpdate) == 0 {
			right++
		}
	}
	if right < 200 {
		t.Errorf("%d of the objects were right, which is too few to tell", right)
	}
}

func texts[E error](errs []E) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, err := range errs {
			if !yield(err.Error()) {
				return
			}
		}
	}
}
