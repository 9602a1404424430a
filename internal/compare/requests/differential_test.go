package requests

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/internal/compare/diff"
	"github.com/inboard/inboard/internal/compare/known"
)

var (
	sequences = flag.Int("requests.sequences", 12, "sequences of requests for each kind")
	steps     = flag.Int("requests.steps", 8, "requests in a sequence")
	seed      = flag.Uint64("requests.seed", 1, "seed of the requests")
	only      = flag.String("requests.kinds", "", "compare only kinds whose name this pattern matches")
)

// kind is a kind with good objects of it.
type kind struct {
	apiserver.Kind
	apiVersion, path string
	// namespace is the kind's own: what LimitRanges and ResourceQuotas say must reach no other kind.
	namespace string
	samples   []object
}

// newKind returns nil for kinds that can't be compared: those that nothing is stored of.
func newKind(t *testing.T, k apiserver.Kind) *kind {
	// kube-apiserver has a controller of its own that writes the status of flow schemas meanwhile.
	if k.Review != nil || k.GroupVersionKind.Kind == "FlowSchema" {
		return nil
	}
	raw, err := os.ReadFile("../kinds/testdata/" + strings.ToLower(k.GroupVersionKind.Kind) + ".yaml")
	if err != nil {
		t.Fatalf("no good objects of %s: %v", k.GroupVersionKind.Kind, err)
	}
	out := &kind{Kind: k, apiVersion: k.GroupVersion().String(), path: "/apis/" + k.GroupVersion().String()}
	if k.Group == "" {
		out.path = "/api/" + k.Version
	}
	if k.Namespaced {
		out.namespace = "of-" + k.Resource
		out.path += "/namespaces/" + out.namespace
	}
	out.path += "/" + k.Resource
	for _, doc := range strings.Split(string(raw), "\n---\n") {
		var o object
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		out.samples = append(out.samples, o)
	}
	return out
}

var volatile = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|10\.96\.\d+\.\d+|Key: [^,]*|Bad_[0-9a-z]{5}\b|^"\d+s"$|in record \(\d+\)`)

// places tell where in its own source a server was, and are left out.
var places = regexp.MustCompile(` in scheme "[^"]*"|\b(handlers|apiserver)\.`)

// aspects returns what is compared of an answer, by name.
func aspects(a answer) map[string]string {
	out := map[string]string{"code": fmt.Sprint(a.code)}
	if a.body == nil {
		out["text"] = strings.TrimSpace(a.text)
		return out
	}
	if a.body["kind"] == "Status" {
		out["reason"], out["message"] = fmt.Sprint(a.body["reason"]), sorted(fmt.Sprint(a.body["message"]))
		if d, ok := a.body["details"].(object); ok {
			var causes []string
			list, _ := d["causes"].([]any)
			for _, c := range list {
				if o, ok := c.(object); ok && o["field"] == "patch" {
					// It tells the whole document, in the form of a Go map or of JSON.
					delete(o, "message")
					delete(out, "message")
				}
				causes = append(causes, values.ReplaceAllString(string(encoded(c)), "value: ~: "))
			}
			slices.Sort(causes)
			out["causes"] = strings.Join(causes, "\n")
			if len(causes) > 0 {
				delete(out, "message") // it tells the causes, in any order
			}
			delete(d, "causes")
			out["details"] = string(encoded(d))
		}
	} else {
		flatten(out, "", a.body)
	}
	for k, v := range out {
		out[k] = volatile.ReplaceAllString(places.ReplaceAllString(v, ""), "~")
	}
	return out
}

// sorted sorts the lines of a text: what does not fit a schema is told in any order.
func sorted(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// values are what causes tell of values: kube-apiserver has them in the form of its internal types, and for
// some pointers null. After what is immutable a difference between such values may follow.
var values = regexp.MustCompile(`value: (\{.*\}|\[.*\]|null|\\"[^"]*\\"|-?\d+): |\\n@@.*`)

var index = regexp.MustCompile(`\[\d+\]`)

// own matches what any server has its own of. Descriptions of columns are texts for people.
var own = regexp.MustCompile(`\.columnDefinitions\[\d+\]\.description$|\.metadata\.continue$|\.metadata\.(managedFields|resourceVersion|uid)$|^(\.items\[\d+\])?\.spec\.(ports\[\d+\]\.nodePort|healthCheckNodePort)$`)

// flatten puts the leaves of an object into out, but for what differs between any two servers.
func flatten(out map[string]string, path string, v any) {
	if own.MatchString(path) {
		return
	}
	switch v := v.(type) {
	case object:
		for key, e := range v {
			flatten(out, path+"."+key, e)
		}
		if len(v) == 0 {
			out[path] = "{}"
		}
	case []any:
		for i, e := range v {
			flatten(out, fmt.Sprintf("%s[%d]", path, i), e)
		}
		if len(v) == 0 {
			out[path] = "[]"
		}
	default:
		out[path] = string(encoded(v))
	}
}

// findings are the differences by what they are, with one example each.
type findings map[string]*finding

type finding struct {
	n       int
	example string
}

// compare adds how two answers differ, and tells whether they do.
func (f findings) compare(k *kind, r request, want, got answer) bool {
	theirs, ours := aspects(want), aspects(got)
	headers(theirs, want)
	headers(ours, got)
	keys := maps.Clone(theirs)
	maps.Copy(keys, ours)
	var differ []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if theirs[key] != ours[key] {
			differ = append(differ, key)
		}
	}
	if len(differ) == 0 {
		return false
	}
	media := strings.TrimSuffix(strings.TrimPrefix(r.media, "application/"), "+json")
	if r.method != "PATCH" {
		media = ""
	}
	first := differ[0]
	if slices.Contains(differ, "code") {
		first = fmt.Sprintf("code %d, not %d", got.code, want.code)
	}
	what := strings.TrimSpace(fmt.Sprintf("%s %s %s: %s", k.GroupVersionKind.Kind, r.method, media, index.ReplaceAllString(first, "[]")))
	what = strings.ReplaceAll(what, " :", ":")
	if f[what] == nil {
		var text strings.Builder
		fmt.Fprintf(&text, "%s\n", &r)
		for i, key := range differ {
			if i > 30 {
				fmt.Fprintf(&text, "      and %d more\n", len(differ)-i)
				break
			}
			a, b := diff.Alone(theirs[key], ours[key])
			fmt.Fprintf(&text, "      %s\n        kube-apiserver: %s\n        ours:           %s\n", key, diff.Cut(a, 4000), diff.Cut(b, 4000))
		}
		f[what] = &finding{example: text.String()}
	}
	f[what].n++
	return true
}

