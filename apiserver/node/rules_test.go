package node_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/fields"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/node"
	"github.com/inboard/inboard/store"
)

// TestDefaultAuthorizer asks the API server's fixed rules and this package whatever a node can ask: what the rules
// allow is what is allowed here, and what is refused for the sole reason that nothing relates it to the node; but for
// the Nodes of others, which admission keeps from being written here.
func TestDefaultAuthorizer(t *testing.T) {
	st := ok(store.Open(store.Config{}))
	t.Cleanup(func() { _ = st.Close() })
	nodes := ok(node.New(node.Config{Store: st}))
	rules, allowed := apiserver.DefaultAuthorizer(), 0
	eachQuestion(func(q *apiserver.Attributes) {
		want, reason, err := nodes.Authorize(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		want = want || strings.HasPrefix(reason, "no relationship found")
		if q.Resource == "nodes" && q.Verb != "create" && q.Name != "n1" {
			want = false
		}
		got, _, err := rules.Authorize(t.Context(), q)
		if err != nil || got != want {
			t.Errorf("%s %s %s/%s %s/%s selecting %q: %v, %v; want %v (%s)", q.Verb, q.APIGroup, q.Resource, q.Subresource, q.Namespace, q.Name,
				q.FieldSelector, got, err, want, reason)
		}
		if got {
			allowed++
		}
	})
	if allowed < 300 {
		t.Errorf("only %d questions were allowed: this compares too little", allowed)
	}
}

// TestWithoutNodes leaves nodes out of the rules.
func TestWithoutNodes(t *testing.T) {
	rules := apiserver.DefaultAuthorizer(node.Group)
	eachQuestion(func(q *apiserver.Attributes) {
		if got, _, _ := rules.Authorize(t.Context(), q); got {
			t.Errorf("%s %s/%s is allowed", q.Verb, q.Resource, q.Subresource)
		}
	})
	scheduler := &apiserver.Attributes{User: &apiserver.Identity{User: "system:kube-scheduler"}, Verb: "list", Resource: "pods"}
	if !ok2(rules.Authorize(t.Context(), scheduler)) {
		t.Error("the scheduler was left out, too")
	}
}

// eachQuestion visits every kind of request of the node n1.
func eachQuestion(visit func(*apiserver.Attributes)) {
	resources := map[string]string{
		"": "nodes nodes/status nodes/proxy pods pods/status pods/eviction pods/exec pods/binding secrets configmaps serviceaccounts " +
			"serviceaccounts/token persistentvolumes persistentvolumeclaims persistentvolumeclaims/status services endpoints events " +
			"namespaces resourcequotas",
		"coordination.k8s.io":       "leases",
		"storage.k8s.io":            "csinodes csidrivers volumeattachments storageclasses",
		"node.k8s.io":               "runtimeclasses",
		"resource.k8s.io":           "resourceclaims resourceclaims/status resourceslices deviceclasses",
		"certificates.k8s.io":       "certificatesigningrequests certificatesigningrequests/approval clustertrustbundles podcertificaterequests podcertificaterequests/status",
		"authentication.k8s.io":     "tokenreviews",
		"authorization.k8s.io":      "subjectaccessreviews localsubjectaccessreviews",
		"apps":                      "deployments",
		"discovery.k8s.io":          "endpointslices",
		"rbac.authorization.k8s.io": "clusterroles",
		"events.k8s.io":             "events",
	}
	selectors := []fields.Selector{fields.Everything(), fields.OneTermEqualSelector("spec.nodeName", "n1"),
		fields.OneTermEqualSelector("spec.nodeName", "n2"), fields.OneTermNotEqualSelector("spec.nodeName", "n1")}
	user := &apiserver.Identity{User: node.UserPrefix + "n1", Groups: []string{node.Group}}
	for group, list := range resources {
		for _, resource := range strings.Fields(list) {
			resource, subresource, _ := strings.Cut(resource, "/")
			for _, verb := range strings.Fields("get list watch create update patch delete deletecollection") {
				for _, name := range []string{"", "n1", "n2"} {
					for _, namespace := range []string{"", "default", "kube-node-lease"} {
						for _, s := range selectors {
							visit(&apiserver.Attributes{User: user, Verb: verb, APIGroup: group, Resource: resource, Subresource: subresource,
								Namespace: namespace, Name: name, FieldSelector: s.Requirements()})
						}
					}
				}
			}
		}
	}
}
