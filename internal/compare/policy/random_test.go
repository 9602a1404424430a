package policy

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

var (
	count = flag.Int("policies", 120, "random policies")
	seed  = flag.Uint64("seed", 1, "seed of the random choices")
)

// world makes random policies, each for requests with a label of its own, as kube-apiserver asks policies in a random
// order and tells the first refusal only.
type world struct{ *rand.Rand }

func (w *world) pick(list ...string) string { return list[w.IntN(len(list))] }

// condition returns an expression that is mostly a bool: true or false, or one that can't be told or does not compile.
func (w *world) condition() string {
	if w.IntN(4) == 0 {
		return w.condition1() + w.pick(" && ", " || ") + w.condition1()
	}
	return w.condition1()
}

func (w *world) condition1() string {
	return w.pick("true", "false", "object.spec.replicas <= 3", "object.spec.replicas > 3", "object.metadata.name.startsWith('a')",
		"object.spec.template.spec.containers.all(c, c.image.contains(':'))", "object.spec.template.spec.containers.exists(c, c.name == 'b')",
		"has(object.metadata.annotations)", "object.metadata.annotations['x'] == 'y'", "object.spec.nothing == 1", "oldObject == null",
		"request.operation == 'CREATE'", "request.namespace == 'default' && request.name != ''", "request.userInfo.username == 'admin'",
		"'system:masters' in request.userInfo.groups", "request.dryRun", "namespaceObject.metadata.name == 'default'",
		"object.spec.strategy.type == 'Recreate'", "object.spec.selector.matchLabels.size() == 1", "1 / (object.spec.replicas - 3) > 0",
		"object.metadata.labels.p.matches('^[0-9]+$')", "object.spec.replicas + 1", "object.spec.", "variables.v", "variables.v == 3",
		"authorizer.requestResource.check('create').allowed()", "authorizer.group('').resource('pods').check('get').allowed()",
		"authorizer.serviceAccount('default', 'default').group('').resource('secrets').check('get').allowed()",
		"params == null", "params.data.max == '3'", "object.spec.template.spec.containers[0].resources.?requests.orValue({}).size() == 0",
		"[1, 2, 3].map(x, x * object.spec.replicas).sum() > 10", "quantity('1Gi').isGreaterThan(quantity('500Mi'))",
		"object.metadata.creationTimestamp == null", "has(object.status)", "object.metadata.managedFields.size() > 0",
		"object.spec.template.spec.containers[5].name == 'x'", "object.kind == 'Deployment' && object.apiVersion == 'apps/v1'",
		"object.spec.template.spec.containers.map(c, c.ports).size() > 0", "object.spec.template.metadata.labels == object.spec.selector.matchLabels",
		"string(object.spec.replicas).size() == 1", "type(object.spec.replicas) == int", "object.spec.paused")
}

func (w *world) message() string {
	return w.pick("'at most ' + string(object.spec.replicas)", "'two\\nlines'", "''", "' spaces '", "object.spec.nothing", "1", "object.metadata.name + ",
		"'x' + (has(object.metadata.annotations) ? 'y' : 'z')", "variables.v", "request.operation", "params.data.max", "namespaceObject.metadata.name",
		"[1,2].map(x, string(x)).join('-')")
}