// run sends one sequence of requests, the first of which makes an object; it ends at the first difference, after which
// the servers hold other objects.
func run(t *testing.T, g *generator, real, ours *api, found findings, next func() request) (sent int) {
	k := g.kind
	defer func() {
		for _, a := range []*api{real, ours} {
			a.send(t, request{method: "PATCH", path: k.path + "/" + g.name, media: mergeType, body: []byte(`{"metadata":{"finalizers":null}}`)})
			a.send(t, request{method: "DELETE", path: k.path + "/" + g.name, media: jsonType, body: []byte(`{"gracePeriodSeconds":0}`)})
		}
	}()
	for i := range *steps {
		r := next()
		if i == 0 {
			r = g.create()
		}
		sent++
		if k.GroupVersionKind.Kind == "PriorityClass" {
			awaitDefaultClass(t, k, real)
		}
		want := real.send(t, r)
		if want.code == 0 {
			t.Logf("kube-apiserver panics at %s", &r)
			return sent
		}
		if found.compare(k, r, want, ours.send(t, r)) {
			return sent
		}
	}
	return sent
}

// awaitDefaultClass waits until kube-apiserver knows whether there is a default class: it asks an informer, which trails.
func awaitDefaultClass(t *testing.T, k *kind, real *api) {
	probe := encoded(object{"metadata": object{"name": "probe"}, "value": 1, "globalDefault": true})
	for deadline := time.Now().Add(patience); ; {
		there := false
		list, _ := real.send(t, request{method: "GET", path: k.path}).body["items"].([]any)
		for _, item := range list {
			class, _ := item.(object)
			there = there || class["globalDefault"] == true
		}
		refused := real.send(t, request{method: "POST", path: k.path + "?dryRun=All", media: jsonType, body: probe}).code == http.StatusForbidden
		if refused == there {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("kube-apiserver has a default class: %v; it refuses another: %v", there, refused)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// The same requests get the same answers.
func TestSameAnswers(t *testing.T) {
	real, ours := start(t)
	found := findings{}
	total := 0
	eachKind(t, real, ours, func(k *kind) {
		for n := range *sequences {
			g := newGenerator(k, "s", n)
			total += run(t, g, real, ours, found, g.next)
		}
	})
	t.Logf("%d requests", total)
	report(t, found, "known")
}

// eachKind calls f for each kind that can be compared; its namespace is there on both servers.
func eachKind(t *testing.T, real, ours *api, f func(*kind)) {
	chosen := regexp.MustCompile(*only)
	for _, row := range kinds.All() {
		k := newKind(t, row)
		if k == nil || !chosen.MatchString(row.GroupVersionKind.Kind) {
			continue
		}
		if real.send(t, request{method: "GET", path: k.path}).code == http.StatusNotFound {
			t.Logf("kube-apiserver does not serve %s by default", k.path)
			continue
		}
		if k.namespace != "" {
			for _, a := range []*api{real, ours} {
				ns := object{"metadata": object{"name": k.namespace}}
				if got := a.send(t, request{method: "POST", path: "/api/v1/namespaces", media: jsonType, body: encoded(ns)}); got.code != http.StatusCreated {
					t.Fatal(got)
				}
			}
		}
		f(k)
	}
}

// report fails for what is not known, and, in the usual run, for what is known and not found. Other runs may also find
// what that one does not come across, and what tests of another kind of requests do.
func report(t *testing.T, found findings, list string) {
	usual := true
	flag.Visit(func(f *flag.Flag) { usual = usual && !strings.HasPrefix(f.Name, "requests.") })
	file := "testdata/" + list + ".txt"
	understood := known.Read(t, file)
	if !usual {
		for _, other := range []string{"known", "seldom"} {
			understood = append(understood, known.Read(t, "testdata/"+other+".txt")...)
		}
	}
	used := map[string]bool{}
	keys := slices.Collect(maps.Keys(found))
	sort.Slice(keys, func(i, j int) bool { return found[keys[i]].n > found[keys[j]].n })
	for _, key := range keys {
		i := understood.Index(key)
		if i < 0 {
			t.Errorf("%d times: %s\n    such as %s", found[key].n, key, found[key].example)
			continue
		}
		used[understood[i].String()] = true
	}
	for _, r := range understood {
		if usual && !used[r.String()] {
			t.Errorf("%s: %s is no difference any more: take it out", file, r)
		}
	}
}
