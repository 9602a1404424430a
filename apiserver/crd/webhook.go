package crd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/internal/hookclient"
)

// maxReview bounds, in bytes, a webhook's answer.
const maxReview = 64 << 20

// newClients returns the clients that send conversion reviews.
func newClients(cfg *Config) *hookclient.Clients {
	return hookclient.New(hookclient.Config{
		Types: []func(*runtime.Scheme) error{func(s *runtime.Scheme) error {
			s.AddKnownTypes(apiextensionsv1beta1.SchemeGroupVersion, &apiextensionsv1beta1.ConversionReview{})
			s.AddKnownTypes(apiextensionsv1.SchemeGroupVersion, &apiextensionsv1.ConversionReview{})
			return nil
		}},
		Versions:  []schema.GroupVersion{apiextensionsv1beta1.SchemeGroupVersion, apiextensionsv1.SchemeGroupVersion},
		MaxAnswer: maxReview, Resolve: cfg.Resolve, Dial: cfg.Dial,
	})
}

// webhook converts the objects of a definition.
type webhook struct {
	*hookclient.Target
	reviewVersions []string
}

// newWebhook returns the webhook that converts the objects of a definition, nil when none does.
func newWebhook(crd *apiextensionsv1.CustomResourceDefinition, clients *hookclient.Clients) *webhook {
	conv := crd.Spec.Conversion
	if conv == nil || conv.Strategy != apiextensionsv1.WebhookConverter {
		return nil
	}
	w := &webhook{}
	var to admissionregistrationv1.WebhookClientConfig
	if conv.Webhook != nil {
		w.reviewVersions = conv.Webhook.ConversionReviewVersions
		if c := conv.Webhook.ClientConfig; c != nil {
			// The two groups' types have the same fields.
			to = admissionregistrationv1.WebhookClientConfig{URL: c.URL, Service: (*admissionregistrationv1.ServiceReference)(c.Service)}
			if len(bytes.TrimSpace(c.CABundle)) > 0 {
				to.CABundle = c.CABundle
			}
		}
	}
	w.Target = clients.To("conversion_webhook_for_"+crd.Name, to)
	return w
}

// reviews returns the review to send, and an empty one for the answer, in the first version of the webhook's that is
// known.
func (w *webhook) reviews(id types.UID, to schema.GroupVersion, object runtime.RawExtension) (send, receive runtime.Object, err error) {
	objects := []runtime.RawExtension{object}
	for _, version := range w.reviewVersions {
		switch version {
		case apiextensionsv1.SchemeGroupVersion.Version:
			rq := &apiextensionsv1.ConversionRequest{UID: id, DesiredAPIVersion: to.String(), Objects: objects}
			return &apiextensionsv1.ConversionReview{Request: rq}, &apiextensionsv1.ConversionReview{}, nil
		case apiextensionsv1beta1.SchemeGroupVersion.Version:
			rq := &apiextensionsv1beta1.ConversionRequest{UID: id, DesiredAPIVersion: to.String(), Objects: objects}
			return &apiextensionsv1beta1.ConversionReview{Request: rq}, &apiextensionsv1beta1.ConversionReview{}, nil
		}
	}
	return nil, nil, errors.New("no supported conversion review versions")
}

// converted returns what a webhook answers. As in Kubernetes, reviews of the older version are not looked at for what
// they are and to which question they belong.
func (w *webhook) converted(id types.UID, review runtime.Object) ([]runtime.RawExtension, error) {
	var result metav1.Status
	var objects []runtime.RawExtension
	switch r := review.(type) {
	case *apiextensionsv1.ConversionReview:
		if want, got := apiextensionsv1.SchemeGroupVersion.WithKind("ConversionReview"), r.GroupVersionKind(); got != want {
			return nil, fmt.Errorf("expected webhook response of %s, got %s", want, got)
		}
		if r.Response == nil {
			return nil, errors.New("no response provided")
		}
		if r.Response.UID != id {
			return nil, fmt.Errorf("expected response.uid=%q, got %q", id, r.Response.UID)
		}
		result, objects = r.Response.Result, r.Response.ConvertedObjects
	case *apiextensionsv1beta1.ConversionReview:
		if r.Response == nil {
			return nil, errors.New("no response provided")
		}
		result, objects = r.Response.Result, r.Response.ConvertedObjects
	}
	if result.Status == metav1.StatusSuccess {
		return objects, nil
	}
	if result.Message != "" {
		return nil, errors.New(result.Message)
	}
	return nil, fmt.Errorf("response.result.status was '%s', not 'Success'", result.Status)
}

