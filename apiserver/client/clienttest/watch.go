package clienttest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// version is the newest version of the namespace's config maps.
func (e env) version(t *testing.T) string {
	t.Helper()
	l, err := e.maps.List(e.ctx, e.ns, metav1.ListOptions{})
	must(t, err)
	return l.ResourceVersion
}

func testWatchFromList(t *testing.T, e env) {
	e.create(t, e.configMap("a"))
	from := e.version(t)
	e.create(t, e.configMap("b")) // before the watch begins, after the list
	w := e.watch(t, metav1.ListOptions{ResourceVersion: from})
	_, err := e.maps.Patch(e.ctx, e.ns, "a", types.MergePatchType, []byte(`{"data":{"k":"v"}}`), "")
	must(t, err)
	must(t, e.maps.Delete(e.ctx, e.ns, "b", metav1.DeleteOptions{}))
	equal(t, "story", story(t, w, 2), "ADDED b, MODIFIED a")
	ev := next(t, w)
	gone := ev.Object.(*corev1.ConfigMap)
	equal(t, "event", string(ev.Type)+" "+gone.Name, "DELETED b")
	if gone.ResourceVersion == from || number(t, gone.ResourceVersion) <= number(t, e.mapVersion(t, "a")) {
		t.Errorf("the deletion's version %s is not that of the deletion", gone.ResourceVersion)
	}
}

func (e env) mapVersion(t *testing.T, name string) string {
	t.Helper()
	m, err := e.maps.Get(e.ctx, e.ns, name)
	must(t, err)
	return m.ResourceVersion
}

func number(t *testing.T, version string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(version, 10, 64)
	must(t, err)
	return n
}

func testWatchInitial(t *testing.T, e env) {
	e.create(t, e.configMap("a"))
	e.create(t, e.configMap("b"))
	for _, version := range []string{"", "0"} {
		w := e.watch(t, metav1.ListOptions{ResourceVersion: version})
		equal(t, "story from "+version, story(t, w, 2), "ADDED a, ADDED b")
	}
	w := e.watch(t, metav1.ListOptions{FieldSelector: "metadata.name=b"})
	equal(t, "one object", story(t, w, 1), "ADDED b")
}

func testWatchList(t *testing.T, e env) {
	e.create(t, e.configMap("a"))
	send := true
	w := e.watch(t, metav1.ListOptions{SendInitialEvents: &send, AllowWatchBookmarks: true,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan})
	equal(t, "story", story(t, w, 1), "ADDED a")
	for {
		select {
		case ev := <-w.ResultChan():
			m, ok := ev.Object.(*corev1.ConfigMap)
			if !ok {
				t.Fatalf("a %s event with a %T", ev.Type, ev.Object)
			}
			if ev.Type != watch.Bookmark {
				continue // kube-root-ca.crt
			}
			equal(t, "annotation", m.Annotations[metav1.InitialEventsAnnotationKey], "true")
			if m.ResourceVersion == "" {
				t.Error("the bookmark has no version")
			}
			e.create(t, e.configMap("b"))
			equal(t, "story", story(t, w, 1), "ADDED b")
			return
		case <-time.After(patience):
			t.Fatal("no bookmark ended the initial events")
		}
	}
}

func testWatchSelectors(t *testing.T, e env) {
	w := e.watch(t, metav1.ListOptions{LabelSelector: "in=yes", ResourceVersion: e.version(t)})
	m := e.configMap("a")
	m.Labels = map[string]string{"in": "no"}
	e.create(t, m)
	for _, step := range []string{`{"metadata":{"labels":{"in":"yes"}}}`, `{"data":{"k":"v"}}`,
		`{"metadata":{"labels":{"in":"no"}}}`, `{"data":{"k":"w"}}`, `{"metadata":{"labels":{"in":"yes"}}}`} {
		_, err := e.maps.Patch(e.ctx, e.ns, "a", types.MergePatchType, []byte(step), "")
		must(t, err)
	}
	equal(t, "story", story(t, w, 4), "ADDED a, MODIFIED a, DELETED a, ADDED a")
}

func testWatchEnds(t *testing.T, e env) {
	e.create(t, e.configMap("a"))
	stopped := e.watch(t, metav1.ListOptions{})
	story(t, stopped, 1)
	stopped.Stop()
	stopped.Stop()
	ended(t, "Stop", stopped)
	ctx, cancel := context.WithCancel(e.ctx)
	w, err := e.maps.Watch(ctx, e.ns, metav1.ListOptions{})
	must(t, err)
	defer w.Stop()
	cancel()
	ended(t, "the end of ctx", w)
	second := int64(1)
	ended(t, "its time-out", e.watch(t, metav1.ListOptions{TimeoutSeconds: &second}))
}

// ended waits for the channel to be closed.
func ended(t *testing.T, why string, w watch.Interface) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, ok := <-w.ResultChan():
			if !ok {
				return
			}
		case <-deadline:
			t.Fatalf("the watch did not end after %s", why)
		}
	}
}

// testWatchGapless has writers at work while watches begin at each version that was seen; each watch
// must see exactly what came after its own start.
func testWatchGapless(t *testing.T, e env) {
	start := e.version(t)
	const writers, each = 4, 25
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := range each {
				if _, err := e.maps.Create(e.ctx, e.configMap(fmt.Sprintf("m-%d-%d", i, j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	whole := e.watch(t, metav1.ListOptions{ResourceVersion: start})
	var versions []string
	for len(versions) < writers*each {
		ev := next(t, whole)
		versions = append(versions, ev.Object.(*corev1.ConfigMap).ResourceVersion)
	}
	wg.Wait()
	for i := 1; i < len(versions); i++ {
		if number(t, versions[i]) <= number(t, versions[i-1]) {
			t.Fatalf("out of order: %s after %s", versions[i], versions[i-1])
		}
	}
	for i := 0; i < len(versions)-1; i += 9 {
		w := e.watch(t, metav1.ListOptions{ResourceVersion: versions[i]})
		for _, want := range versions[i+1:] {
			equal(t, "version", next(t, w).Object.(*corev1.ConfigMap).ResourceVersion, want)
		}
		w.Stop()
	}
}

func testGone(t *testing.T, e env) {
	if e.opts.Compact == nil {
		t.Skip("this server can't be made to forget old versions")
	}
	e.create(t, e.configMap("a"))
	old := e.version(t)
	e.create(t, e.configMap("b"))
	l, err := e.maps.List(e.ctx, e.ns, metav1.ListOptions{Limit: 1})
	must(t, err)
	e.create(t, e.configMap("c"))
	e.opts.Compact(t)
	w, err := e.maps.Watch(e.ctx, e.ns, metav1.ListOptions{ResourceVersion: old})
	if err == nil { // the refusal may come as an event, too
		ev := <-w.ResultChan()
		w.Stop()
		equal(t, "event", ev.Type, watch.Error)
		err = apierrors.FromObject(ev.Object)
	}
	if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		t.Errorf("watch: %v", err)
	}
	_, err = e.maps.List(e.ctx, e.ns, metav1.ListOptions{Limit: 1, Continue: l.Continue})
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("continue: %v", err)
	}
}
