package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
	p, err := newPatcher(pt, patch)
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
	if err := rq.sameName(obj); err != nil {
		return err
	}
	return rq.sameNamespace(obj)
}

// patcher is a patch that was read.
type patcher struct {
	// apply applies it to the JSON of an object; sample is of the object's Go type.
	apply func(doc []byte, sample runtime.Object) ([]byte, error)
	// fields is the patch itself, if it has the form of an object.
	fields map[string]any
}

func newPatcher(pt types.PatchType, patch []byte) (*patcher, error) {
	switch pt {
	case types.JSONPatchType:
		return newJSONPatcher(patch)
	case types.MergePatchType:
		fields, err := jsonDocument(patch)
		if err != nil {
			return nil, err
		}
		apply := func(doc []byte, _ runtime.Object) ([]byte, error) { return jsonpatch.MergePatch(doc, patch) }
		return &patcher{apply, fields}, nil
	case types.StrategicMergePatchType:
		fields, err := jsonDocument(patch)
		if err != nil {
			return nil, err
		}
		apply := func(doc []byte, sample runtime.Object) ([]byte, error) {
			return strategicpatch.StrategicMergePatch(doc, patch, sample)
		}
		return &patcher{apply, fields}, nil
	}
	return nil, unsupportedPatch()
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

// jsonDocument reads a patch that is a JSON object.
func jsonDocument(patch []byte) (map[string]any, error) {
	var doc map[string]any
	if err := json.Unmarshal(patch, &doc); err != nil || doc == nil {
		return nil, badRequest("invalid JSON patch")
	}
	return doc, nil
}

func newJSONPatcher(patch []byte) (*patcher, error) {
	ops, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, badRequest("error decoding patch: %v", err)
	}
	if len(ops) > maxJSONPatchOps {
		return nil, apierrors.NewRequestEntityTooLargeError(
			fmt.Sprintf("The allowed maximum operations in a JSON patch is %d, got %d", maxJSONPatchOps, len(ops)))
	}
	return &patcher{apply: func(doc []byte, _ runtime.Object) ([]byte, error) {
		out, err := applyJSONPatch(ops, doc)
		if apierrors.IsRequestEntityTooLargeError(err) {
			return nil, err
		}
		if err != nil {
			return nil, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", rqNone, "", err.Error(), 0, false)
		}
		return out, nil
	}}, nil
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
	if rq.isWhole() && rq.res.Custom == nil {
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

// patchedWhole is patched by way of the object's whole JSON.
func (s *Server) patchedWhole(rq *request, p *patcher, old client.Object, fieldValidation string) (runtime.Object, error) {
	before, err := s.view(rq, old)
	if err != nil {
		return nil, err
	}
	doc, err := json.Marshal(before)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	after, err := contained(p.apply, doc, before)
	switch {
	case errors.Is(err, mergepatch.ErrBadJSONDoc), errors.Is(err, mergepatch.ErrBadPatchFormatForPrimitiveList),
		errors.Is(err, mergepatch.ErrBadPatchFormatForRetainKeys), errors.Is(err, mergepatch.ErrBadPatchFormatForSetElementOrderList),
		errors.Is(err, mergepatch.ErrUnsupportedStrategicMergePatchFormat):
		return nil, badRequest("%v", err)
	case err != nil:
		return nil, patchError(rq, err)
	}
	body := emptyLike(before)
	if err := decodeStrictly(rq, after, body, fieldValidation); err != nil {
		var status *apierrors.StatusError
		if errors.As(err, &status) {
			return nil, err
		}
		return nil, apierrors.NewInvalid(schema.GroupKind{}, "",
			field.ErrorList{field.Invalid(field.NewPath("patch"), string(after), err.Error())})
	}
	// A patch can't make one kind another.
	return body, samePatchedKind(body, before, after)
}

func samePatchedKind(body, before runtime.Object, after []byte) error {
	want := before.GetObjectKind().GroupVersionKind()
	if got := body.GetObjectKind().GroupVersionKind(); !got.Empty() && got != want {
		return apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{field.Invalid(field.NewPath("patch"), string(after),
			fmt.Sprintf("converting (%s.%s) to (%s.%s): unknown conversion", got.Version, got.Kind, want.Version, want.Kind))})
	}
	body.GetObjectKind().SetGroupVersionKind(want)
	return nil
}

func patchError(rq *request, err error) error {
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return err
	}
	return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, rq.verb, rq.res.gr, rq.ref.Name, err.Error(), 0, false)
}
