package managed

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/internal/compare/kube"
)

var (
	sequences = flag.Int("sequences", 60, "random sequences of writes for each kind")
	from      = flag.Int64("from", 1, "seed of the first sequence")
)

// api is a server to send requests to.
type api struct {
	url    string
	client *http.Client
	// last is the object's last resourceVersion.
	last string
}

type answer struct {
	code int
	body object
}

func (a *api) send(t *testing.T, method, path, media string, body any) answer {
	t.Helper()
	data, ok := body.([]byte)
	if !ok && body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, a.url+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer compare")
	req.Header.Set("User-Agent", "comparer/1.0 (test)")
	req.Header.Set("Content-Type", media)
	resp, err := a.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := answer{code: resp.StatusCode, body: object{}}
	if err := json.Unmarshal(raw, &out.body); err != nil {
		t.Fatalf("%s %s: %v: %s", method, path, err, raw)
	}
	return out
}

// write is one write, sent to both servers.
type write struct {
	method, path, media string
	body                any
	// edit changes the object as it is on each server; the result is the body.
	edit func(o object)
}

func (w write) String() string {
	b, _ := json.Marshal(w.body)
	return fmt.Sprintf("%s %s %s %s", w.method, w.path, w.media, b)
}

func (a *api) do(t *testing.T, w write) answer {
	if w.edit != nil {
		path, _, _ := strings.Cut(w.path, "?")
		got := a.send(t, "GET", path, "application/json", nil)
		if got.code != 200 {
			return got
		}
		w.edit(got.body)
		w.body = got.body
	}
	return a.send(t, w.method, w.path, w.media, w.body)
}

const (
	applyType = "application/apply-patch+yaml"
	mergeType = "application/merge-patch+json"
)

// next returns a random write of an object of kind k.
func (k *kind) next(r *rand.Rand, name string) write {
	path := k.path + "/" + name
	query := "?fieldManager=" + pick(r, "one", "two", "three", "kubectl")
	if r.Intn(10) == 0 {
		query = "?"
	}
	dry := ""
	if r.Intn(8) == 0 {
		dry = "&dryRun=All"
	}
	force := ""
	if r.Intn(3) == 0 {
		force = "&force=true"
	}
	seed := r.Int63()
	random := func() *rand.Rand { return rand.New(rand.NewSource(seed)) }
	switch n := r.Intn(20); {
	case n < 9:
		return write{"PATCH", path + query + dry + force, applyType, k.object(r, name, r.Intn(3) > 0), nil}
	case n < 12:
		return write{"PUT", path + query + dry, "application/json", nil, func(o object) {
			r := random()
			k.fill(r, o)
			maybe(r, 3, within(o, "metadata"), "labels", func() any { return some(r, "x", "y") })
			if r.Intn(8) == 0 {
				delete(within(o, "metadata"), "managedFields")
			}
			if r.Intn(3) == 0 {
				within(o, "metadata", "annotations")["kubectl.kubernetes.io/last-applied-configuration"] = lastApplied(r, k, name)
			}
		}}
	case n < 15:
		o := k.object(r, name, false)
		delete(o, "apiVersion")
		return write{"PATCH", path + query + dry, mergeType, o, nil}
	case n < 16:
		return write{"PATCH", path + query, mergeType, object{"metadata": object{"managedFields": []any{object{}}}}, nil}
	case n < 17:
		return write{"DELETE", path, "application/json", nil, nil}
	case n < 19 && k.status != nil:
		o := object{"apiVersion": k.apiVersion, "kind": k.kind, "metadata": object{"name": name, "labels": some(r, "x", "s")}}
		for key, v := range k.status(r) {
			o[key] = v
		}
		if r.Intn(3) > 0 {
			return write{"PATCH", path + "/status" + query + dry + force, applyType, o, nil}
		}
		return write{"PATCH", path + "/status" + query + dry, mergeType, o, nil}
	case n < 20 && k.scale:
		o := object{"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": object{"name": name}, "spec": object{"replicas": r.Intn(4)}}
		return write{"PATCH", path + "/scale" + query + dry + pick(r, "", force), pick(r, applyType, applyType, mergeType), o, nil}
	}
	o := k.object(r, name, true)
	delete(within(o, "metadata"), "resourceVersion") // for which kube-apiserver has a 500
	return write{"POST", k.path + query, "application/json", o, nil}
}

