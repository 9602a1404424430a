package node

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/inboard/inboard/apiserver"
)

// question is a request of a node.
type question struct {
	*apiserver.Attributes
	ctx   context.Context
	graph *graph
	node  string
}

type groupResource struct{ group, resource string }

// silent is the reason of a refusal that gives none.
const silent = "\x00"

// decisions decide about resources whose access depends on the node. They return why a request is refused; no reason
// allows it.
var decisions = map[groupResource]func(*question) (string, error){
	{"", "secrets"}:    func(q *question) (string, error) { return q.readNamespaced(secret) },
	{"", "configmaps"}: func(q *question) (string, error) { return q.readNamespaced(configMap) },
	{"", "persistentvolumeclaims"}: func(q *question) (string, error) {
		if q.Subresource == "status" {
			return q.updateStatus(claim)
		}
		return q.get(claim)
	},
	{"", "persistentvolumes"}:                         func(q *question) (string, error) { return q.get(volume) },
	{"resource.k8s.io", "resourceclaims"}:             func(q *question) (string, error) { return q.get(resourceClaim) },
	{"storage.k8s.io", "volumeattachments"}:           func(q *question) (string, error) { return q.get(attachment) },
	{"", "serviceaccounts"}:                           (*question).serviceAccount,
	{"coordination.k8s.io", "leases"}:                 (*question).lease,
	{"storage.k8s.io", "csinodes"}:                    (*question).csiNode,
	{"resource.k8s.io", "resourceslices"}:             (*question).resourceSlice,
	{"certificates.k8s.io", "podcertificaterequests"}: (*question).certificateRequest,
	{"", "nodes"}: (*question).nodes,
	{"", "pods"}:  (*question).pods,
}

func (q *question) updateStatus(k objectKind) (string, error) {
	if q.Verb != "update" && q.Verb != "patch" {
		return "can only get/update/patch this type", nil
	}
	return q.related(k)
}

func (q *question) get(k objectKind) (string, error) {
	switch {
	case q.Verb != "get":
		return "can only get individual resources of this type", nil
	case q.Subresource != "":
		return "cannot get subresource", nil
	}
	return q.related(k)
}

func (q *question) readNamespaced(k objectKind) (string, error) {
	switch {
	case q.Verb != "get" && q.Verb != "list" && q.Verb != "watch":
		return "can only read resources of this type", nil
	case q.Subresource != "":
		return "cannot read subresource", nil
	case q.Namespace == "":
		return "can only read namespaced object of this type", nil
	}
	return q.related(k)
}

// related allows what is for an object that has to do with the node.
func (q *question) related(k objectKind) (string, error) {
	if q.Name == "" {
		return "No Object name found", nil
	}
	ok, err := q.graph.relates(q.ctx, object{k, q.Namespace, q.Name}, q.node)
	if err != nil || ok {
		return "", err
	}
	return fmt.Sprintf("no relationship found between node '%s' and this object", q.node), nil
}

func (q *question) serviceAccount() (string, error) {
	switch {
	case q.Verb == "get" && q.Subresource == "":
		return q.readNamespaced(serviceAccount)
	case q.Verb != "create" || q.Name == "":
		return "can only create tokens for individual service accounts", nil
	case q.Subresource != "token":
		return "can only create token subresource of serviceaccount", nil
	}
	return q.related(serviceAccount)
}

// ownVerbs are what a node may do with objects of its own name.
var ownVerbs = []string{"get", "create", "update", "patch", "delete"}

func (q *question) lease() (string, error) {
	switch {
	case !slices.Contains(ownVerbs, q.Verb):
		return "can only get, create, update, patch, or delete a node lease", nil
	case q.Namespace != corev1.NamespaceNodeLease:
		return fmt.Sprintf("can only access leases in the %q system namespace", corev1.NamespaceNodeLease), nil
	// Which name is created admission sees.
	case q.Verb != "create" && q.Name != q.node:
		return "can only access node lease with the same name as the requesting node", nil
	}
	return "", nil
}

func (q *question) csiNode() (string, error) {
	switch {
	case q.Subresource == "status":
		return "CSINode status access requires CSIVolumeHealth feature", nil
	case q.Subresource != "":
		return "cannot authorize CSINode subresources", nil
	case !slices.Contains(ownVerbs, q.Verb):
		return "can only get, create, update, patch, or delete a CSINode", nil
	case q.Verb != "create" && q.Name != q.node:
		return "can only access CSINode with the same name as the requesting node", nil
	}
	return "", nil
}

func (q *question) resourceSlice() (string, error) {
	if q.Subresource != "" {
		return "cannot authorize ResourceSlice subresources", nil
	}
	switch q.Verb {
	case "create": // admission sees which node it is of
		return "", nil
	case "get", "update", "patch", "delete":
		return q.related(slice)
	case "watch", "list", "deletecollection":
		if q.selects("spec.nodeName") {
			return "", nil
		}
		return "can only list/watch/deletecollection resourceslices with nodeName field selector", nil
	}
	return "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection", nil
}

func (q *question) certificateRequest() (string, error) {
	if q.Subresource != "" {
		return "nodes may not access the status subresource of PodCertificateRequests", nil
	}
	switch q.Verb {
	case "create":
		return "", nil
	case "get":
		return q.related(certificateRequest)
	case "list", "watch":
		if q.selects("spec.nodeName") {
			return "", nil
		}
		return "can only list/watch podcertificaterequests with nodeName field selector", nil
	}
	return fmt.Sprintf("nodes may not %s podcertificaterequests", q.Verb), nil
}

// nodes are told apart by their names, so that a kubelet can look for its Node before it is made. Admission sees which
// one is written.
func (q *question) nodes() (string, error) {
	switch q.Subresource + " " + q.Verb {
	case " create", " update", " patch", "status update", "status patch":
		return "", nil
	case " get", " list", " watch":
		switch q.Name {
		case q.node:
			return "", nil
		case "":
			return fmt.Sprintf("node '%s' cannot read all nodes, only its own Node object", q.node), nil
		}
		return fmt.Sprintf("node '%s' cannot read '%s', only its own Node object", q.node, q.Name), nil
	}
	return silent, nil
}

// pods may be read by the node they are bound to. Which are written admission sees.
func (q *question) pods() (string, error) {
	switch q.Subresource + " " + q.Verb {
	case " create", " delete", "status update", "status patch", "eviction create":
		return "", nil
	case " get":
		return q.related(pod)
	case " list", " watch":
		switch {
		case q.selects("spec.nodeName"):
			return "", nil
		case q.Name != "":
			return q.related(pod)
		}
		return "can only list/watch pods with spec.nodeName field selector", nil
	}
	return silent, nil
}

// selects tells whether the request is limited to objects whose field is the node.
func (q *question) selects(field string) bool {
	for _, r := range q.FieldSelector {
		if r.Field == field && r.Operator == selection.Equals && r.Value == q.node {
			return true
		}
	}
	return false
}
