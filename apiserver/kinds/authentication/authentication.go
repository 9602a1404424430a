// Package authentication has the rows of authentication.k8s.io/v1: questions about who somebody is, which nothing is
// stored of. TokenRequest is a subresource of ServiceAccount.
package authentication

import (
	"context"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Kinds returns the rows of all kinds of the group. The slice is the caller's own.
func Kinds() []apiserver.Kind { return []apiserver.Kind{SelfSubjectReview(), TokenReview()} }

func newKind(kind string, obj client.Object) apiserver.Kind {
	singular := strings.ToLower(kind)
	k := apiserver.Kind{GroupVersionKind: authenticationv1.SchemeGroupVersion.WithKind(kind), Resource: singular + "s", Singular: singular, Object: obj, Verbs: []string{"create"}}
	k.Columns, k.Row = row.Plain()
	return k
}

// SelfSubjectReview returns the row of SelfSubjectReview: who am I?
func SelfSubjectReview() apiserver.Kind {
	k := newKind("SelfSubjectReview", &authenticationv1.SelfSubjectReview{})
	k.Review = func(_ context.Context, r *apiserver.ReviewRequest) (runtime.Object, error) {
		o := &authenticationv1.SelfSubjectReview{Status: authenticationv1.SelfSubjectReviewStatus{UserInfo: infoOf(r.User)}}
		o.CreationTimestamp = metav1.NewTime(time.Now().Truncate(time.Second))
		return o, nil
	}
	return k
}

// TokenReview returns the row of TokenReview: who is a bearer token of?
func TokenReview() apiserver.Kind {
	k := newKind("TokenReview", &authenticationv1.TokenReview{})
	k.Review = func(ctx context.Context, r *apiserver.ReviewRequest) (runtime.Object, error) {
		o := r.Object.(*authenticationv1.TokenReview)
		if o.Spec.Token == "" {
			return nil, apierrors.NewBadRequest("token is required for TokenReview in authentication")
		}
		o.Status = authenticationv1.TokenReviewStatus{}
		id, err := r.AuthenticateToken(ctx, o.Spec.Token, o.Spec.Audiences)
		switch {
		case err != nil:
			o.Status.Error = err.Error()
		case id == nil:
			o.Status.Error = "invalid bearer token"
		default:
			o.Status.Authenticated, o.Status.User, o.Status.Audiences = true, infoOf(&id.Identity), id.Audiences
		}
		return o, nil
	}
	return k
}

func infoOf(id *apiserver.Identity) authenticationv1.UserInfo {
	info := authenticationv1.UserInfo{Username: id.User, UID: id.UID, Groups: id.Groups}
	if len(id.Extra) > 0 {
		info.Extra = map[string]authenticationv1.ExtraValue{}
		for key, values := range id.Extra {
			info.Extra[key] = values
		}
	}
	return info
}
