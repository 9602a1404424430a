package controller_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// podsByName is a Reader that knows some pods.
type podsByName struct {
	client.Reader
	pods map[string]*corev1.Pod
	gets int
}

func (p *podsByName) Get(_ context.Context, ref client.Ref, _ metav1.GetOptions) (runtime.Object, error) {
	p.gets++
	if pod, ok := p.pods[ref.Name]; ok {
		return pod, nil
	}
	return nil, apierrors.NewNotFound(ref.GroupResource(), ref.Name)
}

// TestExpectationsWaitForTheView: what the view shows is settled at once, what it does not show is
// looked up after a second: what is not there will not come, what is there will show.
func TestExpectationsWaitForTheView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e controller.Expectations
		owner := key("set")
		name := func(s string) types.NamespacedName { return types.NamespacedName{Namespace: "default", Name: s} }
		api := &podsByName{pods: map[string]*corev1.Pod{
			"trails": {ObjectMeta: metav1.ObjectMeta{Name: "trails", UID: "1"}},
			"stays":  {ObjectMeta: metav1.ObjectMeta{Name: "stays", UID: "2"}},
		}}
		settled := func() (bool, time.Duration) {
			t.Helper()
			ok, wait, err := e.Settled(t.Context(), api, corev1.SchemeGroupVersion.WithResource("pods"), owner)
			if err != nil {
				t.Fatal(err)
			}
			return ok, wait
		}
		if ok, _ := settled(); !ok {
			t.Error("nothing is expected, yet not settled")
		}
		e.Create(owner, name("trails"))
		e.Create(owner, name("lost"))
		e.Delete(owner, name("stays"), "2")
		if ok, wait := settled(); ok || wait != time.Second || api.gets != 0 {
			t.Errorf("at once: %t, %s, %d lookups", ok, wait, api.gets)
		}
		e.Observe(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "stays", UID: "another"}}, nil) // an earlier pod of the name
		if n := len(e.Pending(owner)); n != 3 {
			t.Errorf("%d are pending, want 3", n)
		}
		time.Sleep(2 * time.Second)
		e.Drop(name("stays"))
		for range 2 { // the order of equals is not fixed
			_, _ = settled()
			e.Drop(name("trails"))
			e.Create(owner, name("trails"))
		}
		time.Sleep(2 * time.Second)
		if ok, wait := settled(); ok || wait == 0 {
			t.Errorf("what exists will show: %t, %s", ok, wait)
		}
		e.Observe(nil, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "trails"}})
		if ok, _ := settled(); !ok || len(e.Pending(owner)) != 0 {
			t.Errorf("still pending: %v", e.Pending(owner))
		}
		e.Delete(owner, name("stays"), "2")
		seen := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "stays", UID: "2"}}
		e.Observe(seen, seen) // not deleted
		if ok, _ := settled(); ok {
			t.Error("a deletion is settled by the sight of the object")
		}
		time.Sleep(2 * time.Second)
		if ok, _ := settled(); !ok {
			t.Error("a deletion that never took place is still expected")
		}
		e.Update(owner, name("stays"), "7")
		seen.ResourceVersion = "7"
		e.Observe(seen, seen)
		if ok, _ := settled(); ok {
			t.Error("an update is settled by the sight of the version it began with")
		}
		seen.ResourceVersion = "8"
		e.Observe(seen, seen)
		if ok, _ := settled(); !ok {
			t.Error("an update is not settled by the sight of another version")
		}
		e.Create(owner, name("x"))
		e.Forget(owner)
		if ok, _ := settled(); !ok {
			t.Error("forgotten, but still expected")
		}
	})
}
