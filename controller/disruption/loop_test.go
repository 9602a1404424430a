package disruption_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/rbac"
	"github.com/inboard/inboard/controller"
	"github.com/inboard/inboard/controller/disruption"
	"github.com/inboard/inboard/internal/apitest"
)

// world is an API server with the controller, which has the rights that Kubernetes' default policy gives it, in a
// synctest bubble.
type world struct {
	*testing.T
	c       client.Interface
	pods    client.Typed[*corev1.Pod]
	budgets client.Typed[*policyv1.PodDisruptionBudget]
}

func inWorld(t *testing.T, f func(w *world)) {
	t.Helper()
	inWorldOver(t, func(c client.Interface) client.Interface { return c }, f)
}

// inWorldOver changes the client that the controller gets.
func inWorldOver(t *testing.T, wrap func(client.Interface) client.Interface, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		api := apitest.Open(t, func(cfg *apiserver.Config) {
			policy, err := rbac.New(rbac.Config{Store: cfg.Store})
			if err != nil {
				t.Fatal(err)
			}
			cfg.Authorizer = policy
		})
		c := api.Admin()
		g, err := controller.NewGroup(controller.GroupConfig{
			Client: api.As("system:kube-controller-manager"),
			ClientFor: func(name string) client.Interface {
				return wrap(api.As("system:serviceaccount:kube-system:"+name, "system:serviceaccounts"))
			},
		})
		if err == nil {
			err = disruption.Add(g, disruption.Config{})
		}
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		<-g.Ready()
		f(&world{T: t, c: c, pods: client.For[*corev1.Pod](c), budgets: client.For[*policyv1.PodDisruptionBudget](c)})
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

var appLabels = map[string]string{"app": "web"}

func (w *world) budget(minimum, maximum string) {
	w.Helper()
	pdb := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}
	pdb.Spec.Selector = &metav1.LabelSelector{MatchLabels: appLabels}
	if minimum != "" {
		v := intstr.Parse(minimum)
		pdb.Spec.MinAvailable = &v
	} else {
		v := intstr.Parse(maximum)
		pdb.Spec.MaxUnavailable = &v
	}
	_, err := w.budgets.Create(w.Context(), pdb)
	w.must(err)
}

// pod makes a pod that is ready.
func (w *world) pod(name string, owner ...metav1.OwnerReference) {
	w.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: appLabels, OwnerReferences: owner}}
	p.Spec = corev1.PodSpec{NodeName: "node", Containers: []corev1.Container{{Name: "c", Image: "v1"}}}
	_, err := w.pods.Create(w.Context(), p)
	w.must(err)
	w.ready(name, corev1.ConditionTrue)
}

func (w *world) ready(name string, status corev1.ConditionStatus) {
	w.Helper()
	p, err := w.pods.Get(w.Context(), "default", name)
	w.must(err)
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}
	_, err = w.pods.UpdateStatus(w.Context(), p)
	w.must(err)
}

func ownedBy(obj client.Object, apiVersion, kind string) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: obj.GetName(), UID: obj.GetUID(), Controller: &yes}
}

func (w *world) evict(name string) error {
	ref := w.pods.Ref("default", name)
	ref.Subresource = "eviction"
	_, err := w.c.Create(w.Context(), ref, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}, metav1.CreateOptions{})
	return err
}

// want compares the budget's status, once all is at rest, with "healthy/expected desired allowed reason".
func (w *world) want(want string) *policyv1.PodDisruptionBudget {
	w.Helper()
	synctest.Wait()
	time.Sleep(time.Second) // conflicts are tried again after milliseconds
	synctest.Wait()
	pdb, err := w.budgets.Get(w.Context(), "default", "web")
	w.must(err)
	s, reason := pdb.Status, "none"
	if c := meta.FindStatusCondition(s.Conditions, policyv1.DisruptionAllowedCondition); c != nil {
		if reason = c.Reason; c.Message != "" {
			reason += ": " + c.Message
		}
	}
	if got := fmt.Sprintf("%d/%d %d %d %s", s.CurrentHealthy, s.ExpectedPods, s.DesiredHealthy, s.DisruptionsAllowed, reason); got != want {
		w.Errorf("status is %q, want %q", got, want)
	}
	return pdb
}

