package webhooks

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/internal/compare/known"
)

// comparison sends requests to both servers.
type comparison struct {
	t          *testing.T
	hooks      *hookServer
	real, ours *api
	reviews    int
	// found are the differences, by what they are, with one example.
	found map[string]string
}

// both sends a request to both servers and compares what they ask and answer. edit, when not nil, makes the body from
// the object as each has it.
func (c *comparison) both(what, method, path, media string, body any, edit func(object)) {
	c.t.Helper()
	answers, asked := map[string]answer{}, map[string][]review{}
	for _, a := range []*api{c.real, c.ours} {
		own := body
		if edit != nil {
			at, _, _ := strings.Cut(path, "?")
			live := a.send(c.t, "GET", at, "", nil)
			edit(live.body)
			own = live.body
		}
		c.hooks.take(a.name)
		answers[a.name] = a.send(c.t, method, path, media, own)
		asked[a.name] = c.hooks.take(a.name)
	}
	asked["real"] = lastAttempt(asked["real"])
	c.differ(what+" answer", told(answers["real"]), told(answers["ours"]))
	n := max(len(asked["real"]), len(asked["ours"]))
	c.reviews += n
	if len(asked["real"]) != len(asked["ours"]) {
		c.add(what, fmt.Sprintf("kube-apiserver asks %s, we ask %s", named(asked["real"]), named(asked["ours"])))
		return
	}
	for i := range n {
		r, o := asked["real"][i], asked["ours"][i]
		c.differ(what+" "+r.hook, r.flat(), o.flat())
	}
}

// lastAttempt leaves out what kube-apiserver asked about an object's state in its cache that was not the newest any more:
// when it writes, it learns that, and asks anew.
func lastAttempt(list []review) []review {
	first := 0
	for i := 1; i < len(list); i++ {
		if was, is := oldVersion(list[i-1]), oldVersion(list[i]); was != nil && is != nil && was != is {
			first = i
		}
	}
	return list[first:]
}

// oldVersion is the resourceVersion of the state that a review says is there; of deletions it tells nothing, as those of
// several objects are about several.
func oldVersion(r review) any {
	q := r.body["request"].(object)
	old, _ := q["oldObject"].(object)
	meta, _ := old["metadata"].(object)
	if q["operation"] != "UPDATE" {
		return nil
	}
	return meta["resourceVersion"]
}

func named(list []review) string {
	out := []string{}
	for _, r := range list {
		q := r.body["request"].(object)
		out = append(out, fmt.Sprint(r.hook, " ", q["operation"], " ", q["name"]))
	}
	return fmt.Sprintf("%q", out)
}

func (c *comparison) add(what, example string) {
	if _, ok := c.found[what]; !ok {
		c.found[what] = example
	}
}