func (w *world) change() map[string]any {
	if w.IntN(2) == 0 {
		return map[string]any{"patchType": "ApplyConfiguration", "applyConfiguration": map[string]any{"expression": w.pick(
			"Object{}", "Object{metadata: Object.metadata{labels: {'added': 'yes'}}}", "Object{spec: Object.spec{replicas: object.spec.replicas + 1}}",
			"Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: [Object.spec.template.spec.containers{name: 'a', image: 'new'}]}}}}",
			"Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: [Object.spec.template.spec.containers{name: 'z', image: 'z'}], nodeSelector: {'x': 'y'}}}}}",
			"Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {'a': 'c'}}}}", "Object{spec: Object.spec{wrong: 1}}",
			"Object{metadata: Object.metadata{finalizers: ['example.com/f']}}", "Object{metadata: Object.metadata{name: 'other'}}",
			"Object{spec: Object.spec{strategy: Object.spec.strategy{type: 'Recreate'}}}", "Object{spec: Object.other{replicas: 1}}",
			"Object{spec: Object.spec{replicas: 'many'}}", "object", "Object{spec: Object.spec{revisionHistoryLimit: variables.v}}",
			"Object{metadata: Object.metadata{annotations: {'at': string(object.spec.replicas)}}}",
			"Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{tolerations: [Object.spec.template.spec.tolerations{key: 'k'}]}}}}",
			"has(object.metadata.annotations) ? Object{} : Object{metadata: Object.metadata{annotations: {'first': 'yes'}}}")}}
	}
	return map[string]any{"patchType": "JSONPatch", "jsonPatch": map[string]any{"expression": w.pick(
		"[]", "[JSONPatch{op: 'add', path: '/metadata/labels/more', value: 'x'}]", "[JSONPatch{op: 'replace', path: '/spec/replicas', value: 7}]",
		"[JSONPatch{op: 'remove', path: '/spec/nothing'}]", "[JSONPatch{op: 'test', path: '/spec/replicas', value: 3}, JSONPatch{op: 'replace', path: '/spec/replicas', value: 4}]",
		"[JSONPatch{op: 'add', path: '/spec/template/spec/containers/-', value: Object.spec.template.spec.containers{name: 'q', image: 'q'}}]",
		"[JSONPatch{op: 'copy', from: '/metadata/name', path: '/metadata/labels/name'}]", "[JSONPatch{op: 'move', from: '/metadata/labels/p', path: '/metadata/labels/q'}]",
		"[JSONPatch{op: 'add', path: '/spec/unknown', value: 1}]", "[JSONPatch{op: 'replace', path: '/spec/replicas', value: 'x'}]",
		"[JSONPatch{op: 'add', path: '/metadata/annotations', value: {'a/b': 'c'}}]", "[JSONPatch{op: 'eat', path: '/spec'}]",
		"[JSONPatch{op: 'add', path: '/metadata/annotations/' + jsonpatch.escapeKey('a/b'), value: 'x'}]",
		"[JSONPatch{op: 'replace', path: '/metadata/name', value: 'other'}]", "object.spec.replicas > 3 ? [JSONPatch{op: 'remove', path: '/spec/replicas'}] : []",
		"[JSONPatch{op: 'add', path: '/spec/template/spec/priority', value: 1.5}]", "JSONPatch{op: 'remove', path: '/x'}")}}
}

// policy returns the spec of a random policy of either kind; mutates tells which.
func (w *world) policy(mutates bool) map[string]any {
	spec := map[string]any{
		"failurePolicy": w.pick("Fail", "Fail", "Ignore"),
		"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
			"apiGroups": []any{"apps"}, "apiVersions": []any{w.pick("v1", "*")}, "operations": []any{w.pick("CREATE", "*", "UPDATE")}, "resources": []any{w.pick("deployments", "*")}}}},
	}
	if w.IntN(3) == 0 {
		spec["matchConditions"] = []any{map[string]any{"name": "c", "expression": w.condition()}}
	}
	if w.IntN(2) == 0 {
		spec["variables"] = []any{map[string]any{"name": "v", "expression": w.pick("object.spec.replicas", "object.spec.nothing", "'text'", "true", "object.spec.")}}
	}
	if w.IntN(3) == 0 {
		spec["paramKind"] = map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}
	}
	if mutates {
		spec["reinvocationPolicy"] = w.pick("Never", "IfNeeded")
		list := []any{w.change()}
		if w.IntN(2) == 0 {
			list = append(list, w.change())
		}
		spec["mutations"] = list
		return spec
	}
	var list []any
	for range 1 + w.IntN(3) {
		v := map[string]any{"expression": w.condition()}
		if w.IntN(2) == 0 {
			v["messageExpression"] = w.message()
		}
		if w.IntN(3) == 0 {
			v["message"] = w.pick("a message", " spaces ", "m")
		}
		if w.IntN(3) == 0 {
			v["reason"] = w.pick("Forbidden", "Invalid", "RequestEntityTooLarge")
		}
		list = append(list, v)
	}
	spec["validations"] = list
	if w.IntN(4) == 0 {
		spec["auditAnnotations"] = []any{map[string]any{"key": "k", "valueExpression": w.pick("'x'", "null", "object.spec.nothing", "object.metadata.name", "1")}}
	}
	return spec
}