// event tells how often an event with a reason was seen.
func (w *world) events(reason string) (n int) {
	w.Helper()
	l, err := client.For[*corev1.Event](w.c).List(w.Context(), "default", metav1.ListOptions{})
	w.must(err)
	for _, e := range l.Items {
		if e.Reason == reason && e.Source.Component == "controllermanager" {
			n += int(e.Count)
		}
	}
	return n
}

// TestEvictions: two of three pods must stay; one may go, the next only when another has come.
func TestEvictions(t *testing.T) {
	inWorld(t, func(w *world) {
		w.budget("2", "")
		w.want("0/0 2 0 InsufficientPods")
		if w.events("NoPods") != 1 {
			t.Errorf("%d events tell that there are no pods", w.events("NoPods"))
		}
		for _, name := range []string{"a", "b", "c"} {
			w.pod(name)
		}
		if pdb := w.want("3/3 2 1 SufficientPods"); pdb.Status.ObservedGeneration != pdb.Generation {
			t.Errorf("generation %d, observed %d", pdb.Generation, pdb.Status.ObservedGeneration)
		}
		w.must(w.evict("a"))
		if err := w.evict("b"); !apierrors.IsTooManyRequests(err) {
			t.Errorf("the second eviction: %v", err)
		}
		// The pod ends in its own time; it is not counted, and what it cost is known by its deletion.
		pdb := w.want("2/3 2 0 InsufficientPods")
		if n := len(pdb.Status.DisruptedPods); n != 0 {
			t.Errorf("%d disrupted pods", n)
		}
		now := int64(0)
		w.must(w.pods.Delete(w.Context(), "default", "a", metav1.DeleteOptions{GracePeriodSeconds: &now}))
		w.want("2/2 2 0 InsufficientPods")
		w.pod("d")
		w.ready("d", corev1.ConditionFalse)
		w.want("2/3 2 0 InsufficientPods")
		if err := w.evict("b"); !apierrors.IsTooManyRequests(err) {
			t.Errorf("before the new pod is ready: %v", err)
		}
		w.ready("d", corev1.ConditionTrue)
		w.want("3/3 2 1 SufficientPods")
		w.must(w.evict("b"))
		w.want("2/3 2 0 InsufficientPods")
		pdb, err := w.budgets.Get(w.Context(), "default", "web")
		w.must(err)
		pdb.Spec.MinAvailable.IntVal = 1
		_, err = w.budgets.Update(w.Context(), pdb)
		w.must(err)
		w.want("2/3 1 1 SufficientPods")
	})
}

// TestEvictionsRunOut: a pod that was charged, but not deleted, counts again after two minutes.
func TestEvictionsRunOut(t *testing.T) {
	inWorld(t, func(w *world) {
		w.budget("1", "")
		w.pod("a")
		w.pod("b")
		pdb := w.want("2/2 1 1 SufficientPods")
		pdb.Status.DisruptionsAllowed = 0
		pdb.Status.DisruptedPods = map[string]metav1.Time{"a": metav1.Now()}
		_, err := w.budgets.UpdateStatus(w.Context(), pdb)
		w.must(err)
		w.want("1/2 1 0 InsufficientPods")
		time.Sleep(117 * time.Second)
		w.want("1/2 1 0 InsufficientPods")
		time.Sleep(2 * time.Second)
		if pdb := w.want("2/2 1 1 SufficientPods"); len(pdb.Status.DisruptedPods) != 0 {
			t.Errorf("disrupted pods %v", pdb.Status.DisruptedPods)
		}
		if n := w.events("NotDeleted"); n != 1 {
			t.Errorf("%d events tell of a pod that was not deleted", n)
		}
	})
}

