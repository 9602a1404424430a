package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// mayRead refuses policies and bindings whose parameters their author may not read, as their messages can tell what
// these are. To Kubernetes this is a part of validation.
func (p *Policies) mayRead(ctx context.Context, r *apiserver.AdmissionRequest) error {
	if r.Ref.Group != admissionregistrationv1.GroupName || r.Object == nil || r.Ref.Subresource != "" ||
		slices.Contains(r.User.Groups, apiserver.GroupMasters) {
		return nil
	}
	at, err := "paramKind", error(nil)
	switch o := r.Object.(type) {
	case *validatingPolicy:
		old, _ := r.Old.(*validatingPolicy)
		if old == nil || !sameKind(o.Spec.ParamKind, old.Spec.ParamKind) {
			err = mayReadKind(ctx, r, o.Spec.ParamKind)
		}
	case *mutatingPolicy:
		old, _ := r.Old.(*mutatingPolicy)
		if old == nil || !sameKind(o.Spec.ParamKind, old.Spec.ParamKind) {
			err = mayReadKind(ctx, r, o.Spec.ParamKind)
		}
	case *validatingBinding:
		at = "paramRef"
		old, _ := r.Old.(*validatingBinding)
		if old == nil || old.Spec.PolicyName != o.Spec.PolicyName || !sameRef(o.Spec.ParamRef, old.Spec.ParamRef) {
			err = mayReadParams(ctx, r, o.Spec.ParamRef, o.Spec.PolicyName, "validatingadmissionpolicies")
		}
	case *mutatingBinding:
		at = "paramRef"
		old, _ := r.Old.(*mutatingBinding)
		if old == nil || old.Spec.PolicyName != o.Spec.PolicyName || !sameRef(o.Spec.ParamRef, old.Spec.ParamRef) {
			err = mayReadParams(ctx, r, o.Spec.ParamRef, o.Spec.PolicyName, "mutatingadmissionpolicies")
		}
	}
	if err == nil {
		return nil
	}
	return apierrors.NewInvalid(r.Kind.GroupKind(), r.Object.GetName(), field.ErrorList{field.Forbidden(specPath.Child(at), err.Error())})
}

func sameKind(a, b *admissionregistrationv1.ParamKind) bool { return a != nil && b != nil && *a == *b }

// sameRef tells that a reference did not change. Kubernetes compares pointers in it, so one with a selector or an
// action always did.
func sameRef(a, b *admissionregistrationv1.ParamRef) bool { return a != nil && b != nil && *a == *b }

// userText is how Kubernetes' messages show a user.
func userText(id *apiserver.Identity) string {
	return fmt.Sprintf("&{%s %s %v %v}", id.User, id.UID, id.Groups, id.Extra)
}

func mayReadKind(ctx context.Context, r *apiserver.AdmissionRequest, kind *admissionregistrationv1.ParamKind) error {
	if kind == nil {
		return nil
	}
	a, _ := attributesOf(r, kind)
	a.Verb, a.Name, a.Namespace = "get", "*", "*"
	ok, _, err := r.Authorizer().Authorize(ctx, a)
	if err == nil && !ok {
		err = fmt.Errorf(`user %v must have "get" permission on all objects of the referenced paramKind (kind=%s, apiVersion=%s)`,
			userText(r.User), kind.Kind, kind.APIVersion)
	}
	return err
}

// attributesOf returns a request for objects of a kind: for all resources when the kind is nil, for all of its group and
// version and an error when it is not served.
func attributesOf(r *apiserver.AdmissionRequest, kind *admissionregistrationv1.ParamKind) (*apiserver.Attributes, error) {
	a := &apiserver.Attributes{User: r.User, APIGroup: "*", APIVersion: "*", Resource: "*"}
	if kind == nil {
		return a, nil
	}
	gvk := schema.FromAPIVersionAndKind(kind.APIVersion, kind.Kind)
	a.APIGroup, a.APIVersion = gvk.Group, gvk.Version
	gvr, _, ok := r.Served(gvk)
	if !ok {
		return a, errors.New("it is not served")
	}
	a.Resource = gvr.Resource
	return a, nil
}

func mayReadParams(ctx context.Context, r *apiserver.AdmissionRequest, ref *admissionregistrationv1.ParamRef, policy, policies string) error {
	if ref == nil {
		return nil
	}
	verb := "get"
	if ref.Name == "" {
		verb = "list"
	}
	obj, found, err := r.Lookup(client.Ref{GroupVersionResource: admissionregistrationv1.SchemeGroupVersion.WithResource(policies), Name: policy})
	if err != nil {
		found = false
	}
	var kind *admissionregistrationv1.ParamKind
	prefix := "failed to authorize request: "
	switch o := obj.(type) {
	case *validatingPolicy:
		kind = o.Spec.ParamKind
	case *mutatingPolicy:
		kind = o.Spec.ParamKind
	}
	if policies == "mutatingadmissionpolicies" {
		prefix = ""
	}
	a, unresolved := attributesOf(r, kind)
	a.Verb, a.Name, a.Namespace = verb, ref.Name, ref.Namespace
	ok, _, err := r.Authorizer().Authorize(ctx, a)
	const rest = `to determine minimum required permissions and user %v does not have "%v" permission for all groups, versions and resources`
	switch {
	case err != nil:
		return fmt.Errorf("%s%w", prefix, err)
	case ok:
		return nil
	case !found:
		return fmt.Errorf("unable to get policy %s "+rest, policy, userText(r.User), verb)
	case unresolved != nil:
		return fmt.Errorf("unable to resolve paramKind %v "+rest, shownKind(kind), userText(r.User), verb)
	case policies == "mutatingadmissionpolicies":
		// Kubernetes has these two the wrong way round.
		return fmt.Errorf(`user %v does not have "%v" permission on the object referenced by paramRef`, verb, userText(r.User))
	}
	return fmt.Errorf(`user %v does not have "%v" permission on the object referenced by paramRef`, userText(r.User), verb)
}

// shownKind is how Kubernetes' messages show a pointer to a kind of its own types, which have no String.
func shownKind(k *admissionregistrationv1.ParamKind) string {
	return fmt.Sprintf("&{%s %s}", k.APIVersion, k.Kind)
}
