package crd

import (
	"context"
	"errors"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// retryAfter is the pause after which what failed, or waits for instances to go, is tried again.
const retryAfter = time.Second

// Run does what Kubernetes' controllers of definitions do, until ctx ends: it accepts names, establishes definitions,
// tells what is wrong with them, and removes the instances of those that are deleted. Several servers over a store
// may each run it. The error is nil on cancel.
func (d *Definitions) Run(ctx context.Context, c client.Interface) error {
	r := &reconciler{d: d, api: c, definitions: client.For[*apiextensionsv1.CustomResourceDefinition](c)}
	for {
		at, again := r.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := d.await(ctx, at, again); err != nil && ctx.Err() == nil {
			d.cfg.Logger.Warn("waiting for changes of definitions failed; trying again", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(retryAfter):
			}
		}
	}
}

// await returns when a definition has changed since a revision, or soon when something is to be tried again.
func (d *Definitions) await(ctx context.Context, since int64, again bool) error {
	if again {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, retryAfter)
		defer cancel()
	}
	prefix := prefixOf(d.row.ResourceRef().GroupResource())
	w, err := d.cfg.Store.Watch(store.WatchConfig{Key: prefix, End: store.PrefixEnd(prefix), Revision: since + 1})
	if err != nil {
		return err
	}
	defer w.Close()
	_, err = w.Next(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrCompacted) {
		return nil
	}
	return err
}

// reconciler brings definitions' status up to date.
type reconciler struct {
	d           *Definitions
	api         client.Interface
	definitions client.Typed[*apiextensionsv1.CustomResourceDefinition]
	// refused are the definitions that are not served, in this round.
	refused map[string]refusal
}

// round looks at all definitions as they are at a revision. Again tells that something is left to do although nothing
// may change.
func (r *reconciler) round(ctx context.Context) (revision int64, again bool) {
	list, err := r.definitions.List(ctx, "", metav1.ListOptions{})
	if err != nil {
		return r.d.cfg.Store.Revision(), true
	}
	revision = parseRevision(list.ResourceVersion)
	own := r.d.own(ctx, r.api)
	if r.refused, err = r.d.refused(ctx, own); err != nil {
		return revision, true
	}
	again = len(r.refused) > 0 // for that may end without a change of theirs
	for i, crd := range list.Items {
		done, next, err := r.reconcile(ctx, crd, list.Items, own)
		if next != nil {
			list.Items[i] = next // whose names the others of the round don't get
		}
		if err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			r.d.cfg.Logger.Warn("a definition can't be reconciled; trying again", "name", crd.Name, "error", err)
			again = true
		}
		again = again || !done
	}
	return revision, again
}

// reconcile brings one definition up to date. Done false means that it is to be looked at again soon; next is its new
// state, if its status was written.
func (r *reconciler) reconcile(ctx context.Context, shared *apiextensionsv1.CustomResourceDefinition,
	all []*apiextensionsv1.CustomResourceDefinition, own builtIn) (done bool, next *apiextensionsv1.CustomResourceDefinition, err error) {
	crd := shared.DeepCopy()
	changed := acceptNames(crd, all, own)
	changed = r.establish(crd) || changed
	changed = judgeSchema(crd) || changed
	changed = judgeApproval(crd) || changed
	changed = judgeServing(crd, r.refused) || changed
	if changed {
		next, err := r.definitions.UpdateStatus(ctx, crd)
		if err != nil {
			next = nil
		}
		return true, next, err // the change is looked at in another round
	}
	if crd.DeletionTimestamp == nil || !hasCleanup(crd) {
		return true, nil, nil
	}
	done, err = r.remove(ctx, crd)
	return done, nil, err
}
