package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"github.com/inboard/inboard/apiserver/client"
)

// maxJSONPatchOps bounds the operations of a JSON patch, as kube-apiserver does.
const maxJSONPatchOps = 10000

// patch is a PATCH of the object or of one of its subresources.
func (s *Server) patch(ctx context.Context, rq *request, pt types.PatchType, patch []byte, opts *metav1.PatchOptions) (f found, created bool, err error) {
	if err := rq.one(); err != nil {
		return found{}, false, err
	}
	if err := rq.checkSubresource(); err != nil {
		return found{}, false, err
	}
	if pt == types.ApplyYAMLPatchType {
		return s.apply(ctx, rq, patch, opts)
	}
	if pt == types.StrategicMergePatchType && rq.res.Custom != nil {
		return found{}, false, noStrategicMerge()
	}
	p, err := newPatcher(pt, patch, opts.FieldValidation)
	if err != nil {
		return found{}, false, err
	}
	f, err = s.update(ctx, rq, func(old client.Object) (runtime.Object, error) {
		body, err := s.patched(rq, p, old, opts.FieldValidation)
		if err != nil {
			return nil, err
		}
		return body, rq.samePatched(body)
	})
	return f, false, err
}

// samePatched sees to it that a patch leaves the object's name and namespace alone.
func (rq *request) samePatched(body runtime.Object) error {
	obj, ok := body.(client.Object)
	if !ok {
		return badRequest("the patched object is a %T, which has no metadata", body)
	}
	if err := rq.sameNamespace(obj); err != nil {
		return err
	}
	return rq.sameName(obj)
}

// patcher is a patch that was read.
type patcher struct {
	// apply applies it to the JSON of an object; sample is of the object's Go type.
	apply func(doc []byte, sample runtime.Object) ([]byte, error)
	// fields is the patch itself, if it has the form of an object.
	fields map[string]any
	// strategic tells that it is to be applied to the object, and not to its JSON.
	strategic bool
	// strict is what is wrong with the document beyond what it says, err what makes it useless. It is told to those
	// alone who patch what is there.
	strict []error
	err    error
}

func newPatcher(pt types.PatchType, patch []byte, fieldValidation string) (*patcher, error) {
	p := &patcher{}
	switch pt {
	case types.JSONPatchType:
		p.readJSONPatch(patch, fieldValidation)
	case types.MergePatchType:
		if p.readObject(patch, fieldValidation); p.err != nil {
			p.err = badRequest("error decoding patch: %v", p.err)
		}
		p.apply = func(doc []byte, _ runtime.Object) ([]byte, error) { return jsonpatch.MergePatch(doc, patch) }
	case types.StrategicMergePatchType:
		if p.readObject(patch, fieldValidation); p.err != nil {
			p.err = badRequest("%v", p.err)
		}
		p.strategic = true
		p.apply = func(doc []byte, sample runtime.Object) ([]byte, error) {
			return strategicpatch.StrategicMergePatch(doc, patch, sample)
		}
	default:
		return nil, unsupportedPatch()
	}
	if !json.Valid(patch) {
		return nil, badRequest("invalid JSON patch") // whatever there is to patch
	}
	return p, nil
}

func knownPatch(pt types.PatchType) bool {
	switch pt {
	case types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType, types.ApplyYAMLPatchType:
		return true
	}
	return false
}

func unsupportedPatch() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
		Message: "415: Unsupported Media Type", Details: &metav1.StatusDetails{},
	}}
}

// noStrategicMerge is the answer to a strategic merge patch of a custom object, whose schema says too little for that.
func noStrategicMerge() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
		Message: "the body of the request was in an unknown format - accepted media types include: " +
			strings.Join([]string{string(types.JSONPatchType), string(types.MergePatchType), string(types.ApplyYAMLPatchType)}, ", "),
	}}
}

// readObject reads a patch that is a JSON object.
func (p *patcher) readObject(patch []byte, fieldValidation string) {
	if fieldValidation == metav1.FieldValidationIgnore {
		p.err = kjson.UnmarshalCaseSensitivePreserveInts(patch, &p.fields)
		return
	}
	p.strict, p.err = kjson.UnmarshalStrict(patch, &p.fields)
}

// jsonPatchOp is what an operation of a JSON patch may be made of.
type jsonPatchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	From  string `json:"from"`
	Value any    `json:"value"`
}

func (p *patcher) readJSONPatch(patch []byte, fieldValidation string) {
	if fieldValidation != metav1.FieldValidationIgnore {
		var known []jsonPatchOp
		var err error
		if p.strict, err = kjson.UnmarshalStrict(patch, &known); err != nil {
			p.err = badRequest("error decoding patch: %v", err)
			return
		}
		for i, e := range p.strict {
			p.strict[i] = fmt.Errorf("json patch %w", e)
		}
	}
	ops, err := jsonpatch.DecodePatch(patch)
	switch {
	case err != nil:
		p.err = badRequest("%v", err)
	case len(ops) > maxJSONPatchOps:
		p.err = apierrors.NewRequestEntityTooLargeError(
			fmt.Sprintf("The allowed maximum operations in a JSON patch is %d, got %d", maxJSONPatchOps, len(ops)))
	}
	p.apply = func(doc []byte, _ runtime.Object) ([]byte, error) {
		out, err := applyJSONPatch(ops, doc)
		if err != nil && !apierrors.IsRequestEntityTooLargeError(err) {
			err = apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", rqNone, "", err.Error(), 0, false)
		}
		return out, err
	}
}

