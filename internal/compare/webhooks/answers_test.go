package webhooks

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// patched is the answer with a JSON patch.
func patched(ops string) string {
	return `{"allowed":true,"patchType":"JSONPatch","patch":"` + base64.StdEncoding.EncodeToString([]byte(ops)) + `"}`
}

// says are what webhooks answer in the comparison, both kinds of them.
var says = []string{
	`{"allowed":false}`,
	`{"allowed":false,"status":{"message":"no"}}`,
	`{"allowed":false,"status":{"reason":"Forbidden"}}`,
	`{"allowed":false,"status":{"status":"Success","code":200,"message":"yes"}}`,
	`{"allowed":false,"status":{"code":409,"reason":"Conflict","message":"m","details":{"name":"n","causes":[{"field":"f","message":"c"}]}}}`,
	`{"allowed":false,"warnings":["a","b","a"]}`,
	`{"allowed":true,"warnings":["some \"quoted\" text"],"auditAnnotations":{"a":"b"}}`,
	`{"allowed":true,"status":{"message":"ignored"}}`,
	`{"allowed":"yes"}`,
	`404`,
	`503`,
	`not JSON`,
	`{}`,
	`{"kind":"Pod","apiVersion":"v1"}`,
	`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`,
	`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","response":{"allowed":true}}`,
	`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v2","response":{"uid":"UID","allowed":true}}`,
	`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"broken","code":500}`,
	`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"","allowed":true}}`,
	`{"response":{"uid":"UID","allowed":true}}`,
	`{"allowed":true,"patch":"W10="}`,
	`{"allowed":true,"patchType":"JSONPatch"}`,
	`{"allowed":true,"patchType":"","patch":"W10="}`,
	`{"allowed":true,"patchType":"Merge","patch":"W3sib3AiOiJhZGQiLCJwYXRoIjoiL2RhdGEiLCJ2YWx1ZSI6e319XQ=="}`,
	`{"allowed":true,"patchType":"JSONPatch","patch":"not base64"}`,
	patched(``), patched(`[]`), patched(`{}`), patched(`[{}]`), patched(`[{"op":"eat","path":"/data"}]`), patched(`nonsense`),
	patched(`[{"op":"add","path":"/data","value":{"x":"y"}}]`),
	patched(`[{"op":"add","path":"/data","value":{"x":5}}]`),
	patched(`[{"op":"add","path":"/unknown","value":{"x":5}}]`),
	patched(`[{"op":"replace","path":"/missing","value":1}]`),
	patched(`[{"op":"test","path":"/data","value":1}]`),
	patched(`[{"op":"remove","path":"/metadata"}]`),
	patched(`[{"op":"replace","path":"","value":{}}]`),
	patched(`[{"op":"replace","path":"/kind","value":"Secret"}]`),
	patched(`[{"op":"replace","path":"/apiVersion","value":"v2"}]`),
	patched(`[{"op":"add","path":"/metadata/name","value":"renamed"}]`),
	patched(`[{"op":"add","path":"/metadata/namespace","value":"kube-system"}]`),
	patched(`[{"op":"add","path":"/metadata/uid","value":"own"}]`),
	patched(`[{"op":"add","path":"/metadata/resourceVersion","value":"7"}]`),
	patched(`[{"op":"add","path":"/metadata/labels","value":{"-":"bad label"}}]`),
	patched(`[{"op":"add","path":"/metadata/labels","value":{"good":"label"}}]`),
	patched(`[{"op":"add","path":"/metadata/finalizers","value":["a.b/c"]}]`),
	patched(`[{"op":"add","path":"/metadata/deletionTimestamp","value":"2020-01-01T00:00:00Z"}]`),
	patched(`[{"op":"add","path":"/metadata/managedFields","value":[{"manager":"x","operation":"Nonsense"}]}]`),
	patched(`[{"op":"add","path":"/metadata/managedFields","value":[]}]`),
	patched(`[{"op":"add","path":"/immutable","value":true}]`),
}

// Both make the same of what webhooks answer.
func TestAnswers(t *testing.T) {
	c := newComparison(t)
	for _, hook := range []string{"mutating", "validating"} {
		for i, say := range says {
			c.say(hook, i, say)
		}
	}
	c.report("testdata/answers.txt")
}

// say has a webhook give an answer about several writes.
func (c *comparison) say(hook string, n int, say string) {
	what := fmt.Sprintf("%s %s", hook, say)
	if _, encoded, ok := strings.Cut(say, `"patch":"`); ok {
		if ops, err := base64.StdEncoding.DecodeString(strings.TrimRight(encoded, `"}`)); err == nil {
			what = fmt.Sprintf("%s patch %s", hook, ops)
		}
	}
	path := "/api/v1/namespaces/default/configmaps"
	name := fmt.Sprintf("%s-%d", hook, n)
	cm := func(name string) object { return object{"metadata": object{"name": name}, "data": object{"a": "b"}} }
	c.both("setting up", "POST", path, jsonType, cm(name), nil)
	c.hooks.say(hook, say)
	c.written(what+" CREATE", "POST", path, jsonType, cm(name+"-new"))
	c.written(what+" DRY", "POST", path+"?dryRun=All", jsonType, cm(name+"-dry"))
	c.written(what+" UPDATE", "PATCH", path+"/"+name, mergeType, object{"data": object{"c": "d"}})
	c.written(what+" DELETE", "DELETE", path+"/"+name, "", nil)
	c.hooks.say(hook, "")
	for _, a := range []*api{c.real, c.ours} {
		for _, name := range []string{name, name + "-new", "renamed"} {
			a.send(c.t, "PATCH", path+"/"+name, mergeType, []byte(`{"metadata":{"finalizers":null}}`))
			a.send(c.t, "DELETE", path+"/"+name, "", nil)
		}
		c.hooks.take(a.name)
	}
}

// written is both with what the answer tells of the object.
func (c *comparison) written(what, method, path, media string, body any) {
	c.t.Helper()
	objects := map[string]map[string]string{}
	for _, a := range []*api{c.real, c.ours} {
		got := a.send(c.t, method, path, media, body)
		out := told(got)
		if meta, ok := got.body["metadata"].(object); ok {
			for _, field := range []string{"name", "namespace", "labels", "finalizers", "deletionTimestamp"} {
				flatten(out, "meta."+field, meta[field])
			}
			out["managers"] = managers(meta)
		}
		out["data"] = string(encoded(got.body["data"]))
		objects[a.name] = out
		c.reviews += len(c.hooks.take(a.name))
	}
	c.differ(what, objects["real"], objects["ours"])
}

func managers(meta object) string {
	list, _ := meta["managedFields"].([]any)
	out := ""
	for _, m := range list {
		m := m.(object)
		out += fmt.Sprint(m["manager"], " ", m["operation"], " ", string(encoded(m["fieldsV1"])), "; ")
	}
	return out
}
