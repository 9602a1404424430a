package builtin_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/replica"
	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/controller"
	"github.com/inboard/inboard/controller/builtin"
	"github.com/inboard/inboard/internal/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an API server in memory, the controllers, and a kubelet of a few lines.
type world struct {
	testing.TB
	ctx context.Context
	c   client.Interface // the user's
}

// newWorld starts everything; wrap, when not nil, changes the client that the controllers get.
func newWorld(t testing.TB, wrap func(client.Interface) client.Interface) *world {
	t.Helper()
	return newWorldOver(t, func(api *apitest.Server) client.Interface {
		if wrap != nil {
			return wrap(api.Admin())
		}
		return api.Admin()
	})
}

// newWorldOver starts everything; over makes the client that the controllers get.
func newWorldOver(t testing.TB, over func(*apitest.Server) client.Interface) *world {
	t.Helper()
	api := apitest.Open(t)
	w := &world{TB: t, ctx: t.Context(), c: api.Admin()}
	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}
	g, err := builtin.New(builtin.Config{Client: over(api), RootCA: ca.CertificatePEM()})
	if err != nil {
		t.Fatal(err)
	}
	w.run(g)
	w.run(newKubelet(t, w.c))
	return w
}

// run runs a group until the test ends.
func (w *world) run(g *controller.Group) {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	w.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("Run: %v", err)
		}
	})
	select {
	case <-g.Ready():
	case <-time.After(20 * time.Second):
		w.Fatal("the controllers are not ready")
	}
}

// newKubelet makes pods run and be ready at once, and lets deleted ones go.
func newKubelet(t testing.TB, c client.Interface) *controller.Group {
	t.Helper()
	g, err := controller.NewGroup(controller.GroupConfig{Client: c})
	if err != nil {
		t.Fatal(err)
	}
	pods, err := controller.ViewOf[*corev1.Pod](g)
	if err != nil {
		t.Fatal(err)
	}
	typed := client.For[*corev1.Pod](c)
	_, err = g.Add(controller.Config{
		Name:    "kubelet",
		Sources: []controller.Source{controller.On[*corev1.Pod]{}},
		Reconciler: controller.Func(func(ctx context.Context, key controller.Key) (controller.Result, error) {
			p, ok := pods.Get(key.Namespace, key.Name)
			if !ok {
				return controller.Result{}, nil
			}
			if p.DeletionTimestamp != nil {
				now := int64(0)
				err := typed.Delete(ctx, p.Namespace, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
				if apierrors.IsNotFound(err) {
					err = nil
				}
				return controller.Result{}, err
			}
			if p.Spec.NodeName == "" {
				b := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: "node"}}
				ref := typed.Ref(p.Namespace, p.Name)
				ref.Subresource = "binding"
				_, err := c.Create(ctx, ref, b, metav1.CreateOptions{})
				return controller.Result{}, err
			}
			if p.Status.Phase == corev1.PodRunning || strings.Contains(p.Spec.Containers[0].Image, "broken") {
				return controller.Result{}, nil
			}
			p = p.DeepCopy()
			p.Status.Phase = corev1.PodRunning
			p.Status.PodIP = fmt.Sprintf("10.0.%d.%d", len(pods.List(""))%250, time.Now().UnixNano()%250+1)
			p.Status.PodIPs = []corev1.PodIP{{IP: p.Status.PodIP}}
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
			_, err := typed.UpdateStatus(ctx, p)
			if apierrors.IsNotFound(err) {
				err = nil
			}
			return controller.Result{}, err
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (w *world) namespace(name string) {
	w.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := client.For[*corev1.Namespace](w.c).Create(w.ctx, ns); err != nil && !apierrors.IsAlreadyExists(err) {
		w.Fatal(err)
	}
}

func list[T client.Object](w *world, namespace string) []T {
	w.Helper()
	l, err := client.For[T](w.c).List(w.ctx, namespace, metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return l.Items
}

// eventually waits for changes of T until ok says so.
func eventually[T client.Object](w *world, what string, ok func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	r, err := replica.New(replica.Config[T]{Client: w.c})
	if err != nil {
		w.Fatal(err)
	}
	kick := make(chan struct{}, 1)
	r.Subscribe(func(replica.Change[T]) {
		select {
		case kick <- struct{}{}:
		default:
		}
	})
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for !ok() {
		select {
		case <-kick:
		case <-ctx.Done():
			w.Fatalf("never: %s\n%s", what, w.dump())
		}
	}
}

func (w *world) dump() string {
	var b strings.Builder
	for _, d := range list[*appsv1.Deployment](w, "") {
		fmt.Fprintf(&b, "deployment %s %+v\n", d.Name, d.Status)
	}
	for _, rs := range list[*appsv1.ReplicaSet](w, "") {
		fmt.Fprintf(&b, "replicaset %s spec %d status %+v\n", rs.Name, *rs.Spec.Replicas, rs.Status)
	}
	for _, p := range list[*corev1.Pod](w, "") {
		fmt.Fprintf(&b, "pod %s %s %v %v\n", p.Name, p.Status.Phase, p.DeletionTimestamp, p.OwnerReferences)
	}
	return b.String()
}

func deploymentOf(name string, replicas int32, image string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}},
			},
		},
	}
}

