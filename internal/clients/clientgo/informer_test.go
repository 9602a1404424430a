package clientgo

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/features"
	featurestesting "k8s.io/client-go/features/testing"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/inboard/inboard/internal/clients/cluster"
)

// seen counts what an informer tells, by name.
type seen struct {
	mu                     sync.Mutex
	added, deleted, resync map[string]int
	last                   map[string]string
}

func watchAll(t *testing.T, inf cache.SharedIndexInformer) *seen {
	t.Helper()
	s := &seen{added: map[string]int{}, deleted: map[string]int{}, resync: map[string]int{}, last: map[string]string{}}
	note := func(counts map[string]int, obj any) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		cm := obj.(*corev1.ConfigMap)
		s.last[cm.Name] = cm.Data["n"]
		counts[cm.Name]++
	}
	_, err := inf.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { note(s.added, obj) },
		UpdateFunc: func(old, obj any) {
			counts := map[string]int{}
			if old.(*corev1.ConfigMap).ResourceVersion == obj.(*corev1.ConfigMap).ResourceVersion {
				counts = s.resync
			}
			note(counts, obj)
		},
		DeleteFunc: func(obj any) { note(s.deleted, obj) },
	})
	must(t, err)
	return s
}

// has checks that each of the names was added once and has the data n.
func (s *seen) has(n string, names ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if s.added[name] != 1 || s.last[name] != n {
			return fmt.Errorf("%s was added %d times and has %q, not %q", name, s.added[name], s.last[name], n)
		}
	}
	return nil
}

func names(prefix string, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%s-%d", prefix, i))
	}
	return out
}

func create(t *testing.T, cs kubernetes.Interface, all []string) {
	t.Helper()
	for _, name := range all {
		_, err := cs.CoreV1().ConfigMaps("default").Create(t.Context(), configMap(name), metav1.CreateOptions{})
		must(t, err)
	}
}

// run runs a factory of informers until the test ends.
func run(t *testing.T, f informers.SharedInformerFactory) {
	t.Helper()
	stop := make(chan struct{})
	f.Start(stop)
	t.Cleanup(func() {
		close(stop)
		f.Shutdown()
	})
	for typ, ok := range f.WaitForCacheSync(stop) {
		if !ok {
			t.Fatalf("the informer of %v did not sync", typ)
		}
	}
}

// TestInformers: shared informers, with and without lists that are watches, see all that is and comes.
func TestInformers(t *testing.T) {
	for _, way := range []string{"list", "watch-list"} {
		t.Run(way, func(t *testing.T) {
			featurestesting.SetFeatureDuringTest(t, features.WatchListClient, way == "watch-list")
			w := start(t)
			cs := w.clientset(t)
			create(t, cs, names("before", 20))
			w.calls.take("")
			f := informers.NewSharedInformerFactoryWithOptions(cs, 2*time.Second, informers.WithNamespace("default"))
			inf := f.Core().V1().ConfigMaps()
			s := watchAll(t, inf.Informer())
			run(t, f)
			create(t, cs, names("after", 20))
			for _, name := range names("before", 20) {
				cm := configMap(name)
				cm.Data["n"] = "1"
				_, err := cs.CoreV1().ConfigMaps("default").Update(w.ctx, cm, metav1.UpdateOptions{})
				must(t, err)
			}
			must(t, cs.CoreV1().ConfigMaps("default").Delete(w.ctx, "before-0", metav1.DeleteOptions{}))
			eventually(t, func() error { return s.has("1", names("before", 20)...) })
			eventually(t, func() error { return s.has("0", names("after", 20)...) })
			eventually(t, func() error {
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.deleted["before-0"] != 1 || s.resync["after-1"] == 0 {
					return fmt.Errorf("deleted %v, resynced %v", s.deleted, s.resync)
				}
				return nil
			})
			got, err := inf.Lister().ConfigMaps("default").List(labels.Everything())
			must(t, err)
			if len(got) != 40 { // and kube-root-ca.crt, without before-0
				t.Errorf("the lister has %d", len(got))
			}
			lists, initial := 0, 0
			for _, c := range w.calls.take("/configmaps") {
				if c.method == "GET" && !strings.Contains(c.query, "watch=") {
					lists++
				}
				if strings.Contains(c.query, "sendInitialEvents=true") {
					initial++
				}
			}
			if way == "list" && (lists == 0 || initial > 0) || way == "watch-list" && (lists > 0 || initial == 0) {
				t.Errorf("%d lists, %d watches with initial events", lists, initial)
			}
		})
	}
}

