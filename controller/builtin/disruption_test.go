package builtin_test

import (
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller/builtin"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/scheduler"
)

// TestEvictionsFollowTheBudget drains a Deployment of three pods, of which one may be missing, as its replacements
// become ready.
func TestEvictionsFollowTheBudget(t *testing.T) {
	one, two := intstr.FromInt32(1), intstr.FromInt32(2)
	for name, spec := range map[string]policyv1.PodDisruptionBudgetSpec{"minAvailable": {MinAvailable: &two}, "maxUnavailable": {MaxUnavailable: &one}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { drainByBudget(t, spec) })
		})
	}
}

func drainByBudget(t *testing.T, spec policyv1.PodDisruptionBudgetSpec) {
	api := apitest.Open(t)
	c := api.Admin()
	m := &machines{T: t, c: c, nodes: client.For[*corev1.Node](c), leases: client.For[*coordinationv1.Lease](c),
		pods: client.For[*corev1.Pod](c), alive: map[string]bool{}}
	g, err := builtin.New(builtin.Config{Client: api.As("system:kube-controller-manager")})
	m.must(err)
	s, err := scheduler.New(scheduler.Config{Client: api.As("system:kube-scheduler")})
	m.must(err)
	defer m.start(g, s)()
	<-g.Ready()

	m.join("a")
	d := deploymentOf("web", 3, "v1")
	_, err = client.For[*appsv1.Deployment](c).Create(t.Context(), d)
	m.must(err)
	spec.Selector = d.Spec.Selector
	_, err = client.For[*policyv1.PodDisruptionBudget](c).Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: spec})
	m.must(err)
	m.live(10 * time.Second)
	m.want("a", 3, 0, 0)
	first := m.on("a")
	m.must(m.evict(first[0].Name))
	synctest.Wait()
	if err := m.evict(first[1].Name); !apierrors.IsTooManyRequests(err) {
		t.Errorf("before the replacement is ready: %v", err)
	}
	for _, p := range first[1:] {
		m.live(10 * time.Second)
		m.want("a", 3, 0, 0)
		m.must(m.evict(p.Name))
	}
}

func (m *machines) evict(pod string) error {
	ref := m.pods.Ref("default", pod)
	ref.Subresource = "eviction"
	_, err := m.c.Create(m.Context(), ref, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: pod}}, metav1.CreateOptions{})
	return err
}