// rolling returns bounds of a rolling update.
func rolling(surge, unavailable int32) *appsv1.RollingUpdateDeployment {
	s, u := intstr.FromInt32(surge), intstr.FromInt32(unavailable)
	return &appsv1.RollingUpdateDeployment{MaxSurge: &s, MaxUnavailable: &u}
}

func (w *world) create(objs ...client.Object) {
	w.Helper()
	for _, o := range objs {
		gvr, err := w.c.ResourceFor(o)
		if err != nil {
			w.Fatal(err)
		}
		if _, err := w.c.Create(w.ctx, client.Ref{GroupVersionResource: gvr, Namespace: o.GetNamespace()}, o, metav1.CreateOptions{}); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) patch(name, patch string) {
	w.Helper()
	if _, err := client.For[*appsv1.Deployment](w.c).Patch(w.ctx, "default", name, types.StrategicMergePatchType, []byte(patch), ""); err != nil {
		w.Fatal(err)
	}
}

// complete waits until the deployment is rolled out with n pods.
func (w *world) complete(name string, n int32) *appsv1.Deployment {
	w.Helper()
	var last *appsv1.Deployment
	eventually[*appsv1.Deployment](w, fmt.Sprintf("%s complete with %d", name, n), func() bool {
		d, err := client.For[*appsv1.Deployment](w.c).Get(w.ctx, "default", name)
		if err != nil {
			w.Fatal(err)
		}
		last = d
		s := d.Status
		return s.ObservedGeneration >= d.Generation && s.Replicas == n && s.UpdatedReplicas == n &&
			s.AvailableReplicas == n && s.UnavailableReplicas == 0
	})
	return last
}

func TestDeploymentLife(t *testing.T) { newWorld(t, nil).deploymentLife() }

// TestDeploymentLifeOverHTTPS is the same with controllers in another process, as it were.
func TestDeploymentLifeOverHTTPS(t *testing.T) { newWorldOver(t, overHTTPS(t)).deploymentLife() }

func (w *world) deploymentLife() {
	w.Helper()
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}},
	}
	w.create(deploymentOf("web", 3, "v1"), svc)
	w.complete("web", 3)
	w.endpoints(3)
	w.patch("web", `{"spec":{"replicas":5}}`)
	w.complete("web", 5)
	w.endpoints(5)
	w.patch("web", `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"v2"}]}}}}`)
	d := w.complete("web", 5)
	if got := d.Annotations["deployment.kubernetes.io/revision"]; got != "2" {
		w.Errorf("revision %q", got)
	}
	w.endpoints(5)
	w.delete(d, metav1.DeletePropagationBackground)
	eventually[*corev1.Pod](w, "all pods gone", func() bool { return len(list[*corev1.Pod](w, "default")) == 0 })
	eventually[*appsv1.ReplicaSet](w, "all sets gone", func() bool { return len(list[*appsv1.ReplicaSet](w, "default")) == 0 })
	w.endpoints(0)
	w.delete(svc, metav1.DeletePropagationBackground)
	eventually[*discoveryv1.EndpointSlice](w, "all slices gone", func() bool { return len(list[*discoveryv1.EndpointSlice](w, "default")) == 0 })
}

