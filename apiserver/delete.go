package apiserver

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// deletion is the outcome of a delete: the object's last or newest state, and whether it is gone.
type deletion struct {
	found
	gone bool
}

// delete removes the object that the request names, or marks it as being deleted.
func (s *Server) delete(ctx context.Context, rq *request, opts *metav1.DeleteOptions) (deletion, error) {
	if err := rq.one(); err != nil {
		return deletion{}, err
	}
	if err := rq.deleteOptions(opts); err != nil {
		return deletion{}, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return deletion{}, err
		}
		cur, err := s.read(ctx, rq)
		if err != nil {
			return deletion{}, err
		}
		done, d, err := s.deleteOnce(ctx, rq, cur, opts)
		if err != nil || done {
			return d, err
		}
	}
}

// orphanDependents is the older form of the propagation policy.
func orphanDependents(opts *metav1.DeleteOptions) *bool {
	//lint:ignore SA1019 clients may still send it
	return opts.OrphanDependents
}

// deleteOnce tries on one state of the object; done false means that it was changed meanwhile.
func (s *Server) deleteOnce(ctx context.Context, rq *request, cur found, opts *metav1.DeleteOptions) (bool, deletion, error) {
	if err := rq.deletePreconditions(cur.obj, opts.Preconditions); err != nil {
		return false, deletion{}, err
	}
	also, err := s.admitDelete(ctx, rq, cur.obj)
	if err != nil {
		return false, deletion{}, err
	}
	if rq.goesAtOnce(cur.obj, opts) {
		if rq.res.GracePeriod != nil && !rq.dryRun && rq.batch == nil {
			return s.removeMarked(ctx, rq, cur, opts, also)
		}
		return s.removeNow(ctx, rq, cur, cur.obj, also)
	}
	if cur.obj.GetDeletionTimestamp() != nil && rq.res.Held != nil && rq.res.Held(cur.obj) {
		return true, deletion{cur, false}, nil // how it goes is settled
	}
	obj := cur.obj.DeepCopyObject().(client.Object)
	if rq.onDelete != nil {
		if also, err = rq.onDelete(ctx, obj); err != nil {
			return false, deletion{}, err
		}
	}
	grace := rq.res.grace(obj, opts)
	changed := rq.res.setDeletionFinalizers(obj, opts)
	held := len(obj.GetFinalizers()) > 0 || rq.res.Held != nil && rq.res.Held(obj)
	if !held && grace == 0 {
		if (rq.onDelete != nil || rq.res.GracePeriod != nil) && !rq.dryRun && rq.batch == nil {
			s.markDeleted(rq, obj, 0)
			return s.removeChanged(ctx, rq, cur, obj, opts, also)
		}
		return s.removeNow(ctx, rq, cur, obj, also)
	}
	if s.markDeleted(rq, obj, grace) || changed {
		done, f, err := s.swap(ctx, rq, obj, cur, also)
		return done, deletion{f, false}, err
	}
	return true, deletion{cur, false}, nil
}

// removeMarked removes an object that could have had a grace period: as in Kubernetes, watches first tell that it was
// told to have none.
func (s *Server) removeMarked(ctx context.Context, rq *request, cur found, opts *metav1.DeleteOptions, also settled) (bool, deletion, error) {
	obj := rq.res.shallow(cur.obj)
	s.markDeleted(rq, obj, 0)
	return s.removeChanged(ctx, rq, cur, obj, opts, also)
}

// removeNow removes an object in its last state, which it leaves alone. One that could have had a grace period is told
// to have had none.
func (s *Server) removeNow(ctx context.Context, rq *request, cur found, last client.Object, also settled) (bool, deletion, error) {
	if rq.res.GracePeriod == nil {
		done, f, err := s.remove(ctx, rq, cur, last, also)
		return done, deletion{f, true}, err
	}
	last = rq.res.shallow(last)
	s.markDeleted(rq, last, 0)
	done, _, err := s.remove(ctx, rq, cur, last, also)
	return done, deletion{found{res: rq.res, obj: last}, true}, err
}

