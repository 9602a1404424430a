package webhook

import (
	"context"
	"errors"

	admissionv1 "k8s.io/api/admission/v1"
	admissionv1beta1 "k8s.io/api/admission/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/internal/hookclient"
)

// maxAnswer bounds, in bytes, what a webhook may answer: a patch, in base64, that replaces the largest object.
const maxAnswer = 4 << 20

// requestKey is the key of the admission request in a call's context.
type requestKey struct{}

// newClients returns the clients that send admission reviews.
func newClients(cfg *Config) *hookclient.Clients {
	resolve := cfg.Resolve
	return hookclient.New(hookclient.Config{
		Types:     []func(*runtime.Scheme) error{admissionv1beta1.AddToScheme, admissionv1.AddToScheme},
		Versions:  []schema.GroupVersion{admissionv1beta1.SchemeGroupVersion, admissionv1.SchemeGroupVersion},
		MaxAnswer: maxAnswer, Dial: cfg.Dial, Certificate: cfg.Certificate,
		Resolve: func(ctx context.Context, namespace, name string, port int32) (string, error) {
			r, ok := ctx.Value(requestKey{}).(*apiserver.AdmissionRequest)
			if !ok {
				return "", errors.New("no request to resolve the service for")
			}
			return resolve(ctx, r, namespace, name, port)
		},
	})
}