// TestScales: budgets that count what should be take it from the pods' owners, whatever kind these have.
func TestScales(t *testing.T) {
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: appLabels},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "v1"}}}}
	selector := &metav1.LabelSelector{MatchLabels: appLabels}
	meta := metav1.ObjectMeta{Namespace: "default", Name: "web"}
	four := int32(4)
	create := func(w *world, obj client.Object) client.Object {
		gvr, err := w.c.ResourceFor(obj)
		w.must(err)
		made, err := w.c.Create(w.Context(), client.Ref{GroupVersionResource: gvr, Namespace: "default"}, obj, metav1.CreateOptions{})
		w.must(err)
		return made.(client.Object)
	}
	replicaSet := func(name string, owners ...metav1.OwnerReference) *appsv1.ReplicaSet {
		return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, OwnerReferences: owners},
			Spec: appsv1.ReplicaSetSpec{Replicas: &four, Selector: selector, Template: template}}
	}
	for name, test := range map[string]struct {
		owners func(w *world) []metav1.OwnerReference // of two pods
		want   string                                 // with a quarter unavailable
	}{
		"ReplicaSet": {func(w *world) []metav1.OwnerReference {
			o := ownedBy(create(w, replicaSet("web")), "apps/v1", "ReplicaSet")
			return []metav1.OwnerReference{o, o}
		}, "2/4 3 0 InsufficientPods"},
		"two ReplicaSets of a Deployment": {func(w *world) []metav1.OwnerReference {
			d := create(w, &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Replicas: &four, Selector: selector, Template: template}})
			return []metav1.OwnerReference{ownedBy(create(w, replicaSet("old", ownedBy(d, "apps/v1", "Deployment"))), "apps/v1", "ReplicaSet"),
				ownedBy(create(w, replicaSet("new", ownedBy(d, "apps/v1", "Deployment"))), "apps/v1", "ReplicaSet")}
		}, "2/4 3 0 InsufficientPods"},
		"StatefulSet and ReplicationController": {func(w *world) []metav1.OwnerReference {
			return []metav1.OwnerReference{
				ownedBy(create(w, &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Replicas: &four, Selector: selector, Template: template, ServiceName: "web"}}), "apps/v1", "StatefulSet"),
				ownedBy(create(w, &corev1.ReplicationController{ObjectMeta: meta, Spec: corev1.ReplicationControllerSpec{Replicas: &four, Selector: appLabels, Template: &template}}), "v1", "ReplicationController"),
			}
		}, "2/8 6 0 InsufficientPods"},
		"DaemonSet": {func(w *world) []metav1.OwnerReference {
			o := ownedBy(create(w, &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}}), "apps/v1", "DaemonSet")
			return []metav1.OwnerReference{o, o}
		}, "0/0 0 0 SyncFailed: daemonsets.apps does not implement the scale subresource"},
		"an owner that is gone": {func(*world) []metav1.OwnerReference {
			o := ownedBy(replicaSet("gone"), "apps/v1", "ReplicaSet")
			o.UID = "gone"
			return []metav1.OwnerReference{o, o}
		}, `0/0 0 0 SyncFailed: found no controllers for pod "a"`},
		"an unknown kind": {func(*world) []metav1.OwnerReference {
			o := ownedBy(replicaSet("x"), "example.com/v1", "Thing")
			o.UID = "x"
			return []metav1.OwnerReference{o, o}
		}, `0/0 0 0 SyncFailed: no matches for kind "Thing" in version "example.com/v1"`},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				owners := test.owners(w)
				synctest.Wait()
				w.pod("a", owners[0])
				w.pod("b", owners[1])
				w.budget("", "25%")
				w.want(test.want)
				failed := strings.Contains(test.want, "SyncFailed")
				if n := w.events("CalculateExpectedPodCountFailed"); n > 0 != failed {
					t.Errorf("%d events tell of a failure", n)
				}
				if err := w.evict("a"); !apierrors.IsTooManyRequests(err) {
					t.Errorf("eviction: %v", err)
				}
			})
		})
	}
}

