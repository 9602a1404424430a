package webhook

import (
	"errors"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	admissionv1beta1 "k8s.io/api/admission/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// review returns the review to send, and an empty one for the answer, in the first version of the webhook's that is known.
func (i *invocation) review(req *admissionv1.AdmissionRequest) (send, receive runtime.Object, err error) {
	for _, version := range i.AdmissionReviewVersions {
		switch version {
		case admissionv1.SchemeGroupVersion.Version:
			return &admissionv1.AdmissionReview{Request: req}, &admissionv1.AdmissionReview{}, nil
		case admissionv1beta1.SchemeGroupVersion.Version:
			return &admissionv1beta1.AdmissionReview{Request: beta(req)}, &admissionv1beta1.AdmissionReview{}, nil
		}
	}
	return nil, nil, errors.New("webhook does not accept known AdmissionReview versions (v1, v1beta1)")
}

func beta(r *admissionv1.AdmissionRequest) *admissionv1beta1.AdmissionRequest {
	return &admissionv1beta1.AdmissionRequest{
		UID: r.UID, Kind: r.Kind, Resource: r.Resource, SubResource: r.SubResource,
		RequestKind: r.RequestKind, RequestResource: r.RequestResource, RequestSubResource: r.RequestSubResource,
		Name: r.Name, Namespace: r.Namespace, Operation: admissionv1beta1.Operation(r.Operation), UserInfo: r.UserInfo,
		Object: r.Object, OldObject: r.OldObject, DryRun: r.DryRun, Options: r.Options,
	}
}

// answer is what a webhook said.
type answer struct {
	allowed  bool
	patch    []byte
	patchAs  admissionv1.PatchType
	result   *metav1.Status
	warnings []string
}

// answerOf reads and checks a review that a webhook sent.
func answerOf(uid types.UID, mutates bool, received runtime.Object) (*answer, error) {
	switch review := received.(type) {
	case *admissionv1.AdmissionReview:
		a := review.Response
		if a == nil {
			break
		}
		if a.UID != uid {
			return nil, fmt.Errorf("expected response.uid=%q, got %q", uid, a.UID)
		}
		if want := admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"); review.GroupVersionKind() != want {
			return nil, fmt.Errorf("expected webhook response of %v, got %v", want.String(), review.GroupVersionKind().String())
		}
		if err := checkPatch(a, mutates); err != nil {
			return nil, err
		}
		out := &answer{allowed: a.Allowed, result: a.Result, warnings: a.Warnings}
		if mutates && a.PatchType != nil {
			out.patch, out.patchAs = a.Patch, *a.PatchType
		}
		return out, nil
	case *admissionv1beta1.AdmissionReview:
		// Of this version nothing was checked from the beginning.
		a := review.Response
		if a == nil {
			break
		}
		out := &answer{allowed: a.Allowed, result: a.Result, warnings: a.Warnings}
		if mutates && len(a.Patch) > 0 {
			out.patch, out.patchAs = a.Patch, admissionv1.PatchTypeJSONPatch
		}
		return out, nil
	}
	return nil, errors.New("webhook response was absent")
}

func checkPatch(a *admissionv1.AdmissionResponse, mutates bool) error {
	switch {
	case !mutates && len(a.Patch) > 0:
		return errors.New("validating webhook may not return response.patch")
	case !mutates && a.PatchType != nil:
		return errors.New("validating webhook may not return response.patchType")
	case len(a.Patch) > 0 && a.PatchType == nil:
		return errors.New("webhook returned response.patch but not response.patchType")
	case len(a.Patch) == 0 && a.PatchType != nil:
		return errors.New("webhook returned response.patchType but not response.patch")
	case a.PatchType != nil && *a.PatchType == "":
		return fmt.Errorf("webhook returned invalid response.patchType of %q", *a.PatchType)
	}
	return nil
}

// refusal returns the error of a request that a webhook refused: what it says, but always a failure.
func refusal(name string, result *metav1.Status) error {
	status := metav1.Status{}
	if result != nil {
		status = *result
	}
	status.Code = max(status.Code, http.StatusBadRequest)
	if status.Status == "" || status.Status == metav1.StatusSuccess {
		status.Status = metav1.StatusFailure
	}
	denied := fmt.Sprintf("admission webhook %q denied the request", name)
	switch {
	case status.Message != "":
		status.Message = denied + ": " + status.Message
	case status.Reason != "":
		status.Message = denied + ": " + string(status.Reason)
	default:
		status.Message = denied + " without explanation"
	}
	return &apierrors.StatusError{ErrStatus: status}
}
