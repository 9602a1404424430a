package apiserver_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// asked runs a server with a plugin and returns its client.
func asked(t *testing.T, p apiserver.AdmissionPlugin) client.Interface {
	t.Helper()
	p.Name = "MutatingAdmissionWebhook"
	return newServer(t, func(c *apiserver.Config) { c.Admission = append(c.Admission, p) }).Client(admin)
}

// What admission replaces may be in any version that the resource is served in, and is defaulted anew.
func TestAdmissionReplaces(t *testing.T) {
	c := asked(t, apiserver.AdmissionPlugin{Admit: func(_ context.Context, r *apiserver.AdmissionRequest) error {
		if _, ok := r.Object.(*autoscalingv2.HorizontalPodAutoscaler); !ok {
			return nil
		}
		if got := fmt.Sprint(r.Version(), r.Versions()); !strings.Contains(got, "autoscaling/v1, Kind=Horizontal") {
			t.Error(got)
		}
		kind := autoscalingv1.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler")
		shown, err := r.As(r.Object, kind)
		if err != nil {
			return err
		}
		if _, ok := shown.(*autoscalingv1.HorizontalPodAutoscaler); !ok {
			t.Errorf("%T", shown)
		}
		obj, err := r.Decode([]byte(`{"metadata":{"name":"h","namespace":"default"},"unknown":1,
			"spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"},"maxReplicas":7}}`), kind)
		if err != nil {
			return err
		}
		return r.Replace(obj)
	}})
	h := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "h", Namespace: "default"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 3, ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "x"}}}
	got, err := client.For[*autoscalingv2.HorizontalPodAutoscaler](c).Create(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	if got.Spec.MaxReplicas != 7 || got.Spec.ScaleTargetRef.Name != "d" || *got.Spec.MinReplicas != 1 || len(got.Spec.Metrics) != 1 || got.UID == "" {
		t.Errorf("%+v", got)
	}
}

// A plugin that asks for it is asked once more, after the others, and keeps its values.
func TestAdmissionAsksAgain(t *testing.T) {
	type key struct{}
	var rounds []string
	c := asked(t, apiserver.AdmissionPlugin{Admit: func(_ context.Context, r *apiserver.AdmissionRequest) error {
		p, ok := r.Object.(*corev1.Pod)
		if !ok {
			return nil
		}
		rounds = append(rounds, fmt.Sprintf("%t %v %q %q %q", r.Reinvoked(), r.Value(key{}), p.Name, p.UID, r.Ref.Name))
		r.SetValue(key{}, "kept")
		r.Reinvoke()
		return nil
	}})
	p := plainPod("")
	p.GenerateName = "p-"
	if _, err := client.For[*corev1.Pod](c).Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if want := []string{`false <nil> "" "" ""`, `true kept "" "" ""`}; !slices.Equal(rounds, want) {
		t.Errorf("%q", rounds)
	}
}

// Managed fields that admission breaks are taken back, with a warning.
func TestAdmissionKeepsManagedFields(t *testing.T) {
	broken := false
	c := asked(t, apiserver.AdmissionPlugin{Admit: func(_ context.Context, r *apiserver.AdmissionRequest) error {
		p, ok := r.Object.(*corev1.Pod)
		if !ok {
			return nil
		}
		own := p.DeepCopy()
		own.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "x", Operation: "Nonsense"}}
		broken = true
		return r.Replace(own)
	}})
	got, err := client.For[*corev1.Pod](c).Create(t.Context(), plainPod("p"))
	if err != nil || !broken {
		t.Fatal(err)
	}
	if len(got.ManagedFields) != 1 || got.ManagedFields[0].Operation != metav1.ManagedFieldsOperationUpdate {
		t.Errorf("%+v", got.ManagedFields)
	}
}

// Admission sees an eviction as such, a scale as a Scale, and a patch of a status as the client sent it; what a
// status does not cover stays as it is whatever admission says.
func TestAdmissionOfParts(t *testing.T) {
	var seen []string
	c := asked(t, apiserver.AdmissionPlugin{Admit: func(_ context.Context, r *apiserver.AdmissionRequest) error {
		if r.Ref.Resource != "pods" || r.Operation == apiserver.Create && r.Ref.Subresource == "" {
			return nil
		}
		seen = append(seen, fmt.Sprintf("%s %s %T %T", r.Operation, r.Ref.Subresource, r.Target(), r.Options()))
		if p, ok := r.Object.(*corev1.Pod); ok {
			seen = append(seen, p.Spec.Containers[0].Image+" "+p.Status.Message)
			p.Spec.Containers[0].Image = "changed"
		}
		return nil
	}})
	pods := client.For[*corev1.Pod](c)
	if _, err := pods.Create(t.Context(), plainPod("p")); err != nil {
		t.Fatal(err)
	}
	ref := client.Ref{GroupVersionResource: corev1.SchemeGroupVersion.WithResource("pods"), Namespace: "default", Name: "p", Subresource: "status"}
	patch := []byte(`{"spec":{"containers":[{"name":"c","image":"asked"}]},"status":{"message":"m"}}`)
	obj, err := c.Patch(t.Context(), ref, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if p := obj.(*corev1.Pod); p.Spec.Containers[0].Image != "i" || p.Status.Message != "m" {
		t.Errorf("%+v", p)
	}
	if err := evictNow(t, c, "p"); err != nil {
		t.Fatal(err)
	}
	want := []string{"UPDATE status *v1.Pod *v1.UpdateOptions", "asked m", "CREATE eviction *v1.Eviction *v1.CreateOptions"}
	if !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
}
