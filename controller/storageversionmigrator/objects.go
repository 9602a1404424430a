package storageversionmigrator

import (
	"context"
	"encoding/json"
	"fmt"

	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// pageSize is how many objects are listed at once.
const pageSize = 500

// counts tell how far a migration is.
type counts struct{ left, total int }

// migrate writes all objects anew that were not written since the migration began.
func (r *reconciler) migrate(ctx context.Context, m *migration, resource controller.Resource) error {
	ref := client.Ref{GroupVersionResource: resource.GroupVersionResource}
	old, total, err := r.candidates(ctx, ref, m.Status.ResourceVersion)
	if err != nil {
		return err
	}
	n := counts{left: len(old), total: total}
	for _, obj := range old {
		ref.Namespace, ref.Name = obj.namespace, obj.name
		err := r.rewrite(ctx, ref, resource, obj.version)
		switch {
		case err == nil, apierrors.IsConflict(err), apierrors.IsNotFound(err):
			n.left-- // written, by this or by somebody else, or gone
		case mayRetry(err):
			set(m, storagemigrationv1.MigrationRunning, metav1.ConditionTrue, "MigrationRunning", progress(n.left, n.total, err))
			_ = r.update(ctx, m) // the error counts, and brings the migration back here
			return err
		default:
			set(m, storagemigrationv1.MigrationRunning, metav1.ConditionTrue, "MigrationRunning", progress(n.left, n.total, nil))
			return r.fail(ctx, m, fmt.Sprintf("%d/%d not yet migrated. migration encountered unhandled error: %v", n.left, n.total, err))
		}
	}
	set(m, storagemigrationv1.MigrationRunning, metav1.ConditionTrue, "MigrationRunning", progress(n.left, n.total, nil))
	set(m, storagemigrationv1.MigrationSucceeded, metav1.ConditionTrue, "StorageVersionMigrationSucceeded", "Migration completed")
	return r.update(ctx, m)
}

// candidate is an object that may have to be written anew.
type candidate struct{ namespace, name, version string }

// candidates returns the objects that were last written before a resource version, and how many there are in all.
func (r *reconciler) candidates(ctx context.Context, ref client.Ref, before string) (out []candidate, total int, err error) {
	opts := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := r.client.List(ctx, ref, opts)
		if err != nil {
			return nil, 0, err
		}
		for _, item := range list.Items {
			obj, ok := item.(metav1.Object)
			if !ok {
				continue
			}
			total++
			order, err := resourceversion.CompareResourceVersion(obj.GetResourceVersion(), before)
			if err != nil {
				return nil, 0, err
			}
			if order <= 0 {
				out = append(out, candidate{obj.GetNamespace(), obj.GetName(), obj.GetResourceVersion()})
			}
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			return out, total, nil
		}
	}
}

// rewrite has the server write an object that stays as it is: that stores it anew if it would be stored otherwise.
func (r *reconciler) rewrite(ctx context.Context, ref client.Ref, resource controller.Resource, version string) error {
	apiVersion, kind := resource.GroupVersionKind().ToAPIVersionAndKind()
	patch, err := json.Marshal(map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"resourceVersion": version}})
	if err != nil {
		return err
	}
	_, err = r.client.Patch(ctx, ref, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
	return err
}

// mayRetry tells of errors that may pass.
func mayRetry(err error) bool {
	return utilnet.IsConnectionReset(err) || utilnet.IsHTTP2ConnectionLost(err) || utilnet.IsProbableEOF(err) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsInternalError(err) || apierrors.IsTimeout(err)
}

// progress tells how far a migration is, in Kubernetes' words.
func progress(left, total int, passing error) string {
	text := "The migration is running"
	switch {
	case total > 0 && left > 0:
		text += fmt.Sprintf(", %d/%d objects not yet migrated", left, total)
	case total > 0:
		text += fmt.Sprintf(", %d objects verified migrated", total)
	}
	if passing != nil {
		text += fmt.Sprintf("; transient error: %v", passing)
	}
	return text
}
