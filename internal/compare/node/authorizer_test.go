package node

import (
	"context"
	"flag"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/inboard/inboard/apiserver"
)

var (
	worlds   = flag.Int("worlds", 20, "random worlds")
	requests = flag.Int("requests", 1000, "random requests in each")
	seed     = flag.Uint64("seed", 1, "seed of the random choices")
)

// subjects are the resources of requests, by group.
var subjects = []struct {
	group string
	names []string
}{
	{"", []string{"secrets", "configmaps", "persistentvolumeclaims", "persistentvolumes", "serviceaccounts", "nodes", "pods", "pods", "services", "endpoints", "events", "namespaces"}},
	{"resource.k8s.io", []string{"resourceclaims", "resourceslices"}},
	{"storage.k8s.io", []string{"volumeattachments", "csinodes", "csidrivers", "storageclasses"}},
	{"coordination.k8s.io", []string{"leases"}},
	{"certificates.k8s.io", []string{"certificatesigningrequests", "podcertificaterequests", "clustertrustbundles"}},
	{"node.k8s.io", []string{"runtimeclasses"}},
	{"authentication.k8s.io", []string{"tokenreviews"}},
}

// recordOf returns a request as Kubernetes has it.
func recordOf(a *apiserver.Attributes) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: a.User.User, Groups: a.User.Groups}, Verb: a.Verb, Path: a.Path, ResourceRequest: a.Path == "",
		APIGroup: a.APIGroup, APIVersion: a.APIVersion, Resource: a.Resource, Subresource: a.Subresource,
		Name: a.Name, Namespace: a.Namespace, FieldSelectorRequirements: a.FieldSelector,
	}
}

func nodeUser(name string) *apiserver.Identity {
	return &apiserver.Identity{User: "system:node:" + name, Groups: []string{"system:nodes", "system:authenticated"}}
}

// everyGet asks about each object that may exist, for each node.
func everyGet() []*apiserver.Attributes {
	var out []*apiserver.Attributes
	for _, n := range nodeNames {
		for _, group := range subjects[:5] {
			for _, resource := range group.names {
				for _, name := range append([]string{"x-x", "x-y", "y-x", "y-y"}, names...) {
					a := apiserver.Attributes{User: nodeUser(n), Verb: "get", APIGroup: group.group, APIVersion: "v1", Resource: resource, Name: name}
					if clusterWide[resource] {
						out = append(out, &a)
						continue
					}
					for _, ns := range namespaces {
						b := a
						b.Namespace = ns
						out = append(out, &b)
					}
				}
			}
		}
	}
	return out
}

var clusterWide = map[string]bool{"persistentvolumes": true, "nodes": true, "volumeattachments": true, "resourceslices": true, "csinodes": true}

// question is a random request.
func (w *graphWorld) question() *apiserver.Attributes {
	id := nodeUser(w.pick(nodeNames))
	switch w.IntN(20) {
	case 0:
		id.Groups = id.Groups[1:]
	case 1:
		id.User = w.pick([]string{"ann", "system:node:", "system:node"})
	}
	a := &apiserver.Attributes{User: id, Verb: w.pick([]string{"get", "get", "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"})}
	if w.one(30) {
		a.Path = w.pick([]string{"/healthz", "/metrics", "/api"})
		return a
	}
	group := subjects[w.IntN(len(subjects))]
	if w.one(2) {
		group = subjects[0]
	}
	a.APIGroup, a.Resource, a.APIVersion = group.group, w.pick(group.names), "v1"
	if w.one(6) {
		a.Subresource = w.pick([]string{"status", "token", "eviction", "binding", "log"})
	}
	if !w.one(8) {
		a.Name = w.pick(names)
		if w.one(6) {
			a.Name = w.pick(names) + "-" + w.pick(names)
		}
		if a.Resource == "nodes" || a.Resource == "csinodes" || a.Resource == "leases" {
			a.Name = w.pick(nodeNames)
		}
	}
	if clusterWide[a.Resource] == w.one(20) {
		a.Namespace = w.pick(namespaces)
		if a.Resource == "leases" && w.one(2) {
			a.Namespace = "kube-node-lease"
		}
	}
	if w.one(3) {
		text := fmt.Sprintf("%s%s%s", w.pick([]string{"spec.nodeName", "nodeName", "metadata.name"}), w.pick([]string{"=", "==", "!="}), w.pick(nodeNames))
		a.FieldSelector = fields.ParseSelectorOrDie(text).Requirements()
	}
	return a
}

// TestAuthorizer changes random objects, and asks both sides the same questions meanwhile.
func TestAuthorizer(t *testing.T) {
	ctx := context.Background()
	asked, allowed, reasons := 0, 0, map[string]int{}
	for i := range *worlds {
		w := newGraphWorld(t, *seed+uint64(i))
		for range *requests {
			for range w.IntN(3) {
				w.step(t)
			}
			if w.one(100) { // more than the store's history keeps: ours must read all anew
				for range 40 {
					w.step(t)
				}
			}
			questions := []*apiserver.Attributes{w.question()}
			if w.one(50) {
				questions = everyGet()
			}
			for _, a := range questions {
				got, reason, err := w.ours.Authorize(ctx, a)
				want, wantReason, wantErr := w.theirs.Authorize(ctx, recordOf(a))
				must(t, err)
				must(t, wantErr)
				if got != (want == authorizer.DecisionAllow) || reason != wantReason {
					t.Fatalf("world %d: %+v by %+v: %v (%s), in Kubernetes %v (%s)", i, *a, *a.User, got, reason, want, wantReason)
				}
				asked++
				if got {
					allowed++
				}
				reasons[a.Resource+" "+fmt.Sprint(got)]++
			}
		}
	}
	t.Logf("%d requests, %d of them allowed: %v", asked, allowed, reasons)
	if allowed < asked/20 || allowed > asked*9/10 {
		t.Errorf("%d of %d requests were allowed: the worlds are poor", allowed, asked)
	}
	for _, r := range []string{"secrets", "configmaps", "persistentvolumeclaims", "persistentvolumes", "serviceaccounts", "pods", "resourceclaims", "resourceslices", "volumeattachments", "podcertificaterequests"} {
		if reasons[r+" true"] < 20 || reasons[r+" false"] < 20 {
			t.Errorf("%s: %d allowed, %d not: the worlds are poor", r, reasons[r+" true"], reasons[r+" false"])
		}
	}
}
