package apiserver

import (
	"context"
	"reflect"
	"slices"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// replace is a PUT of the object or of one of its subresources; body becomes the server's.
func (s *Server) replace(ctx context.Context, rq *request, body runtime.Object) (f found, created bool, err error) {
	if err := rq.one(); err != nil {
		return found{}, false, err
	}
	obj, ok := body.(client.Object)
	if !ok {
		return found{}, false, badRequest("the object provided is a %T, which has no metadata", body)
	}
	if err := rq.sameName(obj); err != nil {
		return found{}, false, err
	}
	if err := rq.sameNamespace(obj); err != nil {
		return found{}, false, err
	}
	// A status that is for one version only is not tried twice, which would need the body as it was.
	once, tried := rq.ref.Subresource == "status" && obj.GetResourceVersion() != "" && obj.GetResourceVersion() != "0", false
	f, err = s.update(ctx, rq, func(client.Object) (runtime.Object, error) {
		switch {
		case !once:
			return body.DeepCopyObject(), nil
		case tried:
			return nil, apierrors.NewConflict(rq.named(), rq.ref.Name, errModified)
		}
		tried = true
		return body, nil
	})
	if apierrors.IsNotFound(err) && rq.res.UpdateCreates && rq.ref.Subresource == "" && rq.isAboutObject(err) {
		if uid := obj.GetUID(); uid != "" {
			return found{}, false, apierrors.NewConflict(rq.named(), rq.ref.Name, rq.uidMismatch("", uid))
		}
		obj.SetResourceVersion("")
		create := *rq
		create.verb = verbCreate
		if err := s.authorize(ctx, &create); err != nil {
			return found{}, false, err
		}
		f, err = s.create(ctx, &create, obj)
		return f, true, err
	}
	return f, false, err
}

// isAboutObject tells that a NotFound is about the object itself, not its namespace.
func (rq *request) isAboutObject(err error) bool {
	d := asStatus(err).ErrStatus.Details
	return d != nil && d.Kind == rq.res.Resource && d.Name == rq.ref.Name
}

// update changes a stored object. Change returns what the client wants to be there, given what is:
// old is shared, what is returned becomes the server's. It runs again when others change the object
// meanwhile, unless the client named a resourceVersion.
func (s *Server) update(ctx context.Context, rq *request, change func(old client.Object) (runtime.Object, error)) (found, error) {
	for {
		if err := ctx.Err(); err != nil {
			return found{}, err
		}
		cur, err := s.read(ctx, rq)
		if err != nil {
			return found{}, err
		}
		body, err := change(cur.obj)
		if err != nil {
			return found{}, err
		}
		obj, err := s.wanted(rq, body, cur.obj)
		if err != nil {
			return found{}, err
		}
		done, f, err := s.finishUpdate(ctx, rq, obj, cur)
		if err != nil || done {
			return f, err
		}
	}
}

// wanted returns the object, or the scale, that the client wants, as admission gets to see it.
func (s *Server) wanted(rq *request, body runtime.Object, old client.Object) (client.Object, error) {
	if scale, ok := body.(*autoscalingv1.Scale); ok && rq.ref.Subresource == "scale" {
		if err := rq.checkPreconditions(scale, old); err != nil {
			return nil, err
		}
		if scale.Spec.Replicas < 0 && rq.res.Custom == nil { // a custom object tells of it itself
			return nil, apierrors.NewInvalid(autoscalingv1.SchemeGroupVersion.WithKind("Scale").GroupKind(), scale.Name, field.ErrorList{
				field.Invalid(field.NewPath("spec", "replicas"), scale.Spec.Replicas, "must be greater than or equal to 0").WithOrigin("minimum")})
		}
		live, err := newScaleFields(rq.res, old).scale(rq.res, old)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		s.track(rq, live, scale)
		return scale, nil
	}
	obj, ok := body.(client.Object)
	if !ok || reflect.TypeOf(body) != rq.served().typ {
		return nil, badRequest("the object provided is a %T, not a %s", body, rq.served().typ)
	}
	obj, err := rq.served().stored(obj)
	if err != nil {
		return nil, err
	}
	if err := rq.checkPreconditions(obj, old); err != nil {
		return nil, err
	}
	if rq.res.Default != nil {
		rq.res.Default(obj)
	}
	s.track(rq, old, obj)
	return obj, nil
}

// rescale sets an object's replicas to those of a Scale, and the managed fields along with them.
func (s *Server) rescale(rq *request, scale *autoscalingv1.Scale, old client.Object) (client.Object, error) {
	obj := old.DeepCopyObject().(client.Object)
	rq.res.Scale.Set(obj, scale.Spec.Replicas)
	entries, err := newScaleFields(rq.res, old).handler.ToParent(scale.ManagedFields)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	obj.SetManagedFields(entries)
	return obj, nil
}

// merge makes the object that a write to the object or to a subresource results in, of what admission has made.
func (s *Server) merge(rq *request, obj, old client.Object) (client.Object, error) {
	res := rq.res
	if scale, ok := obj.(*autoscalingv1.Scale); ok && rq.ref.Subresource == "scale" {
		return s.rescale(rq, scale, old)
	}
	if rq.ref.Subresource == "" {
		if res.Status {
			res.copyStatus(obj, old.DeepCopyObject().(client.Object))
		}
		return obj, nil
	}
	c := old.DeepCopyObject().(client.Object)
	if sub, ok := res.Subresources[rq.ref.Subresource]; ok && sub.Merge != nil {
		sub.Merge(c, obj)
		c.SetManagedFields(obj.GetManagedFields())
		return c, nil
	}
	res.copyStatus(c, obj)
	if res.Custom != nil {
		c.SetManagedFields(obj.GetManagedFields())
		return c, nil // of these, a status is all that it can change
	}
	res.copyStatusMetadata(c, obj)
	return c, nil
}

// copyStatusMetadata makes an object's metadata that of a write to its status, which may change it as any other
// write, but for what the kind resets.
func (r *resource) copyStatusMetadata(stored, body client.Object) {
	stored.SetManagedFields(body.GetManagedFields())
	stored.SetGenerateName(body.GetGenerateName())
	stored.SetUID(body.GetUID())
	if slices.Contains(r.StatusResets, "metadata") {
		return
	}
	if !slices.Contains(r.StatusResets, "metadata.labels") {
		stored.SetLabels(body.GetLabels())
	}
	if !slices.Contains(r.StatusResets, "metadata.ownerReferences") {
		stored.SetOwnerReferences(body.GetOwnerReferences())
	}
	if !slices.Contains(r.StatusResets, "metadata.deletionTimestamp") {
		stored.SetDeletionTimestamp(body.GetDeletionTimestamp())
		stored.SetDeletionGracePeriodSeconds(body.GetDeletionGracePeriodSeconds())
	}
	stored.SetAnnotations(body.GetAnnotations())
	stored.SetFinalizers(body.GetFinalizers())
}

// checkPreconditions compares the identity and version that the client sent with what is stored.
func (rq *request) checkPreconditions(obj, old client.Object) error {
	// To a patch the uid is a field that can't change, not a precondition.
	if uid := obj.GetUID(); uid != "" && uid != old.GetUID() && rq.verb != verbPatch {
		return apierrors.NewConflict(rq.named(), rq.ref.Name, rq.uidMismatch(old.GetUID(), uid))
	}
	version := obj.GetResourceVersion()
	if version == "" || version == "0" {
		if rq.res.ConditionalUpdate && rq.verb == verbUpdate {
			named := schema.GroupKind{Group: rq.res.Group, Kind: rq.res.Resource} // as Kubernetes has it
			return apierrors.NewInvalid(named, rq.ref.Name, field.ErrorList{
				field.Invalid(metadataPath.Child("resourceVersion"), 0, "must be specified for an update")})
		}
		return nil
	}
	if _, err := parseVersion(version); err != nil {
		return unreasoned("%v", err)
	}
	if version != old.GetResourceVersion() {
		return apierrors.NewConflict(rq.named(), rq.ref.Name, errModified)
	}
	return nil
}

// finishUpdate runs an update through the rest of the pipeline. Done false means that the object was
// changed meanwhile.
func (s *Server) finishUpdate(ctx context.Context, rq *request, obj client.Object, cur found) (done bool, f found, err error) {
	res, old := rq.res, cur.obj
	ar := &AdmissionRequest{Operation: Update, Object: obj, Old: rq.admissible(old)}
	if scale, ok := ar.Old.(*autoscalingv1.Scale); ok {
		if live, err := newScaleFields(res, old).scale(res, old); err == nil {
			scale.ManagedFields = live.GetManagedFields()
		}
	}
	if err := s.admit(ctx, rq, ar); err != nil {
		return false, found{}, err
	}
	if err := rq.sameNamespace(obj); err != nil {
		return false, found{}, err
	}
	if ar.replaced {
		if err := rq.checkPreconditions(obj, old); err != nil {
			return false, found{}, err
		}
	}
	if obj, err = s.merge(rq, obj, old); err != nil {
		return false, found{}, err
	}
	keepMetadata(obj, old)
	obj.SetResourceVersion(old.GetResourceVersion())
	ar.Object, ar.Old = rq.admissible(obj), rq.admissible(old)
	isStatus := rq.ref.Subresource == "status"
	if res.Prepare != nil && (rq.ref.Subresource == "" || rq.ref.Subresource == "scale") {
		res.Prepare(obj, old)
	}
	if isStatus && res.PrepareStatus != nil {
		res.PrepareStatus(obj, old)
	}
	if res.Generation && !isStatus && !res.sameSpec(obj, old) {
		obj.SetGeneration(old.GetGeneration() + 1)
	}
	if err := rq.validateUpdate(obj, old); err != nil {
		return false, found{}, err
	}
	also, err := s.validateAdmission(ctx, rq, ar)
	if err != nil {
		return false, found{}, err
	}
	if res.released(obj, old) {
		return s.remove(ctx, rq, cur, obj, also)
	}
	return s.swap(ctx, rq, obj, cur, also)
}

// validateUpdate refuses what is wrong with the new state of an object, and warns of the rest.
func (rq *request) validateUpdate(obj, old client.Object) error {
	res, isStatus := rq.res, rq.ref.Subresource == "status"
	errs := checkMetadata(obj, res.Namespaced, pathSegment)
	errs = append(errs, checkMetadataUpdate(obj, old, res.Namespaced)...)
	errs = append(errs, res.checkFinalizers(obj)...)
	switch {
	case isStatus && res.ValidateStatus != nil:
		errs = append(errs, res.ValidateStatus(obj, old)...)
	case res.Subresources[rq.ref.Subresource].Validate != nil:
		errs = append(errs, res.Subresources[rq.ref.Subresource].Validate(obj, old)...)
	case !isStatus && rq.served().Validate != nil:
		errs = append(errs, rq.served().Validate(obj, old)...)
	}
	if err := rq.invalid(obj, errs); err != nil {
		return err
	}
	if isStatus {
		rq.warnAbout(res.StatusWarnings, obj, old)
	} else {
		rq.warnAbout(res.Warnings, obj, old)
	}
	return nil
}

// admissible returns what admission gets to see of an object: the object itself or its scale.
func (rq *request) admissible(obj client.Object) client.Object {
	if rq.ref.Subresource == "scale" && rq.res.Scale != nil {
		return scaleOf(rq.res, obj)
	}
	return obj
}

// released tells that nothing holds an object that is being deleted any more.
func (r *resource) released(obj, old client.Object) bool {
	grace := old.GetDeletionGracePeriodSeconds()
	return old.GetDeletionTimestamp() != nil && (grace == nil || *grace == 0) &&
		len(obj.GetFinalizers()) == 0 && (r.Held == nil || !r.Held(obj))
}

// swap stores the new state of an object if it is still in the state it was read in.
func (s *Server) swap(ctx context.Context, rq *request, obj client.Object, cur found, also settled) (bool, found, error) {
	claims, err := s.allocate(ctx, rq, obj, cur.obj)
	if err != nil {
		return false, found{}, err
	}
	// The time of a manager's last change is no change by itself.
	restore, timesChanged := keepTimes(obj, cur.obj)
	value, err := rq.value(obj)
	if err != nil {
		return false, found{}, err
	}
	key := rq.key()
	if string(value) == string(cur.state.Value) {
		// Nothing changes, so nothing is written, as in Kubernetes.
		return true, cur, nil
	}
	if timesChanged {
		restore()
		if value, err = rq.value(obj); err != nil {
			return false, found{}, err
		}
	}
	txn := store.Txn{If: []store.Compare{store.IfModRevision(key, cur.state.ModRevision)}, Then: []store.Op{store.OpPut(key, value)}}
	return s.commit(ctx, rq, txn, also, claims, obj)
}
