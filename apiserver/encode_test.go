package apiserver

import (
	"bytes"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
)

// A list that was put together from its items' messages is what Kubernetes' own serializer reads. The sizes go
// through those where the length of a length changes.
func TestListAsProtobuf(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	maps, err := newResource(Kind{GroupVersionKind: corev1.SchemeGroupVersion.WithKind("ConfigMap"), Resource: "configmaps",
		Object: &corev1.ConfigMap{}, List: &corev1.ConfigMapList{}})
	if err != nil {
		t.Fatal(err)
	}
	serializer := protobuf.NewSerializer(scheme, scheme)
	for _, size := range []int{-1, 0, 1, 90, 100, 110, 126, 127, 128, 129, 16_300, 16_340, 16_370, 16_384, 1 << 21} {
		want := &corev1.ConfigMapList{ListMeta: metav1.ListMeta{ResourceVersion: "7", Continue: "c"}, Items: []corev1.ConfigMap{}}
		var items []found
		for i := range 3 {
			if size < 0 {
				break
			}
			m := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Data: map[string]string{"k": strings.Repeat("x", size+i)}}
			want.Items = append(want.Items, m)
			items = append(items, found{obj: &m})
		}
		head := listHead{metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMapList"}, want.ListMeta}
		list, err := newProtoList(head, items, maps)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := list.writeTo(&b); err != nil {
			t.Fatal(err)
		}
		if b.Len() != list.size() {
			t.Errorf("size %d: %d bytes were told for %d", size, list.size(), b.Len())
		}
		got, _, err := serializer.Decode(b.Bytes(), nil, nil)
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		want.TypeMeta = got.(*corev1.ConfigMapList).TypeMeta
		if !equality.Semantic.DeepEqual(got, want) {
			t.Errorf("size %d: read back differently", size)
		}
	}
}
