// Package manager runs a small operator, written with controller-runtime, on a kind that the API server has.
package manager

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/inboard/inboard/internal/clients/cluster"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewTextHandler(io.Discard, nil)))
	os.Exit(m.Run())
}

type world struct {
	*testing.T
	*cluster.Cluster
	ctx context.Context
	cfg *rest.Config
	// user reads and writes past all caches.
	user client.Client
}

func newWorld(t *testing.T) *world {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := ln.Addr().String()
	must(t, ln.Close())
	programs := cluster.Prepare(t)
	c, err := programs.Start(t.TempDir(), "-listen", addr, "-dir", filepath.Join(programs.Dir, "state"))
	must(t, err)
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	must(t, err)
	cfg.QPS = -1
	user, err := client.New(cfg, client.Options{})
	must(t, err)
	return &world{T: t, Cluster: c, ctx: t.Context(), cfg: cfg, user: user}
}

// manage runs a manager with the operator; the channel is closed when it leads, stop ends it.
func (w *world) manage() (mgr ctrl.Manager, elected <-chan struct{}, stop func()) {
	w.Helper()
	mgr, err := ctrl.NewManager(w.cfg, ctrl.Options{
		Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		LeaderElection: true, LeaderElectionID: "sites.example.com", LeaderElectionNamespace: "default", LeaderElectionReleaseOnCancel: true,
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{"default": {}}},
	})
	must(w.T, err)
	ctx, cancel := context.WithCancel(context.Background())
	must(w.T, (&sites{}).setup(ctx, mgr))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("the manager ended with %v", err)
		}
	})
	w.Cleanup(stop)
	return mgr, mgr.Elected(), stop
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) eventually(what string, try func() error) {
	w.Helper()
	if err := cluster.Eventually(try); err != nil {
		w.Fatalf("%s: %v\n%s", what, err, w.Output())
	}
}

func site(name string) *networkingv1.Ingress {
	own := class
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: networkingv1.IngressSpec{IngressClassName: &own,
			DefaultBackend: &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: name, Port: networkingv1.ServiceBackendPort{Number: 80}}}},
	}
}

func (w *world) get(o client.Object, name string) error {
	return w.user.Get(w.ctx, client.ObjectKey{Namespace: "default", Name: name}, o)
}

// reports waits until the operator says so of a site.
func (w *world) reports(name, host string) {
	w.Helper()
	w.eventually(name+" at "+host, func() error {
		var in networkingv1.Ingress
		err := w.get(&in, name)
		if err == nil && (len(in.Status.LoadBalancer.Ingress) != 1 || in.Status.LoadBalancer.Ingress[0].Hostname != host) {
			err = fmt.Errorf("status %+v", in.Status)
		}
		return err
	})
}

func (w *world) gone(o client.Object, name string) {
	w.Helper()
	w.eventually(name+" gone", func() error {
		if err := w.get(o, name); !apierrors.IsNotFound(err) {
			return fmt.Errorf("%T %s is still there: %v", o, name, err)
		}
		return nil
	})
}

func TestOperator(t *testing.T) {
	w := newWorld(t)
	mgr, elected, stop := w.manage()
	w.wait(elected)
	for _, name := range []string{"a", "b"} {
		must(t, w.user.Create(w.ctx, site(name)))
		w.reports(name, "v1-1.example.com")
	}
	// one of another class is let alone
	other := site("other")
	*other.Spec.IngressClassName = "nginx"
	must(t, w.user.Create(w.ctx, other))

	w.changeSite()
	w.deleteOwned()

	// settings reach all sites, found by the index
	must(t, w.user.Create(w.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "settings"}, Data: map[string]string{"image": "registry.test/test/web:v2"}}))
	w.reports("a", "v2-2.example.com")
	w.reports("b", "v2-1.example.com")
	var cached networkingv1.IngressList
	must(t, mgr.GetClient().List(w.ctx, &cached, client.MatchingFields{byClass: class}))
	if len(cached.Items) != 2 {
		t.Errorf("the index finds %d sites", len(cached.Items))
	}

	// the manager goes on after the server was away
	w.Kill()
	must(t, w.Restart())
	must(t, w.user.Create(w.ctx, site("c")))
	w.reports("c", "v2-1.example.com")

	// a second manager takes over from the first
	_, second, _ := w.manage()
	select {
	case <-second:
		t.Error("two managers lead")
	case <-time.After(500 * time.Millisecond):
	}
	stop()
	w.wait(second)
	w.deleteSites()
	must(t, w.get(&networkingv1.Ingress{}, "other"))
}

func (w *world) wait(c <-chan struct{}) {
	w.Helper()
	select {
	case <-c:
	case <-time.After(cluster.Patience):
		w.Fatal("no manager leads")
	}
}

// changeSite asks for more by an annotation, with a patch of two sides.
func (w *world) changeSite() {
	w.Helper()
	var in networkingv1.Ingress
	must(w.T, w.get(&in, "a"))
	before := in.DeepCopy()
	in.Annotations = map[string]string{"replicas": "2"}
	must(w.T, w.user.Patch(w.ctx, &in, client.StrategicMergeFrom(before)))
	w.reports("a", "v1-2.example.com")
	scale := &autoscalingv1.Scale{}
	must(w.T, w.user.SubResource("scale").Get(w.ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"}}, scale))
	if scale.Spec.Replicas != 2 {
		w.Errorf("scale: %+v", scale.Spec)
	}
}

// deleteOwned deletes what the operator owns; it comes back.
func (w *world) deleteOwned() {
	w.Helper()
	var d appsv1.Deployment
	must(w.T, w.get(&d, "b"))
	must(w.T, w.user.Delete(w.ctx, &d, client.Preconditions{UID: &d.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	must(w.T, w.user.Delete(w.ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "b"}}))
	w.eventually("b comes back", func() error {
		var again appsv1.Deployment
		err := w.get(&again, "b")
		if err == nil && (again.UID == d.UID || !metav1.IsControlledBy(&again, &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{UID: d.OwnerReferences[0].UID}})) {
			err = fmt.Errorf("%s is the old one, or nobody's", again.UID)
		}
		if err == nil {
			err = w.get(&corev1.Service{}, "b")
		}
		return err
	})
	w.reports("b", "v1-1.example.com")
}

// deleteSites deletes all sites of the operator: its finalizer clears up, the garbage collector takes the rest.
func (w *world) deleteSites() {
	w.Helper()
	var cm corev1.ConfigMap
	must(w.T, w.get(&cm, registry))
	if len(cm.Data) != 3 {
		w.Errorf("registered: %v", cm.Data)
	}
	for _, name := range []string{"a", "b", "c"} {
		must(w.T, w.user.Delete(w.ctx, site(name)))
		w.gone(&networkingv1.Ingress{}, name)
		w.gone(&appsv1.Deployment{}, name)
		w.gone(&corev1.Service{}, name)
	}
	cm = corev1.ConfigMap{}
	must(w.T, w.get(&cm, registry))
	if len(cm.Data) != 0 {
		w.Errorf("still registered: %v", cm.Data)
	}
	var events corev1.EventList
	must(w.T, w.user.List(w.ctx, &events, client.InNamespace("default"), client.MatchingFields{"reason": "Deployed"}))
	if len(events.Items) == 0 {
		w.Error("nothing is told in events")
	}
	must(w.T, w.user.DeleteAllOf(w.ctx, &corev1.Event{}, client.InNamespace("default")))
}