// convert has the webhook convert an object. Requests share conversions, so none of them can end one; Close does.
func (w *webhook) convert(u *unstructured.Unstructured, to schema.GroupVersion) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(u.Object)
	if err != nil {
		return nil, err
	}
	id, from := uuid.NewUUID(), u.GroupVersionKind()
	send, receive, err := w.reviews(id, to, runtime.RawExtension{Raw: raw})
	if err != nil {
		return nil, err
	}
	if err := w.Do(context.Background(), send, receive); err != nil {
		if errors.Is(err, context.Canceled) { // by Close
			return nil, fmt.Errorf("conversion webhook for %s failed: %w", from, err)
		}
		// What could not be reached, or what the webhook says of itself, is not the status of the request.
		return nil, fmt.Errorf("conversion webhook for %s failed: %v", from, err)
	}
	objects, err := w.converted(id, receive)
	if err != nil {
		return nil, fmt.Errorf("conversion webhook for %s failed: %w", from, err)
	}
	if len(objects) != 1 {
		return nil, fmt.Errorf("conversion webhook for %s returned %d objects, expected 1", from, len(objects))
	}
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON(objects[0].Raw); err != nil {
		return nil, err
	}
	if err := accept(u, out, to); err != nil {
		return nil, fmt.Errorf("conversion webhook for %s returned %w", from, err)
	}
	return out, nil
}

// accept checks that what a webhook made of an object differs in what a conversion may change, and gives it the
// metadata that it had, but for labels and annotations.
func accept(original, converted *unstructured.Unstructured, to schema.GroupVersion) error {
	if got := converted.GroupVersionKind().GroupVersion(); got != to {
		return fmt.Errorf("invalid object at index 0: invalid groupVersion (expected %s, received %s)", to, got)
	}
	if want, got := original.GetKind(), converted.GetKind(); got != want {
		return fmt.Errorf("invalid object at index 0: invalid kind (expected %s, received %s)", want, got)
	}
	for _, same := range []struct{ what, want, got string }{
		{"name", original.GetName(), converted.GetName()},
		{"namespace", original.GetNamespace(), converted.GetNamespace()},
		{"UID", string(original.GetUID()), string(converted.GetUID())},
	} {
		if same.got != same.want {
			return fmt.Errorf("invalid object: must have the same %s: %s != %s", same.what, same.want, same.got)
		}
	}
	if err := restoreMetadata(original, converted); err != nil {
		return fmt.Errorf("invalid metadata: %w", err)
	}
	return nil
}

// restoreMetadata takes the metadata of the original, with the labels and annotations of what was converted.
func restoreMetadata(original, converted *unstructured.Unstructured) error {
	was, there := converted.Object["metadata"]
	if !there {
		return errors.New("missing metadata in converted object")
	}
	told, ok := was.(map[string]any)
	if !ok {
		return fmt.Errorf("invalid metadata of type %T in converted object", was)
	}
	metadata := map[string]any{}
	if m, ok := original.Object["metadata"].(map[string]any); ok {
		metadata = runtime.DeepCopyJSON(m)
	}
	converted.Object["metadata"] = metadata
	for _, name := range []string{"labels", "annotations"} {
		if err := restoreStrings(metadata, told, name); err != nil {
			return err
		}
	}
	return nil
}

// restoreStrings sets the labels or annotations of metadata to those that the webhook told.
func restoreStrings(metadata, told map[string]any, name string) error {
	if told[name] == nil {
		delete(metadata, name)
		return nil
	}
	values, ok := told[name].(map[string]any)
	if !ok {
		return fmt.Errorf("invalid metadata.%s of type %T in converted object", name, told[name])
	}
	before, _ := metadata[name].(map[string]any)
	after := make(map[string]string, len(values))
	changed := len(before) != len(values)
	for k, v := range values {
		if after[k], ok = v.(string); !ok {
			return fmt.Errorf("metadata.%s[%s] must be a string, but is %T in converted object", name, k, v)
		}
		changed = changed || before[k] != v
	}
	if changed { // what was stored before rules became stricter stays
		var errs field.ErrorList
		if name == "labels" {
			errs = metav1validation.ValidateLabels(after, field.NewPath("metadata", "labels"))
		} else {
			errs = apivalidation.ValidateAnnotations(after, field.NewPath("metadata", "annotation"))
		}
		if err := errs.ToAggregate(); err != nil {
			return err
		}
	}
	metadata[name] = values
	return nil
}
