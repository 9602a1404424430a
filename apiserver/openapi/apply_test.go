package openapi_test

import (
	"encoding/json"
	"testing"

	"k8s.io/kube-openapi/pkg/schemaconv"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// Server-side apply reads from these documents that containers and their ports and variables are
// merged by their keys, arguments as a whole.
func TestMergeByKeys(t *testing.T) {
	var doc spec3.OpenAPI
	if err := json.Unmarshal(body(t, get(t, "/openapi/v3/api/v1")), &doc); err != nil {
		t.Fatal(err)
	}
	schemas := map[string]*spec.Schema{}
	for name, s := range doc.Components.Schemas {
		schemas[name] = s
	}
	s, err := schemaconv.ToSchemaFromOpenAPI(schemas, false)
	if err != nil {
		t.Fatal(err)
	}
	pod := typed.ParseableType{Schema: s, TypeRef: schema.TypeRef{NamedType: ptr.To("io.k8s.api.core.v1.Pod")}}
	if !pod.IsValid() {
		t.Fatal("no type Pod")
	}
	parse := func(text typed.YAMLObject) *typed.TypedValue {
		v, err := pod.FromYAML(text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	live := parse(`{spec: {containers: [{name: a, image: x, args: [p, q], ports: [{containerPort: 80, protocol: TCP}], env: [{name: A, value: "1"}]}, {name: b, image: w}]}}`)
	applied := parse(`{spec: {containers: [{name: a, image: z, args: [r], ports: [{containerPort: 80, protocol: UDP}], env: [{name: B, value: "2"}]}]}}`)
	merged, err := live.Merge(applied)
	if err != nil {
		t.Fatal(err)
	}
	want := parse(`{spec: {containers: [{name: a, image: z, args: [r], ports: [{containerPort: 80, protocol: TCP}, {containerPort: 80, protocol: UDP}], env: [{name: A, value: "1"}, {name: B, value: "2"}]}, {name: b, image: w}]}}`)
	if c, err := merged.Compare(want); err != nil || !c.IsSame() {
		t.Errorf("%v %v", err, c)
	}
	if _, err := pod.FromYAML(`{spec: {containerz: []}}`); err == nil {
		t.Error("an unknown field is accepted")
	}
}