// contained applies a patch, and makes an error of a panic: the patch libraries have some, for patches
// such as a "replace" without a value.
func contained(apply func([]byte, runtime.Object) ([]byte, error), doc []byte, sample runtime.Object) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = badRequest("the patch can't be applied: it is malformed (%v)", p)
		}
	}()
	return apply(doc, sample)
}

// patched returns the object that the patch makes of what the request names.
func (s *Server) patched(rq *request, p *patcher, old client.Object, fieldValidation string) (runtime.Object, error) {
	if p.err != nil {
		return nil, p.err
	}
	if rq.isWhole() && rq.res.Custom == nil && len(p.strict) == 0 {
		before, err := rq.served().shown(old)
		if err != nil {
			return nil, err
		}
		if after, ok := patchedPart(p, before); ok {
			return after, nil
		}
	}
	return s.patchedWhole(rq, p, old, fieldValidation)
}

// patchedWhole is patched by way of the whole object.
func (s *Server) patchedWhole(rq *request, p *patcher, old client.Object, fieldValidation string) (runtime.Object, error) {
	before, err := s.view(rq, old)
	if err != nil {
		return nil, err
	}
	if p.strategic {
		return patchedStrategic(rq, p, before, fieldValidation)
	}
	doc, err := json.Marshal(before)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	after, err := contained(p.apply, doc, before)
	switch {
	case errors.Is(err, jsonpatch.ErrBadJSONPatch):
		return nil, badRequest("%v", err)
	case err != nil:
		return nil, patchError(err)
	}
	if rq.res.Custom != nil && rq.ref.Subresource == "" {
		if err := rq.stillCustom(after, old.GetName()); err != nil {
			return nil, err
		}
	}
	body := emptyLike(before)
	if err := decodeStrictly(rq, after, body, fieldValidation, p.strict...); err != nil {
		return nil, invalidPatch(string(after), err)
	}
	// A patch can't make one kind another.
	return body, samePatchedKind(body, before, after)
}

// patchedStrategic applies a strategic merge patch to the fields of an object, which are not always what they are in
// JSON.
func patchedStrategic(rq *request, p *patcher, before runtime.Object, fieldValidation string) (_ runtime.Object, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = badRequest("the patch can't be applied: it is malformed (%v)", p)
		}
	}()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(before)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if fields, err = strategicpatch.StrategicMergeMapPatch(fields, runtime.DeepCopyJSON(p.fields), before); err != nil {
		return nil, strategicError(err)
	}
	body := emptyLike(before)
	strictly := fieldValidation != metav1.FieldValidationIgnore
	err = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(fields, body, strictly)
	strict := p.strict
	if more, ok := runtime.AsStrictDecodingError(err); ok {
		strict, err = slices.Concat(strict, more.Errors()), nil
	}
	if err == nil {
		err = rq.tellStrict(strict, fieldValidation)
	}
	if err != nil {
		return nil, invalidPatch(fmt.Sprintf("%+v", p.fields), err)
	}
	body.GetObjectKind().SetGroupVersionKind(before.GetObjectKind().GroupVersionKind())
	return body, nil
}

// strategicError tells mistakes of the client's from what Kubernetes takes for its own.
func strategicError(err error) error {
	switch {
	case errors.Is(err, mergepatch.ErrBadJSONDoc), errors.Is(err, mergepatch.ErrBadPatchFormatForPrimitiveList),
		errors.Is(err, mergepatch.ErrBadPatchFormatForRetainKeys), errors.Is(err, mergepatch.ErrBadPatchFormatForSetElementOrderList),
		errors.Is(err, mergepatch.ErrUnsupportedStrategicMergePatchFormat):
		return badRequest("%v", err)
	case errors.Is(err, mergepatch.ErrNoListOfLists), errors.Is(err, mergepatch.ErrPatchContentNotMatchRetainKeys):
		return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", rqNone, "", err.Error(), 0, false)
	}
	return patchError(err)
}

// invalidPatch is the answer for a patch that makes of an object what can't be read.
func invalidPatch(patched string, err error) error {
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return err
	}
	return apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{field.Invalid(field.NewPath("patch"), patched, err.Error())})
}

func samePatchedKind(body, before runtime.Object, after []byte) error {
	want := before.GetObjectKind().GroupVersionKind()
	if got := body.GetObjectKind().GroupVersionKind(); !got.Empty() && got != want {
		return invalidPatch(string(after), fmt.Errorf("converting (%s.%s) to (%s.%s): unknown conversion", got.Version, got.Kind, want.Version, want.Kind))
	}
	body.GetObjectKind().SetGroupVersionKind(want)
	return nil
}

func patchError(err error) error {
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return err
	}
	return unreasoned("%v", err)
}
