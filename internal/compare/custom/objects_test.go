package custom

import (
	"flag"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

var (
	resources = flag.Int("custom.resources", 20, "definitions whose objects to compare")
	sequences = flag.Int("custom.sequences", 8, "sequences of requests about an object of each of them")
	steps     = flag.Int("custom.steps", 10, "requests in a sequence")
)

// define makes a random definition that both servers serve.
func (p pair) define(t *testing.T, n int) (*resource, string) {
	t.Helper()
	g := newGenerator(*seed, 2_000_000+uint64(n), false)
	d := p.ours.accepted(t, g.definition(fmt.Sprintf("o%ds", n), "objects.test"))
	if d == nil {
		return nil, ""
	}
	r := newResource(d)
	one := definitionsPath + "/" + r.plural + "." + r.group
	want, got := p.both(t, request{method: "POST", path: definitionsPath, media: jsonType, body: encoded(d)})
	if want.code != http.StatusCreated || got.code != http.StatusCreated {
		t.Fatalf("%s\n%+v\n%+v", encoded(d), want, got)
	}
	p.settled(t, one)
	for _, v := range r.served {
		for _, a := range []*api{p.real, p.ours} {
			for deadline := time.Now().Add(patience); a.send(t, request{method: "GET", path: r.path(v)}).code != http.StatusOK; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%s is not served", r.path(v))
				}
			}
		}
	}
	return r, one
}

// Objects of defined kinds live the same lives, and look the same in every form.
func TestObjects(t *testing.T) {
	p := start(t)
	found := findings{}
	sent := 0
	for n := range *resources {
		r, one := p.define(t, n)
		if r == nil {
			continue
		}
		since := [2]string{p.version(t, p.real, r), p.version(t, p.ours, r)}
		broken := false
		for s := range *sequences {
			k, differ := p.sequence(t, r, n, s, found)
			sent, broken = sent+k, broken || differ
		}
		if !broken {
			p.history(t, r, n, since, found)
		}
		p.remove(t, one)
	}
	t.Logf("%d requests", sent)
	report(t, "object", found)
}

func (p pair) version(t *testing.T, a *api, r *resource) string {
	list := a.send(t, request{method: "GET", path: r.path(r.served[0])})
	return fmt.Sprint(within(list.body, "metadata")["resourceVersion"])
}

// sequence sends requests about one object; it ends at the first difference, after which the servers hold other
// objects. Differ tells whether there was one.
func (p pair) sequence(t *testing.T, r *resource, n, s int, found findings) (sent int, differ bool) {
	w := &writer{newGenerator(*seed, uint64(3_000_000+1000*n+s), false), r, fmt.Sprintf("s%d", s)}
	item := r.path(r.served[0]) + "/" + w.name
	for i := range *steps {
		rq := w.next()
		if i == 0 {
			rq = w.create()
		}
		want, got := p.both(t, rq)
		sent++
		if found.compare(r.what(&rq), fmt.Sprintf("%d/%d: %s", n, s, &rq), want, got) {
			differ = true
			break
		}
	}
	if !differ && w.in(2) {
		return sent, false // the object stays for lists and the history
	}
	for _, a := range []*api{p.real, p.ours} {
		a.send(t, request{method: "PATCH", path: item, media: mergeType, body: []byte(`{"metadata":{"finalizers":null}}`)})
		a.send(t, request{method: "DELETE", path: item, media: jsonType, body: []byte(`{"gracePeriodSeconds":0}`)})
	}
	return sent, differ
}

// what tells what kind of request it is.
func (k *resource) what(r *request) string {
	media := strings.NewReplacer("application/", "", "+json", "", "+yaml", "").Replace(r.media)
	if r.method == "GET" {
		media, _, _ = strings.Cut(strings.TrimPrefix(r.accept, "application/"), ",")
	}
	path, _, _ := strings.Cut(r.path, "?")
	sub := ""
	for _, name := range []string{"status", "scale", "nosuch"} {
		if strings.HasSuffix(path, "/"+name) {
			sub = " " + name
		}
	}
	if k.various {
		sub += " of several schemas"
	}
	return strings.ReplaceAll(strings.TrimSpace("object "+r.method+" "+media)+sub, "  ", " ")
}

// history compares what watches and lists tell in the end, and the removal of all that is left.
func (p pair) history(t *testing.T, r *resource, n int, since [2]string, found findings) {
	for _, v := range r.served {
		queries := []string{"", "&labelSelector=a", "&fieldSelector=metadata.name%3Ds1"}
		if f := r.fields[v]; len(f) > 0 {
			queries = append(queries, "&fieldSelector="+f[0]+"%21%3Da")
		}
		g := newGenerator(*seed, uint64(4_000_000+n), false)
		q := oneOf(g, queries...)
		accept := oneOf(g, "", "", "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
		var answers [2]answer
		done := make(chan bool)
		for i, a := range []*api{p.real, p.ours} {
			go func() {
				answers[i] = a.send(t, request{method: "GET", path: r.path(v) + "?watch=1&timeoutSeconds=1&resourceVersion=" + since[i] + q, accept: accept})
				done <- true
			}()
		}
		<-done
		<-done
		found.compare("object watch", fmt.Sprintf("%d: %s %s %s", n, v, q, accept), answers[0], answers[1])
		for _, rq := range []request{
			{method: "GET", path: r.path(v)},
			{method: "GET", path: r.path(v), accept: "application/json;as=Table;v=v1;g=meta.k8s.io"},
			{method: "DELETE", path: r.path(v) + "?dryRun=All" + q},
		} {
			want, got := p.both(t, rq)
			found.compare("object collection "+rq.method, fmt.Sprintf("%d: %s", n, &rq), want, got)
		}
	}
	rq := request{method: "DELETE", path: r.path(r.served[0])}
	want, got := p.both(t, rq)
	found.compare("object collection DELETE", fmt.Sprintf("%d: %s", n, &rq), want, got)
}
