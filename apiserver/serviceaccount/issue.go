package serviceaccount

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

const (
	defaultExpiration = 3600
	minExpiration     = 600
	maxExpiration     = 1 << 32
)

// Issue answers a TokenRequest.
func (t *Tokens) Issue(_ context.Context, r *apiserver.TokenIssue) (*authenticationv1.TokenRequest, error) {
	now := t.now()
	out, account := r.Request.DeepCopy(), r.Account
	if err := sameAccount(out, account); err != nil {
		return nil, err
	}
	out.CreationTimestamp = metav1.NewTime(now.Truncate(time.Second))
	out.Name, out.Namespace, out.UID = account.Name, account.Namespace, account.UID
	out.Status = authenticationv1.TokenRequestStatus{}
	spec := &out.Spec
	if len(spec.Audiences) == 0 {
		spec.Audiences = t.Audiences()
	}
	if spec.ExpirationSeconds == nil {
		spec.ExpirationSeconds = ptr.To[int64](defaultExpiration)
	}
	if errs := validate(spec); len(errs) > 0 {
		return nil, apierrors.NewInvalid(requestKind.GroupKind(), "", errs)
	}
	c := &claims{Kubernetes: bound{Namespace: account.Namespace, Account: ref{account.Name, string(account.UID)}}}
	if spec.BoundObjectRef != nil {
		if err := bind(c, r, spec.BoundObjectRef); err != nil {
			return nil, err
		}
	}
	if most := int64(t.cfg.MaxExpiration / time.Second); most > 0 && *spec.ExpirationSeconds > most {
		r.Warn(fmt.Sprintf("requested expiration of %d seconds shortened to %d seconds", *spec.ExpirationSeconds, most))
		*spec.ExpirationSeconds = most
	}
	ends := now.Add(time.Duration(*spec.ExpirationSeconds) * time.Second)
	c.Claims = jwt.Claims{
		Issuer: t.cfg.Issuer, Subject: userOf(account.Namespace, account.Name), Audience: slices.Clone(spec.Audiences),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(ends), ID: string(uuid.NewUUID()),
	}
	token, err := jwt.Signed(t.keys.Load().signer).Claims(c).Serialize()
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("failed to generate token: %w", err))
	}
	out.Status = authenticationv1.TokenRequestStatus{Token: token, ExpirationTimestamp: metav1.NewTime(ends.Truncate(time.Second))}
	return out, nil
}

var requestKind = authenticationv1.SchemeGroupVersion.WithKind("TokenRequest")

// sameAccount checks that what the request says of its account is true.
func sameAccount(r *authenticationv1.TokenRequest, account *corev1.ServiceAccount) error {
	path := field.NewPath("metadata")
	switch {
	case r.Name != "" && r.Name != account.Name:
		return apierrors.NewInvalid(requestKind.GroupKind(), account.Name, field.ErrorList{
			field.Invalid(path.Child("name"), r.Name, "must match the service account name if specified")})
	case r.Namespace != "" && r.Namespace != account.Namespace:
		return apierrors.NewInvalid(requestKind.GroupKind(), account.Name, field.ErrorList{
			field.Invalid(path.Child("namespace"), r.Namespace, "must match the service account namespace if specified")})
	case r.UID != "" && r.UID != account.UID:
		return apierrors.NewConflict(schema.GroupResource{Group: requestKind.Group, Resource: requestKind.Kind}, account.Name,
			fmt.Errorf("the UID in the token request (%s) does not match the UID of the service account (%s)", r.UID, account.UID))
	}
	return nil
}

func validate(spec *authenticationv1.TokenRequestSpec) field.ErrorList {
	path := field.NewPath("spec", "expirationSeconds")
	var errs field.ErrorList
	if *spec.ExpirationSeconds < minExpiration {
		errs = append(errs, field.Invalid(path, *spec.ExpirationSeconds, "may not specify a duration less than 10 minutes"))
	}
	if *spec.ExpirationSeconds > maxExpiration {
		errs = append(errs, field.Invalid(path, *spec.ExpirationSeconds, "may not specify a duration larger than 2^32 seconds"))
	}
	return errs
}

// bind binds a token to an object: it ends with it.
func bind(c *claims, r *apiserver.TokenIssue, to *authenticationv1.BoundObjectReference) error {
	gvk := schema.FromAPIVersionAndKind(to.APIVersion, to.Kind)
	var obj client.Object
	var err error
	switch {
	case gvk.Group == "" && gvk.Kind == "Pod":
		if obj, err = find(r.Lookup, "pods", r.Account.Namespace, to.Name); err == nil {
			err = bindPod(c, r, obj)
		}
	case gvk.Group == "" && gvk.Kind == "Node":
		if obj, err = find(r.Lookup, "nodes", "", to.Name); err == nil {
			c.Kubernetes.Node = refTo(obj)
		}
	case gvk.Group == "" && gvk.Kind == "Secret":
		if obj, err = find(r.Lookup, "secrets", r.Account.Namespace, to.Name); err == nil {
			c.Kubernetes.Secret = refTo(obj)
		}
	default:
		return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token to object of type %s", gvk.String()))
	}
	if err != nil {
		return err
	}
	if to.UID != "" && to.UID != obj.GetUID() {
		return apierrors.NewConflict(schema.GroupResource{Group: gvk.Group, Resource: gvk.Kind}, to.Name,
			fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", to.UID))
	}
	return nil
}

func bindPod(c *claims, r *apiserver.TokenIssue, obj client.Object) error {
	pod, ok := obj.(*corev1.Pod)
	if !ok || pod.Spec.ServiceAccountName != r.Account.Name {
		return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", r.Account.Name))
	}
	c.Kubernetes.Pod = refTo(obj)
	if pod.Spec.NodeName == "" {
		return nil
	}
	// A node that does not exist is told of by its name alone.
	c.Kubernetes.Node = &ref{Name: pod.Spec.NodeName}
	node, err := find(r.Lookup, "nodes", "", pod.Spec.NodeName)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		c.Kubernetes.Node = refTo(node)
	}
	return err
}

func refTo(obj client.Object) *ref { return &ref{obj.GetName(), string(obj.GetUID())} }

type lookup = func(ref client.Ref) (client.Object, bool, error)

// find returns an object of the core group; the error for one that is missing is a NotFound.
func find(look lookup, resource, namespace, name string) (client.Object, error) {
	gvr := corev1.SchemeGroupVersion.WithResource(resource)
	obj, ok, err := look(client.Ref{GroupVersionResource: gvr, Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, apierrors.NewNotFound(gvr.GroupResource(), name)
	}
	return obj, nil
}