// admitDelete asks admission about a deletion. An eviction has been admitted as such.
func (s *Server) admitDelete(ctx context.Context, rq *request, obj client.Object) (settled, error) {
	if rq.admitted {
		return settled{}, nil
	}
	ar := &AdmissionRequest{Operation: Delete, Old: obj}
	if err := s.admit(ctx, rq, ar); err != nil {
		return settled{}, err
	}
	return s.validateAdmission(ctx, rq, ar)
}

// removeChanged stores what onDelete has made of an object before it removes it, so that watches tell of it.
func (s *Server) removeChanged(ctx context.Context, rq *request, cur found, obj client.Object, opts *metav1.DeleteOptions, also settled) (bool, deletion, error) {
	both := *rq
	both.batch = newBatch()
	if _, _, err := s.swap(ctx, &both, obj, cur, also); err != nil {
		return false, deletion{}, err
	}
	if len(both.batch.txns) == 0 { // it is as before
		done, f, err := s.remove(ctx, rq, cur, obj, also)
		return done, deletion{f, true}, err
	}
	changed, err := s.read(ctx, &both)
	if err != nil {
		return false, deletion{}, err
	}
	if _, _, err := s.remove(ctx, &both, changed, obj, settled{}); err != nil {
		return false, deletion{}, err
	}
	out := s.store.Txns(ctx, both.batch.txns)
	switch stored, removed := out[0], out[1]; {
	case stored.Err != nil || removed.Err != nil:
		return false, deletion{}, storeError(cmp.Or(stored.Err, removed.Err), 0)
	case !stored.Succeeded:
		return false, deletion{}, nil
	case !removed.Succeeded:
		// Somebody has come in between, and what goes along with the deletion is settled.
		plain, any := *rq, *opts
		plain.onDelete, any.Preconditions = nil, &metav1.Preconditions{UID: new(obj.GetUID())}
		d, err := s.delete(ctx, &plain, &any)
		return true, d, err
	}
	return true, deletion{found{obj: obj}, true}, nil
}

// goesAtOnce tells of an object that is removed just as it is. Most are.
func (rq *request) goesAtOnce(obj client.Object, opts *metav1.DeleteOptions) bool {
	plain := opts.PropagationPolicy == nil && orphanDependents(opts) == nil && !rq.res.Orphan || rq.res.NoDependents
	return rq.onDelete == nil && plain && len(obj.GetFinalizers()) == 0 &&
		rq.res.grace(obj, opts) == 0 && (rq.res.Held == nil || !rq.res.Held(obj))
}