func (w *world) delete(o client.Object, policy metav1.DeletionPropagation) {
	w.Helper()
	gvr, err := w.c.ResourceFor(o)
	if err != nil {
		w.Fatal(err)
	}
	ref := client.Ref{GroupVersionResource: gvr, Namespace: o.GetNamespace(), Name: o.GetName()}
	if err := w.c.Delete(w.ctx, ref, metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
		w.Fatal(err)
	}
}

// endpoints waits until n addresses are ready, all of them in one slice.
func (w *world) endpoints(n int) {
	w.Helper()
	eventually[*discoveryv1.EndpointSlice](w, fmt.Sprintf("%d endpoints", n), func() bool {
		slices := list[*discoveryv1.EndpointSlice](w, "default")
		if len(slices) != 1 {
			return false
		}
		ready := 0
		for _, e := range slices[0].Endpoints {
			if *e.Conditions.Ready {
				ready++
			}
		}
		return ready == n && len(slices[0].Endpoints) == n
	})
}

func TestNamespaceGoesWithAllItHolds(t *testing.T) {
	w := newWorld(t, nil)
	w.namespace("shop")
	eventually[*corev1.ConfigMap](w, "the CA", func() bool {
		return slices.ContainsFunc(list[*corev1.ConfigMap](w, "shop"), func(c *corev1.ConfigMap) bool {
			return strings.HasPrefix(c.Data["ca.crt"], "-----BEGIN CERTIFICATE-----")
		})
	})
	eventually[*corev1.ServiceAccount](w, "the account", func() bool { return len(list[*corev1.ServiceAccount](w, "shop")) == 1 })
	d := deploymentOf("web", 3, "v1")
	d.Namespace = "shop"
	w.create(d)
	eventually[*corev1.Pod](w, "3 pods", func() bool { return len(list[*corev1.Pod](w, "shop")) == 3 })
	w.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.DeletePropagationBackground)
	eventually[*corev1.Namespace](w, "namespace gone", func() bool {
		_, err := client.For[*corev1.Namespace](w.c).Get(w.ctx, "", "shop")
		return apierrors.IsNotFound(err)
	})
	if n := len(list[*corev1.Pod](w, "shop")); n != 0 {
		t.Errorf("%d pods are left", n)
	}
}

func TestNamespacesLoseTheirPodsFirst(t *testing.T) {
	w := newWorld(t, nil)
	w.namespace("shop")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "slow", Finalizers: []string{"example.com/hold"}}}
	pod.Spec.Containers = []corev1.Container{{Name: "c", Image: "v1"}}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "settings"}}
	w.create(pod, cm)
	w.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.DeletePropagationBackground)
	namespaces := client.For[*corev1.Namespace](w.c)
	eventually[*corev1.Namespace](w, "conditions that tell what is left", func() bool {
		ns, err := namespaces.Get(w.ctx, "", "shop")
		if err != nil {
			t.Fatal(err)
		}
		told := map[corev1.NamespaceConditionType]string{}
		for _, c := range ns.Status.Conditions {
			told[c.Type] = string(c.Status) + " " + c.Reason + ": " + c.Message
		}
		return told[corev1.NamespaceContentRemaining] == "True SomeResourcesRemain: Some resources are remaining: pods. has 1 resource instances" &&
			told[corev1.NamespaceFinalizersRemaining] == "True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
	})
	if got, err := client.For[*corev1.ConfigMap](w.c).Get(w.ctx, "shop", "settings"); err != nil || got.DeletionTimestamp != nil {
		t.Errorf("the config map went before the pod: %v", err)
	}
	if _, err := client.For[*corev1.Pod](w.c).Patch(w.ctx, "shop", "slow", types.MergePatchType, []byte(`{"metadata":{"finalizers":[]}}`), ""); err != nil {
		t.Fatal(err)
	}
	eventually[*corev1.Namespace](w, "namespace gone", func() bool {
		_, err := namespaces.Get(w.ctx, "", "shop")
		return apierrors.IsNotFound(err)
	})
}
