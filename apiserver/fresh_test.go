package apiserver_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// freshReader compares what clients get with what is in the store, decoded anew.
type freshReader struct {
	t     *testing.T
	s     *apiserver.Server
	st    *store.Store
	coder apiserver.Coder
	proto runtime.Serializer
}

func newFreshReader(t *testing.T, s *apiserver.Server, st *store.Store) *freshReader {
	coder, err := apiserver.NewCoder(podKind())
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return &freshReader{t, s, st, coder, protobuf.NewSerializer(scheme, scheme)}
}

// stored returns the pods at a revision, none of whose entries keeps anything.
func (f *freshReader) stored(revision int64) []*corev1.Pod {
	const prefix = "/registry/core/pods/"
	all, err := f.st.Range(f.t.Context(), store.Range{Key: prefix, End: store.PrefixEnd(prefix), Revision: revision})
	if err != nil {
		f.t.Fatal(err)
	}
	var out []*corev1.Pod
	for _, e := range all.Entries {
		obj, err := f.coder.Object(&store.Entry{Key: e.Key, Value: e.Value, ModRevision: e.ModRevision})
		if err != nil {
			f.t.Fatal(err)
		}
		out = append(out, obj.(*corev1.Pod))
	}
	return out
}

// read gets a URL in JSON or protobuf.
func (f *freshReader) read(path, media string, into runtime.Object) (found bool) {
	w := do(f.s, "GET", path, "", "Accept", media)
	if w.Code == http.StatusNotFound {
		return false
	}
	if w.Code != http.StatusOK {
		f.t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	var err error
	if media == "application/json" {
		err = json.Unmarshal(w.Body.Bytes(), into)
	} else {
		_, _, err = f.proto.Decode(w.Body.Bytes(), nil, into)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return true
}

// watchHTTP begins a watch over HTTP. The function returned waits for its first events.
func (f *freshReader) watchHTTP(ctx context.Context, host, from, media string) func(n int) []string {
	r, err := http.NewRequestWithContext(ctx, "GET", host+"/api/v1/pods?watch=1&resourceVersion="+from, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Accept", media+";stream=watch,"+media)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = answer.Body.Close() })
	return func(n int) []string {
		var out []string
		for range n {
			ev, err := f.nextEvent(answer.Body, media)
			if err != nil {
				f.t.Fatal(err)
			}
			var pod corev1.Pod
			if media == "application/json" {
				err = json.Unmarshal(ev.Object.Raw, &pod)
			} else {
				_, _, err = f.proto.Decode(ev.Object.Raw, nil, &pod)
			}
			if err != nil {
				f.t.Fatal(err)
			}
			pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
			out = append(out, eventText(f.t, watch.EventType(ev.Type), &pod))
		}
		return out
	}
}

func (f *freshReader) nextEvent(body io.Reader, media string) (ev metav1.WatchEvent, err error) {
	if media == "application/json" {
		var line []byte
		one := make([]byte, 1)
		for len(line) == 0 || line[len(line)-1] != '\n' {
			if _, err := io.ReadFull(body, one); err != nil {
				return ev, err
			}
			line = append(line, one...)
		}
		return ev, json.Unmarshal(line, &ev)
	}
	var size [4]byte
	if _, err := io.ReadFull(body, size[:]); err != nil {
		return ev, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(body, b); err != nil {
		return ev, err
	}
	return ev, ev.Unmarshal(b)
}

// sameItems compares the items of a list, which have no type, with pods.
func (f *freshReader) sameItems(what string, got []corev1.Pod, want []*corev1.Pod) {
	f.t.Helper()
	if len(got) != len(want) {
		f.t.Fatalf("%s: %d pods, stored are %d", what, len(got), len(want))
	}
	for i := range got {
		got[i].TypeMeta = want[i].TypeMeta
		if !equality.Semantic.DeepEqual(&got[i], want[i]) {
			f.t.Fatalf("%s:\n%v\nstored is\n%v", what, &got[i], want[i])
		}
	}
}

func (f *freshReader) round(rnd *rand.Rand) {
	media := pick(rnd, "application/json", "application/vnd.kubernetes.protobuf")
	i := rnd.IntN(len(selections))
	q := url.Values{}
	if selections[i].labels != "" {
		q.Set("labelSelector", selections[i].labels)
	}
	if selections[i].fields != "" {
		q.Set("fieldSelector", selections[i].fields)
	}
	if rnd.IntN(3) == 0 {
		q, i = url.Values{}, -1
	}
	path := "/api/v1/pods?" + q.Encode()
	var list corev1.PodList
	f.read(path, media, &list)
	revision, err := strconv.ParseInt(list.ResourceVersion, 10, 64)
	if err != nil {
		f.t.Fatal(err)
	}
	want := f.stored(revision)
	if i >= 0 {
		names := selectedBy(f.t, want, i, "")
		want = slices.DeleteFunc(want, func(p *corev1.Pod) bool {
			return !slices.Contains(names, p.Namespace+"/"+p.Name+"@"+p.ResourceVersion)
		})
	}
	f.sameItems(path+" in "+media, list.Items, want)
	if len(list.Items) == 0 {
		return
	}
	// One of them, as it is by now.
	name := list.Items[rnd.IntN(len(list.Items))]
	path = fmt.Sprintf("/api/v1/namespaces/%s/pods/%s", name.Namespace, name.Name)
	var pod corev1.Pod
	if !f.read(path, media, &pod) {
		return
	}
	revision, err = strconv.ParseInt(pod.ResourceVersion, 10, 64)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, p := range f.stored(revision) {
		if p.Namespace == pod.Namespace && p.Name == pod.Name && !equality.Semantic.DeepEqual(&pod, p) {
			f.t.Fatalf("%s in %s:\n%v\nstored is\n%v", path, media, &pod, p)
		}
	}
}

// Whatever is kept of objects, their encodings and indexes, no reader ever gets bytes of another state: each answer is
// what the store has at its revision, decoded anew. Watches in all forms tell the same.
func TestReadsAreFresh(t *testing.T) {
	s, st := openServer(t, asAdmin)
	pods := client.For[*corev1.Pod](s.Client(admin))
	fillPods(t, pods, 140)
	f := newFreshReader(t, s, st)
	hs := httptest.NewServer(s.Handler())
	defer hs.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	from := strconv.FormatInt(st.Revision(), 10)
	watches := []func(n int) []string{
		f.watchHTTP(ctx, hs.URL, from, "application/json"),
		f.watchHTTP(ctx, hs.URL, from, "application/vnd.kubernetes.protobuf"),
	}

	const steps = 150
	var wg sync.WaitGroup
	for i := range 2 {
		w := &podWriter{pods, rand.New(rand.NewPCG(uint64(i), 11)), []string{"w", "v"}[i]}
		wg.Go(func() {
			for range steps {
				w.step(t)
			}
		})
	}
	rnd := rand.New(rand.NewPCG(5, 5))
	for range 40 {
		f.round(rnd)
	}
	wg.Wait()
	f.round(rnd)
	events, err := pods.Watch(ctx, "", metav1.ListOptions{ResourceVersion: from})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	last, err := pods.Create(ctx, testPod("last"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for ev := range events.ResultChan() {
		want = append(want, eventText(t, ev.Type, ev.Object))
		if ev.Object.(*corev1.Pod).UID == last.UID {
			break
		}
	}
	for i, got := range watches {
		if got := got(len(want)); !slices.Equal(got, want) {
			t.Errorf("watch %d tells\n%v\nin process it is\n%v", i, got, want)
		}
	}
}

// eventText is an event with all of its object.
func eventText(t *testing.T, typ watch.EventType, obj runtime.Object) string {
	b, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	return string(typ) + " " + string(b)
}