func lastApplied(r *rand.Rand, k *kind, name string) string {
	o := k.object(r, name, true)
	delete(o, "nosuchfield")
	b, _ := json.Marshal(o)
	return string(b)
}

var volatile = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|` +
	`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|"(uid|resourceVersion)":"[^"]*"|Key: [^,]*|\\"(uid|resourceVersion)\\":\\"[^"]*\\"`)

// outcome is what is compared of an answer.
func (k *kind) outcome(a *api, w write, got answer) string {
	out := object{"code": got.code}
	meta := within(got.body, "metadata")
	if got.code >= 300 || got.body["kind"] == "Status" {
		causes := []string{}
		if d, ok := got.body["details"].(object); ok {
			list, _ := d["causes"].([]any)
			for _, c := range list {
				causes = append(causes, fmt.Sprint(c))
			}
		}
		slices.Sort(causes)
		out["reason"], out["message"], out["causes"] = got.body["reason"], sorted(fmt.Sprint(got.body["message"])), causes
	} else {
		out["managers"] = managers(meta)
		out["labels"], out["annotations"], out["finalizers"] = meta["labels"], meta["annotations"], meta["finalizers"]
		for _, f := range k.compareAlso {
			out[f] = got.body[f]
		}
		version := fmt.Sprint(meta["resourceVersion"])
		if w.method != "DELETE" {
			out["changed"] = version != a.last
		}
		if !strings.Contains(w.path, "dryRun") {
			a.last = version
		}
	}
	b, _ := json.MarshalIndent(out, "", " ")
	return volatile.ReplaceAllString(string(b), "~")
}

// sorted puts the lines of a message in order: conflicts come as they are found.
func sorted(message string) string {
	if before, _, several := strings.Cut(message, ": errors:\n"); several || strings.HasPrefix(message, "failed to create typed") {
		before, _, _ = strings.Cut(before, ": .")
		return before // of several errors about a configuration any number is told
	}
	lines := strings.Split(message, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func managers(meta object) []string {
	out := []string{}
	list, _ := meta["managedFields"].([]any)
	for _, e := range list {
		entry := e.(object)
		if entry["time"] != nil {
			entry["time"] = "some"
		}
		b, _ := json.Marshal(entry)
		out = append(out, string(b))
	}
	slices.Sort(out)
	return out
}

func (k *kind) run(t *testing.T, seed int64, real, ours *api) {
	r := rand.New(rand.NewSource(seed))
	name := fmt.Sprintf("s%d", seed)
	var story []string
	defer func() {
		for _, a := range []*api{real, ours} {
			a.send(t, "PATCH", k.path+"/"+name, mergeType, object{"metadata": object{"finalizers": nil}})
			a.send(t, "DELETE", k.path+"/"+name, "application/json", nil)
		}
	}()
	for range 12 {
		w := k.next(r, name)
		story = append(story, w.String())
		want, got := k.outcome(real, w, real.do(t, w)), k.outcome(ours, w, ours.do(t, w))
		if want != got {
			t.Errorf("%s, seed %d:\n%s\nkube-apiserver: %s\nours: %s", k.kind, seed, strings.Join(story, "\n"), want, got)
			return
		}
	}
}

// Random sequences of writes by several managers leave both servers with the same managed fields, and
// get the same conflicts.
func TestSequences(t *testing.T) {
	cfg := kube.Start(t)
	hc, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	real := &api{url: cfg.Host, client: hc}
	s := apitest.Open(t, func(c *apiserver.Config) {
		c.Authentication.Tokens = map[string]apiserver.Identity{"compare": {User: "admin", Groups: []string{apiserver.GroupMasters}}}
	})
	srv := httptest.NewServer(s.API.Handler())
	t.Cleanup(srv.Close)
	ours := &api{url: srv.URL, client: srv.Client()}
	for _, k := range []*kind{&configMaps, &services, &deployments} {
		t.Run(k.kind, func(t *testing.T) {
			for i := range int64(*sequences) {
				k.run(t, *from+i, real, ours)
			}
		})
	}
}
