package cel

import (
	"context"
	"reflect"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/library"

	"github.com/inboard/inboard/apiserver"
)

// Input is what expressions are about. Its objects are read only; an expression that asks for one that is nil finds
// null. An Input is for one goroutine, and may be used by several Runs.
type Input struct {
	// Object and OldObject are in the version that the expressions are written for.
	Object, OldObject runtime.Object
	Request           *admissionv1.AdmissionRequest
	// Namespace is the request's, nil for what is in none.
	Namespace *corev1.Namespace
	Params    runtime.Object
	// User and Authorizer answer what expressions ask of the variable authorizer, which is missing without them.
	User       *apiserver.Identity
	Authorizer apiserver.Authorizer

	object, oldObject, params, request, namespace value
}

// With returns the input with other parameters.
func (in *Input) With(params runtime.Object) *Input {
	out := *in
	out.Params, out.params = params, value{}
	return &out
}

// value keeps how expressions see an object, as reading that builds up caches.
type value struct{ val ref.Val }

func (v *value) of(obj any) ref.Val {
	if v.val != nil {
		return v.val
	}
	switch o := obj.(type) {
	case nil:
		v.val = types.NullValue
	case *unstructured.Unstructured:
		v.val = types.DefaultTypeAdapter.NativeToValue(o.Object)
	case *corev1.Namespace:
		v.val = types.NullValue
		if o != nil {
			v.val = common.SchemalessTypedToVal(visibleNamespace(o))
		}
	default:
		if r := reflect.ValueOf(obj); r.Kind() == reflect.Pointer && r.IsNil() {
			v.val = types.NullValue
			break
		}
		v.val = common.SchemalessTypedToVal(obj)
	}
	return v.val
}

// visibleNamespace returns what expressions may know of a namespace.
func visibleNamespace(ns *corev1.Namespace) *corev1.Namespace {
	out := &corev1.Namespace{ObjectMeta: ns.ObjectMeta, Spec: ns.Spec, Status: ns.Status}
	out.OwnerReferences, out.ManagedFields = nil, nil
	return out
}

func (in *Input) authorizer() ref.Val {
	if in.Authorizer == nil || in.User == nil {
		return nil
	}
	return library.NewAuthorizerVal(userInfo{in.User}, asker{in.Authorizer})
}

func (in *Input) requestResource() ref.Val {
	if in.Authorizer == nil || in.User == nil || in.Request == nil {
		return nil
	}
	return library.NewResourceAuthorizerVal(userInfo{in.User}, asker{in.Authorizer}, resource{in.Request})
}

// userInfo is an identity as CEL's library wants it.
type userInfo struct{ id *apiserver.Identity }

func (u userInfo) GetName() string               { return u.id.User }
func (u userInfo) GetUID() string                { return u.id.UID }
func (u userInfo) GetGroups() []string           { return u.id.Groups }
func (u userInfo) GetExtra() map[string][]string { return u.id.Extra }

func identity(u user.Info) *apiserver.Identity {
	if own, ok := u.(userInfo); ok {
		return own.id
	}
	return &apiserver.Identity{User: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups(), Extra: u.GetExtra()}
}

// resource is what a request is about, as CEL's library wants it.
type resource struct{ r *admissionv1.AdmissionRequest }

func (r resource) GetName() string        { return r.r.Name }
func (r resource) GetNamespace() string   { return r.r.Namespace }
func (r resource) GetSubresource() string { return r.r.RequestSubResource }
func (r resource) GetResource() schema.GroupVersionResource {
	if of := r.r.RequestResource; of != nil {
		return schema.GroupVersionResource(*of)
	}
	return schema.GroupVersionResource(r.r.Resource)
}

// asker asks the server's authorizer what CEL's library wants to know.
type asker struct{ a apiserver.Authorizer }

// Authorize tells what the authorizer says. One that does not allow has no opinion, as Kubernetes' RBAC has none.
func (s asker) Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	attrs := apiserver.Attributes{User: identity(a.GetUser()), Verb: a.GetVerb(), Path: a.GetPath()}
	if a.IsResourceRequest() {
		attrs.Namespace, attrs.APIGroup, attrs.APIVersion = a.GetNamespace(), a.GetAPIGroup(), a.GetAPIVersion()
		attrs.Resource, attrs.Subresource, attrs.Name = a.GetResource(), a.GetSubresource(), a.GetName()
		// A selector that can't be read is none.
		if fs, err := a.GetFieldSelector(); err == nil {
			attrs.FieldSelector = fs
		}
		if ls, err := a.GetLabelSelector(); err == nil {
			attrs.LabelSelector = ls
		}
	}
	allowed, reason, err := s.a.Authorize(ctx, &attrs)
	if allowed && err == nil {
		return authorizer.DecisionAllow, reason, nil
	}
	return authorizer.DecisionNoOpinion, reason, err
}
