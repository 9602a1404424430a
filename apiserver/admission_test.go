package apiserver_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// atOnce runs f a number of times at once, and returns how often it found no error. Other errors than
// those that refused knows fail the test.
func atOnce(t *testing.T, times int, refused func(error) bool, f func(i int) error) int {
	t.Helper()
	var ok atomic.Int64
	var wg sync.WaitGroup
	for i := range times {
		wg.Go(func() {
			switch err := f(i); {
			case err == nil:
				ok.Add(1)
			case !refused(err):
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	return int(ok.Load())
}

func plainPod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}

// Two servers over one store share a quota to the last pod, whoever asks when.
func TestQuotaIsExact(t *testing.T) {
	const limit, asked = 17, 60
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	over := func(c *apiserver.Config) { c.Store = st }
	servers := []*apiserver.Server{newServer(t, over), newServer(t, over)}
	c := servers[0].Client(admin)
	quotas := client.For[*corev1.ResourceQuota](c)
	hard := corev1.ResourceList{"pods": *resource.NewQuantity(limit, resource.DecimalSI)}
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q", Namespace: "default"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	if q, err = quotas.Create(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	q.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: corev1.ResourceList{"pods": resource.MustParse("0")}}
	if _, err := quotas.UpdateStatus(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	made := atOnce(t, asked, apierrors.IsForbidden, func(i int) error {
		_, err := client.For[*corev1.Pod](servers[i%2].Client(admin)).Create(t.Context(), plainPod(fmt.Sprintf("p%d", i)))
		return err
	})
	if made != limit {
		t.Errorf("%d pods were made under a quota of %d", made, limit)
	}
	if q, err = quotas.Get(t.Context(), "default", "q"); err != nil {
		t.Fatal(err)
	}
	if used := q.Status.Used["pods"]; used.Value() != limit {
		t.Errorf("the quota has %s used", used.String())
	}
}

// A budget lets exactly as many pods go as it allows, however many are asked to at once.
func TestEvictionsAreExact(t *testing.T) {
	const allowed, asked = 5, 30
	s := newServer(t)
	c := s.Client(admin)
	pods, budgets := client.For[*corev1.Pod](c), client.For[*policyv1.PodDisruptionBudget](c)
	for i := range asked {
		p, err := pods.Create(t.Context(), plainPod(fmt.Sprintf("p%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		p.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
		if _, err := pods.UpdateStatus(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	pdb := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"},
		Spec: policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}}
	pdb, err := budgets.Create(t.Context(), pdb)
	if err != nil {
		t.Fatal(err)
	}
	if err := evictNow(t, c, "p0"); !apierrors.IsTooManyRequests(err) || !apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause) {
		t.Errorf("a budget that no controller has seen yet: %v", err)
	}
	pdb.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: pdb.Generation, DisruptionsAllowed: allowed, CurrentHealthy: asked, DesiredHealthy: asked - allowed}
	if _, err := budgets.UpdateStatus(t.Context(), pdb); err != nil {
		t.Fatal(err)
	}
	gone := atOnce(t, asked, apierrors.IsTooManyRequests, func(i int) error {
		return evictNow(t, c, fmt.Sprintf("p%d", i))
	})
	if gone != allowed {
		t.Errorf("%d pods were evicted, %d allowed", gone, allowed)
	}
	if pdb, err = budgets.Get(t.Context(), "default", "web"); err != nil {
		t.Fatal(err)
	}
	if len(pdb.Status.DisruptedPods) != allowed || pdb.Status.DisruptionsAllowed != 0 {
		t.Errorf("the budget: %+v", pdb.Status)
	}
}

func evictNow(t *testing.T, c client.Interface, name string) error {
	now := int64(0)
	ref := client.Ref{GroupVersionResource: corev1.SchemeGroupVersion.WithResource("pods"), Namespace: "default", Name: name, Subresource: "eviction"}
	e := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name}, DeleteOptions: &metav1.DeleteOptions{GracePeriodSeconds: &now}}
	_, err := c.Create(t.Context(), ref, e, metav1.CreateOptions{})
	return err
}

// A program's plugins take the place of Kubernetes' by name; others run before the quota.
func TestAdmissionOrder(t *testing.T) {
	var order []string
	note := func(name string) apiserver.AdmissionPlugin {
		told := func(phase string) apiserver.Admission {
			return func(_ context.Context, r *apiserver.AdmissionRequest) error {
				if _, ok := r.Object.(*corev1.Pod); ok {
					order = append(order, name+" "+phase)
				}
				return nil
			}
		}
		return apiserver.AdmissionPlugin{Name: name, Admit: told("admit"), Validate: told("validate")}
	}
	s := newServer(t, func(c *apiserver.Config) {
		c.Admission = []apiserver.AdmissionPlugin{note("Own"), note("PodSecurity"), note("ServiceAccount"), note("ResourceQuota")}
		c.DisableAdmission = []string{"DefaultTolerationSeconds"}
	})
	p, err := client.For[*corev1.Pod](s.Client(admin)).Create(t.Context(), plainPod("p"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ServiceAccount admit", "PodSecurity admit", "Own admit", "ResourceQuota admit",
		"ServiceAccount validate", "PodSecurity validate", "Own validate", "ResourceQuota validate",
	}
	if !slices.Equal(order, want) {
		t.Errorf("%q", order)
	}
	if p.Spec.ServiceAccountName != "" || len(p.Spec.Tolerations) > 0 {
		t.Errorf("plugins that were replaced or disabled ran: %+v", p.Spec)
	}
}

// What is posted to a subresource is admitted, too.
func TestAdmissionOfSubresources(t *testing.T) {
	s := newServer(t, func(c *apiserver.Config) {
		c.Admission = []apiserver.AdmissionPlugin{{Name: "NoBinding", Validate: func(_ context.Context, r *apiserver.AdmissionRequest) error {
			if _, ok := r.Body.(*corev1.Binding); ok && r.Operation == apiserver.Create {
				return fmt.Errorf("%s stays", r.Ref.Name)
			}
			return nil
		}}}
	})
	c := s.Client(admin)
	if _, err := client.For[*corev1.Pod](c).Create(t.Context(), plainPod("p")); err != nil {
		t.Fatal(err)
	}
	ref := client.Ref{GroupVersionResource: corev1.SchemeGroupVersion.WithResource("pods"), Namespace: "default", Name: "p", Subresource: "binding"}
	var binding runtime.Object = &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Target: corev1.ObjectReference{Kind: "Node", Name: "n"}}
	_, err := c.Create(t.Context(), ref, binding, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || err.Error() != `pods "p" is forbidden: p stays` {
		t.Error(err)
	}
}
