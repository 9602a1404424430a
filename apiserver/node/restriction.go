package node

import (
	"context"
	"errors"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// Restriction returns Kubernetes' admission plugin NodeRestriction: nodes write their own Node, Lease and CSINode, but
// not the labels and taints by which pods are steered; they make mirror pods, write the status of pods that are bound
// to them, evict and delete those, and get tokens for them. Others it leaves alone.
func Restriction() apiserver.AdmissionPlugin {
	return apiserver.AdmissionPlugin{Name: "NodeRestriction", Admit: restrict}
}

// write is a node's write.
type write struct {
	*apiserver.AdmissionRequest
	ctx  context.Context
	node string
}

// restrictions look at a node's writes, by resource.
var restrictions = map[schema.GroupResource]func(*write) error{
	{Resource: "pods"}:                                                        (*write).pods,
	{Resource: "nodes"}:                                                       (*write).nodes,
	{Resource: "persistentvolumeclaims"}:                                      (*write).claims,
	{Resource: "serviceaccounts"}:                                             (*write).serviceAccounts,
	{Group: coordinationv1.GroupName, Resource: "leases"}:                     (*write).leases,
	{Group: storagev1.GroupName, Resource: "csinodes"}:                        (*write).csiNodes,
	{Group: resourcev1.GroupName, Resource: "resourceslices"}:                 (*write).resourceSlices,
	{Group: certificatesv1.GroupName, Resource: "podcertificaterequests"}:     (*write).certificateRequests,
	{Group: certificatesv1.GroupName, Resource: "certificatesigningrequests"}: (*write).signingRequests,
}

func restrict(ctx context.Context, r *apiserver.AdmissionRequest) error {
	name, ok := Of(r.User)
	switch {
	case !ok || r.Operation == apiserver.Connect:
		return nil
	case name == "":
		return fmt.Errorf("could not determine node from user %q", r.User.User)
	}
	if check := restrictions[r.Ref.GroupResource()]; check != nil {
		return check(&write{r, ctx, name})
	}
	return nil
}

// lookup finds an object that a write is about; the error is that of Kubernetes' listers.
func lookup[T client.Object](w *write, gv schema.GroupVersion, resource, singular, namespace, name string) (T, error) {
	var none T
	obj, ok, err := w.Lookup(client.Ref{GroupVersionResource: gv.WithResource(resource), Namespace: namespace, Name: name})
	if err != nil {
		return none, err
	}
	typed, is := obj.(T)
	if !ok || !is {
		return none, apierrors.NewNotFound(gv.WithResource(singular).GroupResource(), name)
	}
	return typed, nil
}

func (w *write) lookupPod(name string) (*corev1.Pod, error) {
	return lookup[*corev1.Pod](w, corev1.SchemeGroupVersion, "pods", "pod", w.Ref.Namespace, name)
}

func (w *write) lookupNode() (*corev1.Node, error) {
	return lookup[*corev1.Node](w, corev1.SchemeGroupVersion, "nodes", "node", "", w.node)
}

// unexpected is for objects of a type that the resource has not.
func unexpected(obj any) error { return fmt.Errorf("unexpected type %T", obj) }

func (w *write) leases() error {
	if w.Ref.Namespace != corev1.NamespaceNodeLease {
		return fmt.Errorf("can only access leases in the %q system namespace", corev1.NamespaceNodeLease)
	}
	if w.Ref.Name != w.node {
		return errors.New("can only access node lease with the same name as the requesting node")
	}
	return nil
}

func (w *write) csiNodes() error {
	if w.Ref.Name != w.node {
		return errors.New("can only access CSINode with the same name as the requesting node")
	}
	if w.Ref.Subresource == "status" {
		return errors.New("CSIVolumeHealth feature gate is disabled")
	}
	return nil
}

func (w *write) resourceSlices() error {
	var obj client.Object
	verb := ""
	switch w.Operation {
	case apiserver.Create:
		obj, verb = w.Object, "create"
	case apiserver.Delete:
		obj, verb = w.Old, "delete"
	default:
		return nil
	}
	s, ok := obj.(*resourcev1.ResourceSlice)
	if !ok {
		return unexpected(obj)
	}
	if s.Spec.NodeName == nil || *s.Spec.NodeName != w.node {
		return fmt.Errorf("can only %s ResourceSlice with the same NodeName as the requesting node", verb)
	}
	return nil
}