func (w *world) binding(policy string, mutates bool) map[string]any {
	spec := map[string]any{"policyName": policy, "matchResources": map[string]any{"objectSelector": map[string]any{"matchLabels": map[string]any{"p": policy}}}}
	if !mutates {
		spec["validationActions"] = [][]any{{"Deny"}, {"Warn"}, {"Audit"}, {"Deny", "Audit"}, {"Warn", "Audit"}}[w.IntN(5)]
	}
	if w.IntN(2) == 0 {
		spec["paramRef"] = map[string]any{"name": w.pick("there", "there", "missing"), "parameterNotFoundAction": w.pick("Deny", "Allow")}
	}
	return spec
}

// deployment returns a random request's object.
func (w *world) deployment(policy string) map[string]any {
	labels := map[string]any{"a": "b"}
	containers := []any{map[string]any{"name": "a", "image": w.pick("i", "i:1")}}
	if w.IntN(2) == 0 {
		containers = append(containers, map[string]any{"name": "b", "image": "j:2", "ports": []any{map[string]any{"containerPort": 80}}})
	}
	meta := map[string]any{"name": w.pick("a", "b", "x"), "labels": map[string]any{"p": policy}}
	if w.IntN(2) == 0 {
		meta["annotations"] = map[string]any{"x": w.pick("y", "z")}
	}
	return map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": map[string]any{
		"replicas": 1 + w.IntN(5), "selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{"containers": containers}}}}
}

// TestRandom makes random policies in both servers and compares how these are taken, and how requests then are.
func TestRandom(t *testing.T) {
	w := &world{rand.New(rand.NewPCG(*seed, 0))}
	ours, theirs := own(t), kubernetes(t)
	both := func(method, path string, obj any) (string, bool) {
		t.Helper()
		body, err := json.Marshal(obj)
		must(t, err)
		var texts [2]string
		ok := false
		for i, s := range []*server{ours, theirs} {
			a := s.do(t, method, path, http.Header{"Content-Type": {"application/json"}}, body)
			texts[i], ok = a.tell([]string{"spec", "metadata.labels", "metadata.annotations", "metadata.finalizers", "metadata.name"}), a.code < 300
		}
		if texts[0] != texts[1] {
			t.Errorf("%s %s\n%s\nours: %s\ntheirs: %s", method, path, body, texts[0], texts[1])
		}
		return texts[1], ok
	}
	both(http.MethodPost, "/api/v1/namespaces/default/configmaps", map[string]any{"metadata": map[string]any{"name": "there"}, "data": map[string]any{"max": "3"}})
	var names []string
	for i := range *count {
		mutates, kind, name := w.IntN(2) == 0, "validating", fmt.Sprint(i)
		if mutates {
			kind = "mutating"
		}
		meta := map[string]any{"name": name}
		if _, ok := both(http.MethodPost, group+kind+"admissionpolicies", map[string]any{"metadata": meta, "spec": w.policy(mutates)}); !ok {
			continue
		}
		both(http.MethodPost, group+kind+"admissionpolicybindings", map[string]any{"metadata": meta, "spec": w.binding(name, mutates)})
		names = append(names, name)
	}
	theirs.settle(t)
	outcomes := map[string]int{}
	for _, name := range names {
		for range 8 {
			text, _ := both(http.MethodPost, "/apis/apps/v1/namespaces/default/deployments?dryRun=All", w.deployment(name))
			outcomes[strings.SplitN(text, "\n", 2)[0]]++
		}
	}
	t.Logf("%d of %d policies are right; outcomes: %v", len(names), *count, outcomes)
	if len(outcomes) < 2 {
		t.Error("the policies decide nothing")
	}
}
