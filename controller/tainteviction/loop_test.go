package tainteviction_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/controller/tainteviction"
	"github.com/inboard/inboard/store"
)

// world is an API server in memory with the controller, in a synctest bubble. It has a node a, and
// pods on it: plain, patient (60 s) and loyal (forever).
type world struct {
	*testing.T
	c    client.Interface
	pods client.Typed[*corev1.Pod]
}

func inWorld(t *testing.T, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		st, err := store.Open(store.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		server, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()})
		if err != nil {
			t.Fatal(err)
		}
		admin := server.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}})
		w := &world{T: t, c: admin, pods: client.For[*corev1.Pod](admin)}
		g, err := tainteviction.New(tainteviction.Config{Client: server.Client(apiserver.Identity{User: "system:kube-controller-manager"})})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		<-g.Ready()
		if _, err := client.For[*corev1.Node](admin).Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}); err != nil {
			t.Fatal(err)
		}
		sixty := int64(60)
		w.pod("plain")
		w.pod("patient", corev1.Toleration{Key: "k", Effect: corev1.TaintEffectNoExecute, Operator: corev1.TolerationOpExists, TolerationSeconds: &sixty})
		w.pod("loyal", corev1.Toleration{Key: "k", Effect: corev1.TaintEffectNoExecute, Operator: corev1.TolerationOpExists})
		f(w)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// pod makes a pod on node a that keeps its name for a while after its deletion.
func (w *world) pod(name string, tolerations ...corev1.Toleration) {
	w.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Finalizers: []string{"example.com/hold"}}}
	p.Spec = corev1.PodSpec{NodeName: "a", Tolerations: tolerations, Containers: []corev1.Container{{Name: "c", Image: "v1"}}}
	if _, err := w.pods.Create(w.Context(), p); err != nil {
		w.Fatal(err)
	}
}

func (w *world) taint(patch string) {
	w.Helper()
	nodes := client.For[*corev1.Node](w.c)
	if _, err := nodes.Patch(w.Context(), "", "a", types.MergePatchType, []byte(`{"spec":{"taints":`+patch+`}}`), ""); err != nil {
		w.Fatal(err)
	}
	synctest.Wait()
}

// going returns the pods that are being deleted or gone.
func (w *world) going() (out []string) {
	w.Helper()
	for _, name := range []string{"loyal", "patient", "plain"} {
		p, err := w.pods.Get(w.Context(), "default", name)
		if err != nil && !apierrors.IsNotFound(err) {
			w.Fatal(err)
		}
		if err != nil || p.DeletionTimestamp != nil {
			out = append(out, name)
		}
	}
	return out
}

func (w *world) want(names ...string) {
	w.Helper()
	synctest.Wait()
	if got := w.going(); !slices.Equal(got, names) {
		w.Errorf("%v go, want %v", got, names)
	}
}

func (w *world) events() (out []string) {
	w.Helper()
	time.Sleep(time.Second)
	l, err := client.For[*corev1.Event](w.c).List(w.Context(), "default", metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	for _, e := range l.Items {
		out = append(out, e.Source.Component+" "+e.Type+" "+e.Reason+" "+e.Message)
	}
	slices.Sort(out)
	return out
}

const noExecute = `[{"key":"k","effect":"NoExecute"}]`

func TestPodsGoWhenTheirPatienceEnds(t *testing.T) {
	inWorld(t, func(w *world) {
		w.taint(`[{"key":"k","effect":"NoSchedule"}]`)
		w.want()
		w.taint(noExecute)
		w.want("plain")
		time.Sleep(59 * time.Second)
		w.want("plain")
		time.Sleep(2 * time.Second)
		w.want("patient", "plain")
		p, err := w.pods.Get(w.Context(), "default", "patient")
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget })
		if i < 0 || p.Status.Conditions[i].Reason != "DeletionByTaintManager" || p.Status.Conditions[i].Message != "Taint manager: deleting due to NoExecute taint" {
			t.Errorf("conditions %v", p.Status.Conditions)
		}
		w.pod("late")
		synctest.Wait()
		if p, err := w.pods.Get(w.Context(), "default", "late"); err != nil || p.DeletionTimestamp == nil {
			t.Errorf("a pod that comes late stays: %v", err)
		}
		want := []string{
			"taint-eviction-controller Normal TaintManagerEviction Marking for deletion Pod default/late",
			"taint-eviction-controller Normal TaintManagerEviction Marking for deletion Pod default/patient",
			"taint-eviction-controller Normal TaintManagerEviction Marking for deletion Pod default/plain",
		}
		if got := w.events(); !slices.Equal(got, want) {
			t.Errorf("events\n%s", strings.Join(got, "\n"))
		}
	})
}

func TestEvictionIsCancelled(t *testing.T) {
	inWorld(t, func(w *world) {
		w.taint(noExecute)
		time.Sleep(30 * time.Second)
		w.taint(`null`)
		time.Sleep(time.Hour)
		w.want("plain")
		w.taint(noExecute) // the time begins anew
		time.Sleep(59 * time.Second)
		w.want("plain")
		time.Sleep(2 * time.Second)
		w.want("patient", "plain")
		if got := w.events(); !slices.Contains(got, "taint-eviction-controller Normal TaintManagerEviction Cancelling deletion of Pod default/patient") {
			t.Errorf("events\n%s", strings.Join(got, "\n"))
		}
	})
}

// TestTolerationGrownInTime saves a pod.
func TestTolerationGrownInTime(t *testing.T) {
	inWorld(t, func(w *world) {
		w.taint(noExecute)
		time.Sleep(30 * time.Second)
		patient, err := w.pods.Get(w.Context(), "default", "patient")
		if err != nil {
			t.Fatal(err)
		}
		patient.Spec.Tolerations[0].TolerationSeconds = nil
		if _, err := w.pods.Update(w.Context(), patient); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		w.want("plain")
	})
}