// TestScaleChanges are noticed, without a change of a pod.
func TestScaleChanges(t *testing.T) {
	inWorld(t, func(w *world) {
		three := int32(3)
		sets := client.For[*appsv1.ReplicaSet](w.c)
		rs, err := sets.Create(w.Context(), &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
			Spec: appsv1.ReplicaSetSpec{Replicas: &three, Selector: &metav1.LabelSelector{MatchLabels: appLabels},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: appLabels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "v1"}}}}}})
		w.must(err)
		for _, name := range []string{"a", "b", "c"} {
			w.pod(name, ownedBy(rs, "apps/v1", "ReplicaSet"))
		}
		w.budget("", "1")
		w.want("3/3 2 1 SufficientPods")
		_, err = sets.Patch(w.Context(), "default", "web", types.MergePatchType, []byte(`{"spec":{"replicas":5}}`), "")
		w.must(err)
		w.want("3/5 4 0 InsufficientPods")
	})
}

// TestPodsWithoutOwners have no scale that a percentage could be of: none may go, and an event says why.
func TestPodsWithoutOwners(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pod("a")
		w.pod("b")
		synctest.Wait()
		w.budget("50%", "")
		w.want("2/0 0 0 InsufficientPods")
		if n := w.events("UnmanagedPods"); n != 1 {
			t.Errorf("%d events tell of pods without owners", n)
		}
		if err := w.evict("a"); !apierrors.IsTooManyRequests(err) {
			t.Errorf("eviction: %v", err)
		}
	})
}

// broken is a client that can't read for some time.
type broken struct {
	client.Interface
	left atomic.Int32
}

func (b *broken) Get(ctx context.Context, ref client.Ref, o metav1.GetOptions) (runtime.Object, error) {
	if n := b.left.Add(-1); n >= 0 {
		return nil, apierrors.NewInternalError(fmt.Errorf("no luck %d", n))
	}
	return b.Interface.Get(ctx, ref, o)
}

// TestScaleOutOfReach: nothing may go while a scale can't be read, and that is tried again by itself.
func TestScaleOutOfReach(t *testing.T) {
	b := &broken{}
	wrap := func(c client.Interface) client.Interface { b.Interface = c; return b }
	inWorldOver(t, wrap, func(w *world) {
		two := int32(2)
		set, err := client.For[*appsv1.StatefulSet](w.c).Create(w.Context(), &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
			Spec: appsv1.StatefulSetSpec{Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: appLabels}, ServiceName: "web",
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: appLabels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "v1"}}}}}})
		w.must(err)
		w.budget("", "1")
		for _, name := range []string{"a", "b"} {
			w.pod(name, ownedBy(set, "apps/v1", "StatefulSet"))
		}
		w.want("2/2 1 1 SufficientPods")
		b.left.Store(1000)
		w.ready("a", corev1.ConditionFalse)
		time.Sleep(time.Second)
		synctest.Wait()
		pdb, err := w.budgets.Get(w.Context(), "default", "web")
		w.must(err)
		c := meta.FindStatusCondition(pdb.Status.Conditions, policyv1.DisruptionAllowedCondition)
		if pdb.Status.DisruptionsAllowed != 0 || c.Reason != policyv1.SyncFailedReason ||
			!strings.HasPrefix(c.Message, "read the scale of statefulsets.apps web: Internal error occurred: no luck") {
			t.Errorf("status %+v", pdb.Status)
		}
		// Each try writes another message, which must not lead to the next try.
		if n := 1000 - b.left.Load(); n < 2 || n > 50 {
			t.Errorf("tried %d times in a second", n)
		}
		b.left.Store(0)
		time.Sleep(2 * time.Minute)
		w.want("1/2 1 0 InsufficientPods")
	})
}

func TestBadConfig(t *testing.T) {
	if _, err := disruption.New(disruption.Config{}); err == nil || !strings.Contains(err.Error(), "Client is nil") {
		t.Errorf("New: %v", err)
	}
}
