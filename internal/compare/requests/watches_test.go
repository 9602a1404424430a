package requests

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSameWatches watches in both servers what the same writes change, and compares the events.
func TestSameWatches(t *testing.T) {
	real, ours := start(t)
	found := findings{}
	total := 0
	eachKind(t, real, ours, func(k *kind) {
		if k.GroupVersionKind.Kind == "Namespace" {
			return // what makes watches end is a deletion, and those of namespaces end only with their controller
		}
		for n := range *sequences / 3 {
			w := &watcher{generator: newGenerator(k, "w", n), found: found, servers: []*api{real, ours}}
			w.Rand = rand.New(rand.NewPCG(*seed+k.number(), uint64(n)))
			total += w.run(t)
		}
	})
	t.Logf("%d events", total)
	report(t, found, "watches")
}

// watcher makes one sequence of writes, and one watch of them.
type watcher struct {
	*generator
	found   findings
	servers []*api
}

const lastLabel = "last"

// run returns how many events there were.
func (w *watcher) run(t *testing.T) int {
	defer w.clean(t)
	before := w.IntN(3) // writes before the watch
	for i := range before {
		if w.differs(t, w.write(i)) {
			return 0
		}
	}
	path, header := w.kind.path+w.query(), http.Header{"Accept": {w.accept()}}
	var streams []*stream
	for _, a := range w.servers {
		s := a.watch(t, path, header)
		defer s.close()
		streams = append(streams, s)
	}
	for i := range 2 + w.IntN(*steps-2) {
		if w.differs(t, w.write(before+i)) {
			return 0
		}
	}
	w.clean(t)
	last := w.object(0)
	last["metadata"].(object)["labels"] = object{"sequence": w.name, lastLabel: "yes"}
	made := request{method: "POST", path: w.kind.path, media: jsonType, body: encoded(last)}
	if w.differs(t, made) || w.servers[0].send(t, made).code != http.StatusConflict {
		return 0 // it is not there
	}
	w.clean(t)
	want, got := streams[0].events(), streams[1].events()
	w.found.compare(w.kind, request{method: "WATCH", path: path, header: header}, want, got)
	seen, _ := want.body["events"].([]any)
	return len(seen)
}

// clean removes the object, whatever holds it.
func (w *watcher) clean(t *testing.T) {
	for _, a := range w.servers {
		a.send(t, request{method: "PATCH", path: w.kind.path + "/" + w.name, media: mergeType, body: []byte(`{"metadata":{"finalizers":null}}`)})
		a.send(t, request{method: "DELETE", path: w.kind.path + "/" + w.name, media: jsonType, body: []byte(`{"gracePeriodSeconds":0,"propagationPolicy":"Background"}`)})
	}
}

func (w *watcher) differs(t *testing.T, r request) bool {
	if w.kind.GroupVersionKind.Kind == "PriorityClass" {
		awaitDefaultClass(t, w.kind, w.servers[0])
	}
	want := w.servers[0].send(t, r)
	return want.code == 0 || w.found.compare(w.kind, r, want, w.servers[1].send(t, r))
}

// write is a write to the object: the first makes it, and some change whether selectors fit it.
func (w *watcher) write(i int) request {
	item := w.kind.path + "/" + w.name
	label := func(value any) request {
		return request{method: "PATCH", path: item, media: mergeType, body: encoded(object{"metadata": object{"labels": object{"sequence": value}}})}
	}
	if i > 0 {
		switch w.IntN(6) {
		case 0:
			return label(w.name)
		case 1:
			return label(nil)
		case 2:
			return label("other")
		}
	}
	for {
		r := w.next()
		if i == 0 {
			r = w.create()
		}
		if r.method != http.MethodGet {
			return r
		}
	}
}

// query is that of a watch that sees the last object.
func (w *watcher) query() string {
	q := []string{"watch=" + w.one("true", "1"), w.one(
		"labelSelector=sequence%3D"+w.name, "labelSelector=sequence+in+("+w.name+",none)", "labelSelector=sequence,sequence!%3Dother",
		"fieldSelector=metadata.name%3D"+w.name, "fieldSelector=metadata.name%3D"+w.name+"&labelSelector=sequence%3D"+w.name)}
	switch w.IntN(4) {
	case 0:
		q = append(q, "sendInitialEvents=true", "resourceVersionMatch=NotOlderThan", w.one("allowWatchBookmarks=true", "allowWatchBookmarks=true&resourceVersion=1", "resourceVersion="))
	case 1:
		q = append(q, w.one("timeoutSeconds=100", "timeoutSeconds=0", "limit=1", "pretty=true", "allowWatchBookmarks=false"))
	}
	return "?" + strings.Join(q, "&")
}

func (w *watcher) accept() string {
	return w.one(jsonType, jsonType, jsonType, protoType, "application/json;as=Table;g=meta.k8s.io;v=v1",
		"application/json;as=Table;g=meta.k8s.io;v=v1beta1", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
		"application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
}

// stream is a watch that goes on.
type stream struct {
	answer
	resp  *http.Response
	close context.CancelFunc
}

// watch begins a watch; it has begun when the answer has.
func (a *api) watch(t *testing.T, path string, header http.Header) *stream {
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header.Clone()
	req.Header.Set("Authorization", "Bearer compare")
	req.Header.Set("Accept-Encoding", "identity") // watches of lists are compressed by kube-apiserver alone
	s := &stream{close: cancel}
	if s.resp, err = a.client.Do(req); err != nil {
		cancel()
		s.answer = answer{code: -1, text: err.Error()}
		return s
	}
	s.code, s.header = s.resp.StatusCode, s.resp.Header
	return s
}

// events reads events until the last object is gone, and returns them as one object.
func (s *stream) events() answer {
	if s.resp == nil {
		return s.answer
	}
	defer s.resp.Body.Close()
	limit := time.AfterFunc(patience, s.close)
	defer limit.Stop()
	next := jsonEvent(s.resp.Body)
	if strings.HasPrefix(s.header.Get("Content-Type"), protoType) {
		next = protoEvent(bufio.NewReader(s.resp.Body))
	}
	all, bookmarks := []any{}, []any{}
	for {
		ev, err := next()
		if err != nil {
			s.text = fmt.Sprintf("after %d events: %v", len(all), err)
			break
		}
		if ev["type"] == "BOOKMARK" {
			if b := bookmarkOf(ev); b["annotations"] != nil { // others come when the time has come
				bookmarks = append(bookmarks, b)
			}
			continue
		}
		all = append(all, ev)
		if s.code != http.StatusOK || ev["type"] == "DELETED" && strings.Contains(string(encoded(ev)), `"`+lastLabel+`":"yes"`) {
			break
		}
	}
	s.body = object{"events": slices.Clip(all), "bookmarks": bookmarks, "ended": s.text}
	return s.answer
}

// bookmarkOf returns what a bookmark tells. When the one that ends the initial events comes depends on how far
// kube-apiserver's cache is, and of kinds whose internal type has no pointers the rest of it has zeros.
func bookmarkOf(ev object) object {
	obj, _ := ev["object"].(object)
	if rows, ok := obj["rows"].([]any); ok && len(rows) == 1 {
		obj, _ = rows[0].(object)["object"].(object)
	}
	meta, _ := obj["metadata"].(object)
	return object{"kind": obj["kind"], "apiVersion": obj["apiVersion"], "annotations": meta["annotations"]}
}

func jsonEvent(r io.Reader) func() (object, error) {
	d := json.NewDecoder(r)
	return func() (ev object, err error) { return ev, d.Decode(&ev) }
}
