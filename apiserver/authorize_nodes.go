package apiserver

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/selection"
)

// The group of all kubelets, and what the user of one begins with, before its node's name.
const (
	groupNodes     = "system:nodes"
	nodeUserPrefix = "system:node:"
)

// nodeRules are what a kubelet needs, after Kubernetes' Node authorizer as far as a request alone tells: not which
// pods are bound to the node, nor what those use. Package node knows that, too.
func nodeRules() []rule {
	limited := func(limit limit, verbs []string, group string, resources ...string) rule {
		return rule{verbs: verbs, groups: []string{group}, resources: resources, limit: limit}
	}
	get, create := []string{verbGet}, []string{verbCreate}
	watch, change := []string{verbList, verbWatch}, []string{verbPatch, verbUpdate}
	const resource, storage, certificates = "resource.k8s.io", "storage.k8s.io", "certificates.k8s.io"
	return []rule{
		eventRule,
		limited(ownName, slices.Concat(readVerbs, change), "", "nodes"),
		limited(ownName, change, "", "nodes/status"),
		limited(nil, create, "", "nodes", "pods", "pods/eviction"), // of which name only admission sees
		limited(named, get, "", "pods"),
		limited(onNode, watch, "", "pods"),
		limited(nil, []string{verbDelete}, "", "pods"),
		limited(nil, change, "", "pods/status"),
		limited(namedInNamespace, readVerbs, "", "secrets", "configmaps"),
		limited(namedInNamespace, get, "", "serviceaccounts"),
		limited(named, create, "", "serviceaccounts/token"),
		limited(named, get, "", "persistentvolumes", "persistentvolumeclaims"),
		limited(named, change, "", "persistentvolumeclaims/status"),
		limited(nil, readVerbs, "", "services"),
		limited(nil, get, "", "endpoints"),
		limited(nodeLease, append(slices.Clone(writeVerbs), verbGet), leaseGroup[0], "leases"),
		limited(ownName, append(slices.Clone(writeVerbs), verbGet), storage, "csinodes"),
		limited(nil, create, storage, "csinodes"),
		limited(named, get, storage, "volumeattachments"),
		limited(nil, readVerbs, storage, "csidrivers"),
		limited(nil, readVerbs, "node.k8s.io", "runtimeclasses"),
		limited(named, get, resource, "resourceclaims"),
		limited(nil, create, resource, "resourceslices"),
		limited(named, append([]string{verbGet, verbDelete}, change...), resource, "resourceslices"),
		limited(ofNode, append([]string{verbDeleteCollection}, watch...), resource, "resourceslices"),
		limited(nil, append([]string{verbCreate}, readVerbs...), certificates, "certificatesigningrequests"),
		limited(nil, readVerbs, certificates, "clustertrustbundles"),
		limited(nil, create, certificates, "podcertificaterequests"),
		limited(named, get, certificates, "podcertificaterequests"),
		limited(ofNode, watch, certificates, "podcertificaterequests"),
		limited(nil, create, "authentication.k8s.io", "tokenreviews"),
		limited(nil, create, "authorization.k8s.io", "subjectaccessreviews", "localsubjectaccessreviews"),
	}
}

// limit narrows a rule to some requests of a node.
type limit func(a *Attributes) bool

// nodeAsking is the name of the node whose kubelet sends a request, or "".
func nodeAsking(a *Attributes) string {
	name, ok := strings.CutPrefix(a.User.User, nodeUserPrefix)
	if !ok {
		return ""
	}
	return name
}

// named keeps from reading all that there is.
func named(a *Attributes) bool { return a.Name != "" }

func namedInNamespace(a *Attributes) bool { return a.Name != "" && a.Namespace != "" }

func ownName(a *Attributes) bool { return a.Name != "" && a.Name == nodeAsking(a) }

func nodeLease(a *Attributes) bool {
	return a.Namespace == "kube-node-lease" && (a.Verb == verbCreate || ownName(a))
}

// ofNode tells whether a request is limited to what has the node's name in a field.
func ofNode(a *Attributes) bool {
	node := nodeAsking(a)
	return node != "" && slices.ContainsFunc(a.FieldSelector, func(r fields.Requirement) bool {
		return r.Field == "spec.nodeName" && r.Operator == selection.Equals && r.Value == node
	})
}

func onNode(a *Attributes) bool { return named(a) || ofNode(a) }