func (rq *request) deletePreconditions(obj client.Object, p *metav1.Preconditions) error {
	if p == nil {
		return nil
	}
	if rq.res.gvr == namespacesResource {
		return rq.namespacePreconditions(obj, p)
	}
	gr := schema.GroupResource{Group: rq.res.Group, Resource: rq.res.GroupVersionKind.Kind} // as Kubernetes has it
	if p.UID != nil && *p.UID != obj.GetUID() {
		return apierrors.NewConflict(gr, rq.ref.Name, fmt.Errorf(
			"the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *p.UID, obj.GetUID()))
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != obj.GetResourceVersion() {
		return apierrors.NewConflict(gr, rq.ref.Name, fmt.Errorf(
			"the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *p.ResourceVersion, obj.GetResourceVersion()))
	}
	return nil
}

const preconditionFailed = "Precondition failed"

// namespacePreconditions are checked by Kubernetes in a store that namespaces have to themselves, and that has words of
// its own.
func (rq *request) namespacePreconditions(obj client.Object, p *metav1.Preconditions) error {
	if p.UID != nil && *p.UID != obj.GetUID() {
		return apierrors.NewConflict(rq.named(), rq.ref.Name, fmt.Errorf("%s: UID in precondition: %v, UID in object meta: %v", preconditionFailed, *p.UID, obj.GetUID()))
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != obj.GetResourceVersion() {
		return apierrors.NewConflict(rq.named(), rq.ref.Name, fmt.Errorf("%s: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v",
			preconditionFailed, *p.ResourceVersion, obj.GetResourceVersion()))
	}
	return nil
}

// grace returns the seconds that the deletion of an object takes, 0 for none.
func (r *resource) grace(obj client.Object, opts *metav1.DeleteOptions) int64 {
	if r.GracePeriod == nil {
		return 0
	}
	own := r.GracePeriod(obj)
	if own == 0 || opts.GracePeriodSeconds == nil {
		return own
	}
	if *opts.GracePeriodSeconds < 0 {
		return 1
	}
	return *opts.GracePeriodSeconds
}

// markDeleted sets the deletion timestamp of an object that finalizers or its grace period hold. It
// tells whether that changed the object: a deletion under way can only be hastened.
func (s *Server) markDeleted(rq *request, obj client.Object, grace int64) bool {
	at := s.timestamp()
	if since := obj.GetDeletionTimestamp(); since != nil {
		before := obj.GetDeletionGracePeriodSeconds()
		if before == nil || grace >= *before {
			return false
		}
		at = metav1.NewTime(since.Add(time.Duration(grace-*before) * time.Second))
	} else {
		at = metav1.NewTime(at.Add(time.Duration(grace) * time.Second))
		if obj.GetGeneration() > 0 && rq.res.Deleting == nil { // kinds with a deletion of their own leave it
			obj.SetGeneration(obj.GetGeneration() + 1)
		}
	}
	obj.SetDeletionTimestamp(&at)
	if rq.res.Held == nil { // namespaces have no grace period, not even of 0
		obj.SetDeletionGracePeriodSeconds(&grace)
	}
	if rq.res.Deleting != nil {
		rq.res.Deleting(obj)
	}
	return true
}

// setDeletionFinalizers leaves word for the garbage collector about what should become of the
// object's dependents. It tells whether that changed the object.
func (r *resource) setDeletionFinalizers(obj client.Object, opts *metav1.DeleteOptions) bool {
	before := obj.GetFinalizers()
	policy, ok := r.propagation(before, opts)
	if !ok {
		return false
	}
	after := slices.DeleteFunc(slices.Clone(before), func(f string) bool {
		return f == metav1.FinalizerOrphanDependents || f == metav1.FinalizerDeleteDependents
	})
	switch policy {
	case metav1.DeletePropagationOrphan:
		after = append(after, metav1.FinalizerOrphanDependents)
	case metav1.DeletePropagationForeground:
		after = append(after, metav1.FinalizerDeleteDependents)
	}
	obj.SetFinalizers(after)
	return !slices.Equal(before, after)
}

// propagation returns what a deletion asks to become of dependents; ok is false when it asks for nothing.
func (r *resource) propagation(finalizers []string, opts *metav1.DeleteOptions) (policy metav1.DeletionPropagation, ok bool) {
	switch old := orphanDependents(opts); {
	case r.NoDependents:
		return "", false
	case opts.PropagationPolicy != nil:
		return *opts.PropagationPolicy, true
	case old != nil && *old:
		return metav1.DeletePropagationOrphan, true
	case old != nil:
		return metav1.DeletePropagationBackground, true
	}
	told := slices.Contains(finalizers, metav1.FinalizerOrphanDependents) || slices.Contains(finalizers, metav1.FinalizerDeleteDependents)
	return metav1.DeletePropagationOrphan, r.Orphan && !told
}

// remove deletes an object from the store if it is still in the state it was read in. last is the
// state it is last seen in.
func (s *Server) remove(ctx context.Context, rq *request, cur found, last client.Object, also settled) (bool, found, error) {
	claims, err := s.allocate(ctx, rq, nil, cur.obj)
	if err != nil {
		return false, found{}, err
	}
	key := rq.key()
	txn := store.Txn{If: []store.Compare{store.IfModRevision(key, cur.state.ModRevision)}, Then: []store.Op{store.OpDelete(key)}}
	done, f, err := s.commit(ctx, rq, txn, also, claims, last)
	return done, f, err
}
