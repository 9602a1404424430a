package crd

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// webhookTimeout bounds one call of a conversion webhook, as in Kubernetes.
const webhookTimeout = 30 * time.Second

// maxReview bounds a webhook's answer.
const maxReview = 64 << 20

// Caller sends a review to a webhook and returns its answer.
type Caller interface {
	Call(ctx context.Context, to *apiextensionsv1.WebhookClientConfig, body []byte) ([]byte, error)
}

// mortal is a Caller whose calls end when life does: requests share conversions, so none of them can end one.
type mortal struct {
	Caller
	life context.Context
}

func (m mortal) Call(ctx context.Context, to *apiextensionsv1.WebhookClientConfig, body []byte) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.life, cancel)()
	return m.Caller.Call(ctx, to, body)
}

// URLCaller calls webhooks over HTTPS.
type URLCaller struct {
	// Service returns the host and port at which a Service is reached; nil reaches none.
	Service func(ctx context.Context, namespace, name string, port int32) (string, error)
	// Dial opens connections; nil is a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Call implements Caller.
func (c URLCaller) Call(ctx context.Context, to *apiextensionsv1.WebhookClientConfig, body []byte) ([]byte, error) {
	target, dial, err := c.target(to)
	if err != nil {
		return nil, err
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: target.Hostname()}
	if len(to.CABundle) > 0 {
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(to.CABundle) {
			return nil, errors.New("unable to load root certificates: unable to parse bytes as PEM block")
		}
	}
	transport := &http.Transport{DialContext: dial, TLSClientConfig: tlsConfig, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	rq, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	rq.Header.Set("Content-Type", "application/json")
	rq.Header.Set("Accept", "application/json, */*")
	answer, err := (&http.Client{Transport: transport, CheckRedirect: noRedirects}).Do(rq)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	out, err := io.ReadAll(io.LimitReader(answer.Body, maxReview))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return nil, fmt.Errorf("the webhook answered %s", answer.Status)
	}
	return out, nil
}

func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// target returns the URL of a webhook, and how to connect to it.
func (c URLCaller) target(to *apiextensionsv1.WebhookClientConfig) (*url.URL, dialFunc, error) {
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	if to.URL != nil {
		u, err := url.Parse(*to.URL)
		return u, dial, err
	}
	s := to.Service
	if s == nil {
		return nil, nil, errors.New("webhook configuration must have either service or URL")
	}
	if c.Service == nil {
		return nil, nil, fmt.Errorf("the service %s/%s of the webhook can't be reached from here", s.Namespace, s.Name)
	}
	port := int32(443)
	if s.Port != nil {
		port = *s.Port
	}
	u := &url.URL{Scheme: "https", Host: net.JoinHostPort(s.Name+"."+s.Namespace+".svc", strconv.Itoa(int(port)))}
	if s.Path != nil {
		u.Path = *s.Path
	}
	return u, func(ctx context.Context, network, _ string) (net.Conn, error) {
		at, err := c.Service(ctx, s.Namespace, s.Name, port)
		if err != nil {
			return nil, err
		}
		return dial(ctx, network, at)
	}, nil
}

// ask has a webhook convert an object.
func (c *custom) ask(ctx context.Context, u *unstructured.Unstructured, to schema.GroupVersion) (*unstructured.Unstructured, error) {
	failed := func(err error) error {
		return fmt.Errorf("conversion webhook for %s failed: %w", u.GroupVersionKind(), err)
	}
	hook := c.crd.Spec.Conversion.Webhook
	if hook == nil || hook.ClientConfig == nil || !slices.Contains(hook.ConversionReviewVersions, "v1") {
		return nil, failed(errors.New("the definition names no webhook that speaks apiextensions.k8s.io/v1"))
	}
	raw, err := json.Marshal(u.Object)
	if err != nil {
		return nil, err
	}
	id := uuid.NewUUID()
	body, err := json.Marshal(&apiextensionsv1.ConversionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: apiextensionsv1.SchemeGroupVersion.String(), Kind: "ConversionReview"},
		Request: &apiextensionsv1.ConversionRequest{
			UID: id, DesiredAPIVersion: to.String(), Objects: []runtime.RawExtension{{Raw: raw}},
		},
	})
	if err != nil {
		return nil, err
	}
	answer, err := c.webhook.Call(ctx, hook.ClientConfig, body)
	if err != nil {
		return nil, failed(err)
	}
	var review apiextensionsv1.ConversionReview
	if err := json.Unmarshal(answer, &review); err != nil {
		return nil, failed(err)
	}
	r := review.Response
	switch {
	case r == nil:
		return nil, failed(errors.New("no response provided"))
	case r.UID != id:
		return nil, failed(fmt.Errorf("expected response.uid=%q, got %q", id, r.UID))
	case r.Result.Status != metav1.StatusSuccess:
		text := r.Result.Message
		if text == "" {
			text = "response.result.status was '" + r.Result.Status + "', not 'Success'"
		}
		return nil, failed(errors.New(text))
	case len(r.ConvertedObjects) != 1:
		return nil, failed(fmt.Errorf("webhook returned %d objects, expected 1", len(r.ConvertedObjects)))
	}
	out, err := accepted(u, r.ConvertedObjects[0].Raw, to)
	if err != nil {
		return nil, failed(err)
	}
	return out, nil
}

// accepted checks that what a webhook made of an object differs in what a conversion may change.
func accepted(u *unstructured.Unstructured, raw []byte, to schema.GroupVersion) (*unstructured.Unstructured, error) {
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("invalid converted object: %w", err)
	}
	invalid := func(what string, want, got any) error {
		return fmt.Errorf("invalid converted object at index 0: %s mismatch: expected %v, got %v", what, want, got)
	}
	switch {
	case out.GetAPIVersion() != to.String():
		return nil, fmt.Errorf("invalid converted object at index 0: invalid groupVersion (expected %s, received %s)", to, out.GetAPIVersion())
	case out.GetKind() != u.GetKind():
		return nil, invalid("kind", u.GetKind(), out.GetKind())
	case out.GetName() != u.GetName():
		return nil, invalid("name", u.GetName(), out.GetName())
	case out.GetNamespace() != u.GetNamespace():
		return nil, invalid("namespace", u.GetNamespace(), out.GetNamespace())
	case out.GetUID() != u.GetUID():
		return nil, invalid("UID", u.GetUID(), out.GetUID())
	}
	return out, restoreMetadata(u, out)
}

// restoreMetadata takes the metadata of the original, with the labels and annotations of what was converted.
func restoreMetadata(original, converted *unstructured.Unstructured) error {
	labels, annotations := converted.GetLabels(), converted.GetAnnotations()
	if !apiequality.Semantic.DeepEqual(original.GetLabels(), labels) || !apiequality.Semantic.DeepEqual(original.GetAnnotations(), annotations) {
		path := field.NewPath("metadata")
		errs := apivalidation.ValidateAnnotations(annotations, path.Child("annotations"))
		if len(errs) > 0 {
			return errs.ToAggregate()
		}
	}
	if metadata, ok := original.Object["metadata"].(map[string]any); ok {
		converted.Object["metadata"] = runtime.DeepCopyJSON(metadata)
	} else {
		delete(converted.Object, "metadata")
	}
	converted.SetLabels(labels)
	converted.SetAnnotations(annotations)
	return nil
}