// TestInformerSurvivesRestart: nothing is lost when the server is killed and started again, whatever happened
// meanwhile.
func TestInformerSurvivesRestart(t *testing.T) {
	for _, way := range []string{"list", "watch-list"} {
		t.Run(way, func(t *testing.T) {
			featurestesting.SetFeatureDuringTest(t, features.WatchListClient, way == "watch-list")
			w := start(t, "-dir", t.TempDir(), "-listen", freeAddr(t))
			cs := w.clientset(t)
			f := informers.NewSharedInformerFactory(cs, 0)
			s := watchAll(t, f.Core().V1().ConfigMaps().Informer())
			create(t, cs, names("before", 10))
			run(t, f)
			for round := range 2 {
				create(t, cs, names(fmt.Sprint("round-", round), 10))
				w.Kill()
				must(t, w.Restart())
				// while the informer waits for its next try
				create(t, cs, names(fmt.Sprint("up-", round), 10))
				eventually(t, func() error { return s.has("0", names(fmt.Sprint("up-", round), 10)...) })
			}
			for _, prefix := range []string{"before", "round-0", "round-1"} {
				must(t, s.has("0", names(prefix, 10)...))
			}
		})
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

// gate holds requests back while it is closed, and counts what reflectors do.
type gate struct {
	closed       atomic.Bool
	lists, gones atomic.Int32
}

func (g *gate) wrap(rt http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		watches := strings.Contains(r.URL.RawQuery, "watch=true")
		for watches && g.closed.Load() {
			select {
			case <-r.Context().Done():
				return nil, r.Context().Err()
			case <-time.After(10 * time.Millisecond):
			}
		}
		if !watches {
			g.lists.Add(1)
		}
		res, err := rt.RoundTrip(r)
		if err == nil && res.StatusCode == http.StatusGone {
			g.gones.Add(1)
		}
		return res, err
	})
}

// TestInformerRelists: an informer that was away for longer than the history lists anew, and tells of what was deleted.
func TestInformerRelists(t *testing.T) {
	featurestesting.SetFeatureDuringTest(t, features.WatchListClient, false)
	cfg := briefHistory(t, 50)
	writer, err := kubernetes.NewForConfig(cfg)
	must(t, err)
	g := &gate{}
	away := rest.CopyConfig(cfg)
	away.Wrap(g.wrap)
	reader, err := kubernetes.NewForConfig(away)
	must(t, err)
	create(t, writer, names("before", 5))
	f := informers.NewSharedInformerFactory(reader, 0)
	s := watchAll(t, f.Core().V1().ConfigMaps().Informer())
	g.closed.Store(true) // the list comes through, the watch after it does not
	run(t, f)
	must(t, writer.CoreV1().ConfigMaps("default").Delete(t.Context(), "before-0", metav1.DeleteOptions{}))
	for i := range 200 {
		cm := configMap("before-1")
		cm.Data["n"] = strconv.Itoa(i)
		_, err := writer.CoreV1().ConfigMaps("default").Update(t.Context(), cm, metav1.UpdateOptions{})
		must(t, err)
	}
	create(t, writer, names("after", 5))
	_, err = writer.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{ResourceVersion: "2"})
	if err == nil || !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		t.Errorf("a watch from long ago: %v", err)
	}
	g.closed.Store(false)
	eventually(t, func() error { return s.has("0", names("after", 5)...) })
	eventually(t, func() error { return s.has("199", "before-1") })
	eventually(t, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.deleted["before-0"] != 1 {
			return fmt.Errorf("deleted: %v", s.deleted)
		}
		return nil
	})
	if g.lists.Load() < 2 {
		t.Errorf("%d lists", g.lists.Load())
	}
}

// TestInformersOfManyKinds: informers of all the kinds that a controller manager has, in one process.
func TestInformersOfManyKinds(t *testing.T) {
	w := start(t)
	f := informers.NewSharedInformerFactory(w.clientset(t), 0)
	ctx, cancel := context.WithTimeout(w.ctx, cluster.Patience)
	defer cancel()
	all := manyKinds(f)
	f.StartWithContext(ctx)
	defer f.Shutdown()
	defer cancel()
	for _, inf := range all {
		if !cache.WaitForCacheSync(ctx.Done(), inf.HasSynced) {
			t.Fatal("an informer did not sync")
		}
	}
}

func manyKinds(f informers.SharedInformerFactory) []cache.SharedIndexInformer {
	core, apps := f.Core().V1(), f.Apps().V1()
	return []cache.SharedIndexInformer{
		core.Pods().Informer(), core.Nodes().Informer(), core.Services().Informer(), core.Secrets().Informer(), core.Namespaces().Informer(),
		core.ServiceAccounts().Informer(), core.PersistentVolumes().Informer(), core.PersistentVolumeClaims().Informer(),
		core.ReplicationControllers().Informer(), core.ResourceQuotas().Informer(), core.LimitRanges().Informer(), core.Events().Informer(),
		apps.Deployments().Informer(), apps.ReplicaSets().Informer(), apps.StatefulSets().Informer(), apps.DaemonSets().Informer(),
		apps.ControllerRevisions().Informer(), f.Batch().V1().Jobs().Informer(), f.Batch().V1().CronJobs().Informer(),
		f.Autoscaling().V2().HorizontalPodAutoscalers().Informer(), f.Policy().V1().PodDisruptionBudgets().Informer(),
		f.Networking().V1().Ingresses().Informer(), f.Networking().V1().NetworkPolicies().Informer(), f.Discovery().V1().EndpointSlices().Informer(),
		f.Storage().V1().StorageClasses().Informer(), f.Storage().V1().CSINodes().Informer(), f.Coordination().V1().Leases().Informer(),
		f.Rbac().V1().Roles().Informer(), f.Rbac().V1().ClusterRoleBindings().Informer(), f.Scheduling().V1().PriorityClasses().Informer(),
	}
}
