package kubelet

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/replica"
)

// apiSources reads config maps and secrets one by one when they are needed, which is all that a
// real cluster's node authorizer allows, and services from a replica.
type apiSources struct {
	client   client.Interface
	services *replica.Replica[*corev1.Service]
	tokens   tokenCache
}

func (a *apiSources) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	return client.For[*corev1.ConfigMap](a.client).Get(ctx, namespace, name)
}

func (a *apiSources) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return client.For[*corev1.Secret](a.client).Get(ctx, namespace, name)
}

func (a *apiSources) Services(namespace string) []*corev1.Service { return a.services.List(namespace) }

func (a *apiSources) Token(ctx context.Context, pod *corev1.Pod, audience string, seconds int64) (string, error) {
	key, now := tokenKey{pod.UID, audience, seconds}, time.Now()
	if token, ok := a.tokens.get(key, now); ok {
		return token, nil
	}
	token, expires, err := a.request(ctx, pod, audience, seconds)
	if err == nil {
		a.tokens.put(key, token, now, expires)
	}
	return token, err
}

// request asks the API server for a token, which also tells when it expires.
func (a *apiSources) request(ctx context.Context, pod *corev1.Pod, audience string, seconds int64) (string, time.Time, error) {
	ref := client.For[*corev1.ServiceAccount](a.client).Ref(pod.Namespace, pod.Spec.ServiceAccountName)
	if ref.Name == "" {
		ref.Name = "default"
	}
	ref.Subresource = "token"
	req := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{
			Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	if audience != "" {
		req.Spec.Audiences = []string{audience}
	}
	obj, err := a.client.Create(ctx, ref, req, metav1.CreateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return "", time.Time{}, fmt.Errorf("the API server makes no token for service account %s/%s: %w", ref.Namespace, ref.Name, err)
	}
	if err != nil {
		return "", time.Time{}, err
	}
	t, ok := obj.(*authenticationv1.TokenRequest)
	if !ok || t.Status.Token == "" {
		return "", time.Time{}, fmt.Errorf("the API server answered the token request for service account %s/%s without a token", ref.Namespace, ref.Name)
	}
	return t.Status.Token, t.Status.ExpirationTimestamp.Time, nil
}
