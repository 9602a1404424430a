package apiserver_test

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// TestContinueAfterCompaction: a list whose snapshot is gone goes on, by the token that the error brings, after the last
// object that was seen, over what is there now.
func TestContinueAfterCompaction(t *testing.T) {
	s, st := openServer(t)
	maps := client.For[*corev1.ConfigMap](s.Client(admin))
	create := func(name string) *corev1.ConfigMap {
		t.Helper()
		m, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for i := range 9 {
		create(fmt.Sprintf("m%d", i))
	}
	first, err := maps.List(t.Context(), "default", metav1.ListOptions{Limit: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := maps.List(t.Context(), "default", metav1.ListOptions{Limit: 3, Continue: first.Continue}); err != nil {
		t.Fatalf("before the compaction: %v", err)
	}
	// One object before and one after the place where the list goes on.
	create("m0a")
	create("m5a")
	if err := st.Compact(t.Context(), st.Revision()); err != nil {
		t.Fatal(err)
	}
	_, err = maps.List(t.Context(), "default", metav1.ListOptions{Limit: 3, Continue: first.Continue})
	status, ok := err.(apierrors.APIStatus)
	if !ok || !apierrors.IsResourceExpired(err) || status.Status().Continue == "" {
		t.Fatalf("a list whose snapshot is gone: %v; want it expired, with a token", err)
	}
	var names, versions []string
	for token := status.Status().Continue; token != ""; {
		page, err := maps.List(t.Context(), "default", metav1.ListOptions{Limit: 3, Continue: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page.Items {
			names = append(names, m.Name)
		}
		versions = append(versions, page.ResourceVersion)
		token = page.Continue
	}
	if want := []string{"m3", "m4", "m5", "m5a", "m6", "m7", "m8"}; !slices.Equal(names, want) {
		t.Errorf("the rest of the list is %v; want %v", names, want)
	}
	if len(slices.Compact(slices.Clone(versions))) != 1 || versions[0] == first.ResourceVersion {
		t.Errorf("pages at the versions %v, the first one at %s; want all the others at one newer version", versions, first.ResourceVersion)
	}
}