func (c *comparison) differ(what string, real, ours map[string]string) {
	keys := slices.Sorted(maps.Keys(real))
	for key := range ours {
		if _, ok := real[key]; !ok {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		if real[key] != ours[key] {
			c.add(what+" "+key, fmt.Sprintf("%q, ours %q", real[key], ours[key]))
		}
	}
}

// volatile are values that differ each time.
var volatile = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|10\.96\.\d+\.\d+|\bgen-[a-z0-9]{5}\b|/(real|ours)/`)

// ignored are the places of values that the servers choose.
var ignored = regexp.MustCompile(`\.resourceVersion$|\.nodePort$|\.healthCheckNodePort$|^body\.metadata|^body\.items|^body\.(spec|status|data)`)

func (r review) flat() map[string]string {
	out := map[string]string{"timeout": r.timeout, "agent": r.agent}
	flatten(out, "", r.body)
	return out
}

// told is what is compared of an answer: of objects other tests tell.
func told(a answer) map[string]string {
	out := map[string]string{"code": fmt.Sprint(a.code), "text": strings.TrimSpace(a.text), "warnings": fmt.Sprintf("%q", a.warnings)}
	if a.body["kind"] == "Status" {
		out["reason"], out["message"] = fmt.Sprint(a.body["reason"]), fmt.Sprint(a.body["message"])
		flatten(out, "details", a.body["details"])
	}
	for k, v := range out {
		out[k] = volatile.ReplaceAllString(v, "~")
	}
	return out
}

func flatten(out map[string]string, path string, v any) {
	if ignored.MatchString(path) {
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
		out[path] = volatile.ReplaceAllString(string(encoded(v)), "~")
	}
}

// Both ask webhooks the same about each verb of each kind.
func TestReviewsOfAllKinds(t *testing.T) {
	c := newComparison(t)
	for _, k := range kinds.All() {
		if k.Review != nil || k.GroupVersionKind.Kind == "FlowSchema" { // of which kube-apiserver writes the status meanwhile
			continue
		}
		stored := sample(t, &k)
		for _, row := range versions(k) {
			if c.real.send(t, "GET", pathOf(&row), "", nil).code == http.StatusNotFound {
				continue
			}
			c.kind(&row, as(t, &row, &k, stored))
		}
	}
	c.others()
	c.report("testdata/known.txt")
}

// versions returns a row for each version that a kind is served in.
func versions(k apiserver.Kind) []apiserver.Kind {
	out := []apiserver.Kind{k}
	for _, v := range k.Versions {
		as := k
		as.GroupVersionKind = v.GroupVersionKind
		out = append(out, as)
	}
	return out
}

// as returns a copy of the sample of a kind in the version of a row.
func as(t *testing.T, row, k *apiserver.Kind, stored object) object {
	text := encoded(stored)
	for _, v := range k.Versions {
		if v.GroupVersionKind == row.GroupVersionKind {
			in, out := emptyLike(k.Object), emptyLike(v.Object)
			must(t, json.Unmarshal(text, in))
			must(t, v.FromStorage(in, out))
			text = encoded(out)
		}
	}
	var o object
	must(t, json.Unmarshal(text, &o))
	o["apiVersion"], o["kind"] = row.GroupVersion().String(), row.GroupVersionKind.Kind
	if row.Group == eventsv1.GroupName { // which asks for more than the older one
		o["eventTime"], o["reportingController"], o["reportingInstance"], o["action"] = "2026-01-02T03:04:05.000006Z", "kubelet", "n1", "Run"
	}
	return o
}

func emptyLike(o client.Object) client.Object {
	return reflect.New(reflect.TypeOf(o).Elem()).Interface().(client.Object)
}

func newComparison(t *testing.T) *comparison {
	c := &comparison{t: t, hooks: newHookServer(t), found: map[string]string{}}
	c.real, c.ours = start(t)
	configure(t, c.hooks, c.real)
	configure(t, c.hooks, c.ours)
	return c
}

// kind goes through the verbs with an object of a kind.
func (c *comparison) kind(k *apiserver.Kind, o object) {
	path, what := pathOf(k), k.GroupVersionKind.Kind+"."+k.Version
	meta, _ := o["metadata"].(object)
	name, _ := meta["name"].(string)
	delete(meta, "namespace")
	if name == "" {
		c.t.Fatalf("%s: the sample has no name", what)
	}
	meta["labels"] = object{"compare": "yes"}
	one := path + "/" + name
	c.both(what+" create", "POST", path+"?fieldManager=compare&fieldValidation=Strict", jsonType, o, nil)
	c.both(what+" merge", "PATCH", one, mergeType, []byte(`{"metadata":{"annotations":{"a":"b"}}}`), nil)
	c.both(what+" update", "PUT", one+"?fieldValidation=Ignore", jsonType, nil, func(live object) {
		live["metadata"].(object)["annotations"] = object{"a": "c"}
	})
	c.both(what+" apply", "PATCH", one+"?fieldManager=applier&force=true", applyType,
		object{"apiVersion": o["apiVersion"], "kind": o["kind"], "metadata": object{"name": name, "annotations": object{"a": "d"}}}, nil)
	if k.Status {
		c.both(what+" status", "PATCH", one+"/status", mergeType, []byte(`{"metadata":{"annotations":{"a":"e"}},"spec":null}`), nil)
	}
	if k.Scale != nil {
		c.both(what+" scale", "PATCH", one+"/scale", mergeType, []byte(`{"spec":{"replicas":4}}`), nil)
		c.both(what+" put scale", "PUT", one+"/scale", jsonType, nil, func(live object) { live["spec"] = object{"replicas": 5} })
	}
	c.both(what+" dry run", "DELETE", one+"?dryRun=All", "", nil, nil)
	c.both(what+" delete", "DELETE", one, jsonType, object{"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "propagationPolicy": "Background"}, nil)
	for _, a := range []*api{c.real, c.ours} {
		a.send(c.t, "PATCH", one, mergeType, []byte(`{"metadata":{"finalizers":null}}`))
	}
	delete(meta, "name")
	meta["generateName"] = "gen-"
	c.both(what+" generate", "POST", path+"?fieldValidation=Ignore", jsonType, o, nil)
	if k.Resource != "namespaces" && k.Resource != "services" {
		c.both(what+" collection", "DELETE", path+"?labelSelector=compare%3Dyes&gracePeriodSeconds=0", "", nil, nil)
	}
}

// report fails for what is not known.
func (c *comparison) report(file string) {
	understood := known.Read(c.t, file)
	c.t.Logf("%d reviews compared", c.reviews)
	if c.reviews == 0 {
		c.t.Error("nothing was asked")
	}
	used := map[int]bool{}
	for _, what := range slices.Sorted(maps.Keys(c.found)) {
		i := understood.Index(what)
		if used[i] = true; i < 0 {
			c.t.Errorf("%s: %s", what, c.found[what])
		}
	}
	for i, r := range understood {
		if !used[i] {
			c.t.Errorf("%s: %s is no difference any more: take it out", file, r)
		}
	}
}

// others asks for what is not about a kind's own objects.
func (c *comparison) others() {
	pods := "/api/v1/namespaces/default/pods"
	for _, name := range []string{"p", "q", "r"} {
		c.both("pod "+name, "POST", pods, jsonType, object{"metadata": object{"name": name},
			"spec": object{"containers": []any{object{"name": "c", "image": "i"}}}}, nil)
	}
	c.both("binding", "POST", pods+"/p/binding", jsonType, object{"metadata": object{"name": "p"}, "target": object{"kind": "Node", "name": "node-1"}}, nil)
	c.both("bindings", "POST", "/api/v1/namespaces/default/bindings", jsonType, object{"metadata": object{"name": "q"}, "target": object{"kind": "Node", "name": "node-1"}}, nil)
	c.both("eviction", "POST", pods+"/r/eviction", jsonType, object{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": object{"name": "r"},
		"deleteOptions": object{"gracePeriodSeconds": 0}}, nil)
	c.both("dry eviction", "POST", pods+"/q/eviction?dryRun=All", jsonType, object{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": object{"name": "q"}}, nil)
	c.both("exec", "POST", pods+"/p/exec?command=a&command=b&stdin=true&stdout=1&container=c", "", nil, nil)
	c.both("attach", "POST", pods+"/p/attach?stderr=true&tty=true", "", nil, nil)
	c.both("portforward", "POST", pods+"/p/portforward?ports=80&ports=81", "", nil, nil)
	c.both("proxy", "GET", pods+"/p/proxy/some/path?x=y", "", nil, nil)
	c.both("node proxy", "GET", "/api/v1/nodes/none/proxy/metrics", "", nil, nil)
	c.both("service proxy", "PUT", "/api/v1/namespaces/default/services/none/proxy/", "", nil, nil)
	c.both("ephemeral", "PATCH", pods+"/p/ephemeralcontainers", "application/strategic-merge-patch+json",
		[]byte(`{"spec":{"ephemeralContainers":[{"name":"e","image":"i","targetContainerName":"c"}]}}`), nil)
	c.both("resize", "PATCH", pods+"/p/resize", "application/strategic-merge-patch+json",
		[]byte(`{"spec":{"containers":[{"name":"c","resources":{}}]}}`), nil)
	c.both("apply new", "PATCH", "/api/v1/namespaces/default/configmaps/applied?fieldManager=a&dryRun=All", applyType,
		object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "applied"}}, nil)
	c.both("put new", "PUT", "/apis/coordination.k8s.io/v1/namespaces/default/leases/put?fieldManager=b", jsonType,
		object{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": object{"name": "put"}}, nil)
	c.both("finalize", "POST", "/api/v1/namespaces", jsonType, object{"metadata": object{"name": "final"}}, nil)
	c.both("finalize", "PUT", "/api/v1/namespaces/final/finalize", jsonType, object{"metadata": object{"name": "final"}, "spec": object{"finalizers": []any{"a.b/c"}}}, nil)
	c.both("review", "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", jsonType, object{"spec": object{"nonResourceAttributes": object{"path": "/", "verb": "get"}}}, nil)
	c.both("configuration", "PATCH", configurations+"mutatingwebhookconfigurations/compare", mergeType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), nil)
}
