// Package clienttest holds every implementation of the client contract to the same rules: run in
// process, over the HTTP handler and package rest, and against a real kube-apiserver.
package clienttest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver/client"
)

// Options tell what the server at hand can do besides.
type Options struct {
	// Compact, when not nil, makes the server forget all versions but the newest.
	Compact func(t *testing.T)
}

// patience bounds each wait for something that must happen.
const patience = 30 * time.Second

// Run runs the suite. Each test gets a client from open, whose identity may do everything, and works
// in a namespace of its own.
func Run(t *testing.T, open func(t *testing.T) client.Interface, opts Options) {
	for _, tc := range []struct {
		name string
		test func(*testing.T, env)
	}{
		{"CreateGetDelete", testCreateGetDelete},
		{"CopiesAreTheCallers", testCopies},
		{"TypeMetaIsSet", testTypeMeta},
		{"Errors", testErrors},
		{"GenerateName", testGenerateName},
		{"UpdateConflicts", testUpdateConflicts},
		{"ConcurrentUpdates", testConcurrentUpdates},
		{"Patch", testPatch},
		{"PatchErrors", testPatchErrors},
		{"DryRun", testDryRun},
		{"Preconditions", testPreconditions},
		{"Finalizers", testFinalizers},
		{"StatusAndSpec", testStatusAndSpec},
		{"Binding", testBinding},
		{"Eviction", testEviction},
		{"ListSelectors", testListSelectors},
		{"ListPages", testListPages},
		{"ResourceVersions", testResourceVersions},
		{"WatchFromList", testWatchFromList},
		{"WatchInitial", testWatchInitial},
		{"WatchList", testWatchList},
		{"WatchSelectors", testWatchSelectors},
		{"WatchEnds", testWatchEnds},
		{"WatchGapless", testWatchGapless},
		{"Gone", testGone},
		{"Cancelled", testCancelled},
		{"ResourceFor", testResourceFor},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			c := Guard(t, open(t))
			tc.test(t, env{ctx: ctx, c: c, ns: namespace(ctx, t, c), opts: opts,
				maps: client.For[*corev1.ConfigMap](c), pods: client.For[*corev1.Pod](c)})
		})
	}
}

// env is what a test works with.
type env struct {
	ctx  context.Context
	c    client.Interface
	ns   string
	opts Options
	maps client.Typed[*corev1.ConfigMap]
	pods client.Typed[*corev1.Pod]
}

// namespace makes a namespace that goes when the test ends.
func namespace(ctx context.Context, t *testing.T, c client.Interface) string {
	t.Helper()
	spaces := client.For[*corev1.Namespace](c)
	ns, err := spaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "clienttest-"}})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = spaces.Delete(ctx, "", ns.Name, metav1.DeleteOptions{})
	})
	return ns.Name
}

func (e env) configMap(name string, kv ...string) *corev1.ConfigMap {
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: name}, Data: map[string]string{}}
	for i := 0; i < len(kv); i += 2 {
		m.Data[kv[i]] = kv[i+1]
	}
	return m
}

func (e env) pod(name string) *corev1.Pod {
	no := false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: name},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: &no,
			// No scheduler and no kubelet takes it, whatever else the server has.
			SchedulerName: "clienttest", Containers: []corev1.Container{{Name: "c", Image: "none.invalid/none"}},
		},
	}
}

func (e env) create(t *testing.T, m *corev1.ConfigMap) *corev1.ConfigMap {
	t.Helper()
	out, err := e.maps.Create(e.ctx, m)
	must(t, err)
	return out
}

func (e env) createPod(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	out, err := e.pods.Create(e.ctx, e.pod(name))
	must(t, err)
	return out
}

// watch starts a watch of the config maps of the namespace.
func (e env) watch(t *testing.T, opts metav1.ListOptions) watch.Interface {
	t.Helper()
	w, err := e.maps.Watch(e.ctx, e.ns, opts)
	must(t, err)
	t.Cleanup(w.Stop)
	return w
}

// next returns the next event that is no bookmark.
func next(t *testing.T, w watch.Interface) watch.Event {
	t.Helper()
	for {
		select {
		case ev, ok := <-w.ResultChan():
			if !ok {
				t.Fatal("the watch ended")
			}
			if ev.Type != watch.Bookmark {
				return ev
			}
		case <-time.After(patience):
			t.Fatal("no event came")
		}
	}
}

// story says in words what the next n events are: "ADDED a, MODIFIED a". Config maps that Kubernetes
// makes itself in each namespace are left out.
func story(t *testing.T, w watch.Interface, n int) string {
	t.Helper()
	var words []string
	for len(words) < n {
		ev := next(t, w)
		o, ok := ev.Object.(client.Object)
		if !ok {
			t.Fatalf("event %s with a %T: %v", ev.Type, ev.Object, ev.Object)
		}
		if o.GetName() != rootCA {
			words = append(words, fmt.Sprintf("%s %s", ev.Type, o.GetName()))
		}
	}
	return strings.Join(words, ", ")
}

// rootCA is in every namespace of a cluster whose controllers run.
const rootCA = "kube-root-ca.crt"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
