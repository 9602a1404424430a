package flowcontrol_test

import (
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/flowcontrol"
	"github.com/inboard/inboard/internal/apitest"
)

func schemas(s *apitest.Server) client.Typed[*flowcontrolv1.FlowSchema] {
	return client.For[*flowcontrolv1.FlowSchema](s.Admin())
}

func levels(s *apitest.Server) client.Typed[*flowcontrolv1.PriorityLevelConfiguration] {
	return client.For[*flowcontrolv1.PriorityLevelConfiguration](s.Admin())
}

// The default objects are there when the server is ready; what an administrator claims stays his, all else is kept.
func TestDefaultsAreKept(t *testing.T) {
	s, c := open(t, flowcontrol.Config{})
	ctx := t.Context()
	all, err := schemas(s).List(ctx, "", metav1.ListOptions{})
	if err != nil || len(all.Items) != 11 {
		t.Fatalf("%v %v", all, err)
	}
	// A suggested object that is his; one that is not; one that is gone; one of an earlier release.
	mine, err := levels(s).Get(ctx, "", "workload-low")
	if err != nil {
		t.Fatal(err)
	}
	mine.Annotations[flowcontrolv1.AutoUpdateAnnotationKey] = "false"
	mine.Spec.Limited.NominalConcurrencyShares = ptr.To[int32](7)
	if _, err := levels(s).Update(ctx, mine); err != nil {
		t.Fatal(err)
	}
	changed, err := levels(s).Get(ctx, "", "workload-high")
	if err != nil {
		t.Fatal(err)
	}
	changed.Spec.Limited.NominalConcurrencyShares = ptr.To[int32](7)
	if _, err := levels(s).Update(ctx, changed); err != nil {
		t.Fatal(err)
	}
	if err := schemas(s).Delete(ctx, "", "probes", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	former := changed.DeepCopy()
	former.ObjectMeta = metav1.ObjectMeta{Name: "former", Annotations: map[string]string{flowcontrolv1.AutoUpdateAnnotationKey: "true"}}
	if _, err := levels(s).Create(ctx, former); err != nil {
		t.Fatal(err)
	}
	if err := c.Bootstrap(ctx, s.Admin()); err != nil {
		t.Fatal(err)
	}
	if mine, err = levels(s).Get(ctx, "", "workload-low"); err != nil || *mine.Spec.Limited.NominalConcurrencyShares != 7 {
		t.Errorf("what an administrator chose is gone: %v %v", mine, err)
	}
	if changed, err = levels(s).Get(ctx, "", "workload-high"); err != nil || *changed.Spec.Limited.NominalConcurrencyShares != 40 {
		t.Errorf("a default object is not kept: %v %v", changed, err)
	}
	if _, err := schemas(s).Get(ctx, "", "probes"); err != nil {
		t.Error(err)
	}
	if _, err := levels(s).Get(ctx, "", "former"); !apierrors.IsNotFound(err) {
		t.Errorf("an object of an earlier release: %v", err)
	}
	// All is as it should be now, so nothing is written any more, once the conditions of the new objects are told.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		before := s.Store.Revision()
		if err := c.Bootstrap(ctx, s.Admin()); err != nil {
			t.Fatal(err)
		}
		if now := s.Store.Revision(); now == before {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("the revision goes on from %d to %d", before, now)
		}
	}
}

// Of a schema whose level is not there it is said so, and it does not count.
func TestDangling(t *testing.T) {
	s, c := open(t, flowcontrol.Config{})
	steer(t, s, nil, "someone")
	condition := func(want flowcontrolv1.ConditionStatus, reason string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			fs, err := schemas(s).Get(t.Context(), "", "narrow")
			if err != nil {
				t.Fatal(err)
			}
			if c := fs.Status.Conditions; len(c) == 1 && c[0].Type == "Dangling" && c[0].Status == want && c[0].Reason == reason {
				return
			} else if time.Now().After(deadline) {
				t.Fatalf("the conditions are %v, want %s", c, want)
			}
		}
	}
	served := func() (out string) {
		before := dispatched(c)
		do(s.API, "someone", "GET", "/api/v1/pods", "")
		for name, n := range dispatched(c) {
			if n > before[name] {
				out += name
			}
		}
		return out
	}
	condition(flowcontrolv1.ConditionFalse, "Found")
	if got := served(); got != "narrow" {
		t.Errorf("the request was one of %q", got)
	}
	level, err := levels(s).Get(t.Context(), "", "narrow")
	if err != nil {
		t.Fatal(err)
	}
	if err := levels(s).Delete(t.Context(), "", "narrow", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := served(); got != "global-default" {
		t.Errorf("the request was one of %q", got)
	}
	condition(flowcontrolv1.ConditionTrue, "NotFound")
	level.ObjectMeta = metav1.ObjectMeta{Name: "narrow"}
	if _, err := levels(s).Create(t.Context(), level); err != nil {
		t.Fatal(err)
	}
	condition(flowcontrolv1.ConditionFalse, "Found")
}

func dispatched(c *flowcontrol.Controller) map[string]int64 {
	out := map[string]int64{}
	for _, f := range c.Stats().Schemas {
		out[f.Schema] += f.Dispatched
	}
	return out
}
