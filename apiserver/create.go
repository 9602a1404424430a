package apiserver

import (
	"context"
	"errors"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// How often a name is generated anew when it is taken, as in kube-apiserver.
const generateAttempts = 8

// create stores a new object; obj becomes the server's.
func (s *Server) create(ctx context.Context, rq *request, obj client.Object) (found, error) {
	if err := rq.sameNamespace(obj); err != nil {
		return found{}, err
	}
	if obj.GetResourceVersion() != "" {
		return found{}, unreasoned("resourceVersion should not be set on objects to be created")
	}
	if rq.ref.Name != "" && obj.GetName() != rq.ref.Name {
		return found{}, badRequest("the name of the object (%s) does not match the name on the URL (%s)", obj.GetName(), rq.ref.Name)
	}
	return s.createNew(ctx, rq, obj)
}

// createNew runs a new object through the pipeline.
func (s *Server) createNew(ctx context.Context, rq *request, obj client.Object) (found, error) {
	named := *rq
	named.ref.Name = obj.GetName()
	rq = &named
	obj, err := rq.served().stored(obj)
	if err != nil {
		return found{}, err
	}
	clearMetadata(obj)
	if rq.res.Default != nil {
		rq.res.Default(obj)
	}
	s.track(rq, rq.res.empty, obj)
	ar := &AdmissionRequest{Operation: Create, Object: obj}
	if err := s.admit(ctx, rq, ar); err != nil {
		return found{}, err
	}
	if err := rq.sameNamespace(obj); err != nil {
		return found{}, err
	}
	if obj.GetResourceVersion() != "" {
		return found{}, apierrors.NewInternalError(errors.New("resourceVersion should not be set on objects to be created"))
	}
	if obj.GetName() != "" || obj.GetGenerateName() == "" {
		return s.createAdmitted(ctx, rq, ar)
	}
	for range generateAttempts {
		try := *ar
		try.Object = obj.DeepCopyObject().(client.Object)
		try.Object.SetName(generateName(obj.GetGenerateName()))
		f, err := s.createAdmitted(ctx, rq, &try)
		if !apierrors.IsAlreadyExists(err) {
			return f, err
		}
	}
	return found{}, apierrors.NewGenerateNameConflict(rq.named(), obj.GetGenerateName(), 1)
}

// createAdmitted runs a new object that admission has made, and that has its name, through the rest of the pipeline.
func (s *Server) createAdmitted(ctx context.Context, rq *request, ar *AdmissionRequest) (found, error) {
	res, obj := rq.res, ar.Object
	named := *rq
	named.ref.Name, ar.Ref.Name = obj.GetName(), obj.GetName()
	rq = &named
	s.beginMetadata(rq, obj)
	if res.Status && !res.KeepStatus {
		res.copyStatus(obj, nil)
	}
	if res.Prepare != nil {
		res.Prepare(obj, nil)
	}
	if res.Sender != nil {
		res.Sender(obj, rq.user)
	}
	if err := rq.validateNew(obj); err != nil {
		return found{}, err
	}
	rq.warnAbout(res.Warnings, obj, nil)
	first, err := s.attempt(ctx, rq, obj)
	if err != nil {
		return found{}, err
	}
	ar.Object = first.obj
	also, err := s.validateAdmission(ctx, rq, ar)
	if err != nil {
		return found{}, err
	}
	ar.Object = obj
	return s.insert(ctx, rq, ar, also, first)
}

// validateNew tells what is wrong with a new object.
func (rq *request) validateNew(obj client.Object) error {
	res, served := rq.res, rq.served()
	var errs field.ErrorList
	if served.Validate != nil {
		errs = served.Validate(obj, nil)
	}
	if len(errs) == 0 || !served.MetadataLast {
		meta := checkMetadata(obj, res.Namespaced, res.nameValidator())
		meta = append(meta, res.checkFinalizers(obj)...)
		errs = append(meta, errs...)
	}
	return rq.invalid(obj, errs)
}

// attempt is a new object with what it claims.
type attempt struct {
	obj    client.Object
	claims *claims
}

// attempt claims what a new object needs. It writes into the object what that is; when somebody else is quicker, the
// next attempt must not take that for the client's wish.
func (s *Server) attempt(ctx context.Context, rq *request, wanted client.Object) (attempt, error) {
	if rq.res.Allocate == nil {
		return attempt{obj: wanted}, nil
	}
	obj := wanted.DeepCopyObject().(client.Object)
	claims, err := s.allocate(ctx, rq, obj, nil)
	return attempt{obj, claims}, err
}

// insert stores a new object in one transaction with what it claims and what admission adds.
func (s *Server) insert(ctx context.Context, rq *request, ar *AdmissionRequest, also settled, try attempt) (found, error) {
	key := rq.key()
	for {
		obj, claims := try.obj, try.claims
		value, err := rq.value(obj)
		if err != nil {
			return found{}, err
		}
		txn := store.Txn{If: []store.Compare{store.IfMissing(key)}, Then: []store.Op{store.OpPut(key, value)}, Else: []store.Op{store.OpGet(key)}}
		done, f, err := s.commit(ctx, rq, txn, also, claims, obj)
		if err != nil || done {
			return f, err
		}
		if f.state != nil {
			return found{}, rq.alreadyExists(f.state)
		}
		if also, err = s.readmit(ctx, rq, ar); err != nil {
			return found{}, err
		}
		if try, err = s.attempt(ctx, rq, ar.Object); err != nil {
			return found{}, err
		}
	}
}

func (rq *request) alreadyExists(e *store.Entry) error {
	err := apierrors.NewAlreadyExists(rq.named(), rq.ref.Name)
	if old, e := rq.res.object(e); e == nil && old.GetDeletionTimestamp() != nil {
		err.ErrStatus.Message = "object is being deleted: " + err.ErrStatus.Message
	}
	return err
}

// commit runs a transaction that writes the request's object as its first operation, with the
// conditions and operations that come along. Done false means that a condition did not hold; f.state
// is then the object's state if the transaction asked for it in Else.
func (s *Server) commit(ctx context.Context, rq *request, txn store.Txn, also settled, claims *claims, obj client.Object) (done bool, f found, err error) {
	for _, g := range also.guards {
		txn.If = append(txn.If, store.IfModRevision(g.key, g.revision))
	}
	txn.Then = append(txn.Then, also.writes...)
	if claims != nil {
		txn.If = append(txn.If, claims.conditions()...)
		txn.Then = append(txn.Then, claims.ops()...)
	}
	if rq.dryRun {
		// Ask what would have happened.
		then := txn.Then
		txn.Then = nil
		if res, err := s.store.Txn(ctx, txn); err != nil || !res.Succeeded {
			return false, elseEntry(rq, &res), storeError(err, 0)
		}
		txn.Then = then
		return true, rq.unstored(then[0], obj), nil
	}
	if rq.batch != nil {
		return true, rq.batch.add(rq.key(), txn, obj), nil
	}
	res, err := s.store.Txn(ctx, txn)
	if err != nil {
		return false, found{}, storeError(err, 0)
	}
	if !res.Succeeded {
		return false, elseEntry(rq, &res), nil
	}
	if len(res.Results) == 0 || len(res.Results[0].Entries) == 0 {
		return true, found{obj: obj}, nil
	}
	return true, rq.res.found(res.Results[0].Entries[0]), nil
}

// unstored returns an object as it would be read back, had it been stored by op.
func (rq *request) unstored(op store.Op, obj client.Object) found {
	if back, err := rq.res.decodeValue(op.Value); err == nil && op.Type == store.TypePut {
		back.SetResourceVersion(obj.GetResourceVersion())
		obj = back
	}
	return found{obj: obj}
}

func elseEntry(rq *request, res *store.TxnResult) found {
	if len(res.Results) > 0 && len(res.Results[0].Entries) > 0 {
		return rq.res.found(res.Results[0].Entries[0])
	}
	return found{}
}

// invalid returns the 422 for what validation found.
func (rq *request) invalid(obj client.Object, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	errs = distinct(errs, rq.res.RepeatMistakes)
	// Kubernetes tells of all, in a time that grows with the square of their number.
	if more := len(errs) - maxCauses; more > 0 {
		errs = append(errs[:maxCauses:maxCauses], field.Invalid(field.NewPath("..."), more, "so many further mistakes are not told"))
	}
	return apierrors.NewInvalid(rq.res.GroupVersionKind.GroupKind(), obj.GetName(), errs)
}

// distinct leaves out what is said already, if others than metadata, which several look at, are not to be repeated.
func distinct(errs field.ErrorList, repeat bool) field.ErrorList {
	seen := make(map[string]bool, len(errs))
	return slices.DeleteFunc(errs, func(err *field.Error) bool {
		if repeat && !strings.HasPrefix(err.Field, "metadata") {
			return false
		}
		text := err.Error()
		before := seen[text]
		seen[text] = true
		return before
	})
}

// maxCauses bounds how many of an object's mistakes an answer tells.
const maxCauses = 200

// warnAbout tells the warnings that about has.
func (rq *request) warnAbout(about func(obj, old client.Object) []string, obj, old client.Object) {
	if about == nil || !rq.heard {
		return
	}
	for _, w := range about(obj, old) {
		rq.warn(w)
	}
}

// value returns what is stored of an object. One that is too large loses its managed fields, unless
// the write is about them.
func (rq *request) value(obj client.Object) ([]byte, error) {
	value, err := rq.res.encode(obj)
	if err == nil && len(value) > maxObject && len(obj.GetManagedFields()) > 0 && !rq.applied {
		obj.SetManagedFields(nil)
		value, err = rq.res.encode(obj)
	}
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if len(value) > maxObject {
		return nil, tooLarge(rq, len(value))
	}
	return value, nil
}

func tooLarge(rq *request, size int) error {
	return apierrors.NewRequestEntityTooLargeError(
		"the " + rq.res.GroupVersionKind.Kind + " would be stored in " + formatVersion(int64(size)) + " bytes; the limit is " + formatVersion(maxObject))
}
