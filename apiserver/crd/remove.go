package crd

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// prefixOf is what the keys of a resource's objects begin with.
func prefixOf(gr schema.GroupResource) string {
	return "/registry/" + gr.Group + "/" + gr.Resource + "/"
}

func parseRevision(version string) int64 {
	n, _ := strconv.ParseInt(version, 10, 64) // the server's own
	return n
}

func hasCleanup(crd *apiextensionsv1.CustomResourceDefinition) bool {
	return apihelpers.CRDHasFinalizer(crd, apiextensionsv1.CustomResourceCleanupFinalizer)
}

// remove removes the instances of a definition that is being deleted, and then lets go of it. Done false means that
// some are left.
func (r *reconciler) remove(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) (done bool, err error) {
	c := terminating(apiextensionsv1.ConditionFalse, "NeverEstablished", "resource was never established")
	if isEstablished(crd) {
		left, err := r.removeInstances(ctx, crd)
		switch {
		case err != nil:
			return false, errors.Join(err, r.note(ctx, crd, terminating(apiextensionsv1.ConditionTrue, "InstanceDeletionFailed",
				fmt.Sprintf("could not issue all deletes: %v", err))))
		case left > 0:
			return false, r.note(ctx, crd, terminating(apiextensionsv1.ConditionTrue, "InstanceDeletionInProgress", "CustomResource deletion is in progress"))
		}
		c = terminating(apiextensionsv1.ConditionFalse, "InstanceDeletionCompleted", "removed all instances")
	}
	if setCondition(crd, c) {
		if crd, err = r.definitions.UpdateStatus(ctx, crd); err != nil {
			return true, err
		}
	}
	apihelpers.CRDRemoveFinalizer(crd, apiextensionsv1.CustomResourceCleanupFinalizer)
	_, err = r.definitions.Update(ctx, crd)
	return true, err
}

// note stores a condition if it is news.
func (r *reconciler) note(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition, c apiextensionsv1.CustomResourceDefinitionCondition) error {
	if !setCondition(crd, c) {
		return nil
	}
	_, err := r.definitions.UpdateStatus(ctx, crd)
	return err
}

// removeInstances deletes all instances and returns how many are left.
func (r *reconciler) removeInstances(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) (left int, err error) {
	gr := schema.GroupResource{Group: crd.Spec.Group, Resource: crd.Status.AcceptedNames.Plural}
	own := r.d.own(ctx, r.api)
	if own.StoresFixed(gr) {
		return 0, nil // they are the server's own, of a definition that was established where the server had none
	}
	why, refused := r.refused[crd.Name]
	if why.shared {
		return 0, nil // they are another definition's
	}
	version := ""
	for _, v := range crd.Spec.Versions {
		if !refused && v.Served && (version == "" || v.Storage) && !own.ServesFixed(gr.Group, v.Name) {
			version = v.Name
		}
	}
	if version == "" { // nobody can see them
		return 0, r.removeStored(ctx, gr)
	}
	ref := client.Ref{GroupVersionResource: gr.WithVersion(version)}
	list, err := r.api.List(ctx, ref, metav1.ListOptions{})
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, item := range list.Items {
		obj := item.(client.Object)
		one := ref
		one.Namespace, one.Name = obj.GetNamespace(), obj.GetName()
		uid := obj.GetUID()
		if err := r.api.Delete(ctx, one, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return len(list.Items), errors.Join(errs...)
	}
	rest, err := r.api.List(ctx, ref, metav1.ListOptions{Limit: 1})
	if err != nil {
		return 0, err
	}
	return len(rest.Items), nil
}

// removeStored removes instances where they are stored.
func (r *reconciler) removeStored(ctx context.Context, gr schema.GroupResource) error {
	prefix := prefixOf(gr)
	all, err := r.d.cfg.Store.Range(ctx, store.Range{Key: prefix, End: store.PrefixEnd(prefix), SkipCount: true})
	if err != nil {
		return err
	}
	for _, e := range all.Entries {
		if _, err := r.d.cfg.Store.Txn(ctx, store.Txn{Then: []store.Op{store.OpDelete(e.Key)}}); err != nil {
			return err
		}
	}
	return nil
}
