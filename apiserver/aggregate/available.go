package aggregate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/endpoints"
)

// How a server is asked whether it is there: several times, as some endpoints may be gone already, and with
// little patience.
const (
	checkAttempts = 5
	checkTimeout  = 5 * time.Second
)

// aggregatorUser is who asks other servers what they serve.
var aggregatorUser = &apiserver.Identity{User: "system:kube-aggregator", Groups: []string{apiserver.GroupMasters}}

// judge returns the condition Available of an APIService that another server is to answer for.
func (a *Aggregator) judge(ctx context.Context, e *entry) apiregistrationv1.APIServiceCondition {
	now := metav1.Now()
	ref := e.Spec.Service
	bad := func(status apiregistrationv1.ConditionStatus, reason, format string, args ...any) apiregistrationv1.APIServiceCondition {
		text := fmt.Sprintf("service/%s in %q ", ref.Name, ref.Namespace)
		return condition(status, reason, strings.ReplaceAll(fmt.Sprintf(format, args...), "$SERVICE ", text), now)
	}
	svc, err := a.read.service(ctx, ref.Namespace, ref.Name)
	switch {
	case apierrors.IsNotFound(err):
		return bad(apiregistrationv1.ConditionFalse, "ServiceNotFound", "$SERVICE is not present")
	case err != nil:
		return bad(apiregistrationv1.ConditionUnknown, "ServiceAccessError", "$SERVICE cannot be checked due to: %v", err)
	}
	if svc.Spec.Type == corev1.ServiceTypeClusterIP {
		p, err := endpoints.Port(svc, *ref.Port)
		if err != nil {
			return bad(apiregistrationv1.ConditionFalse, "ServicePortError", "$SERVICE is not listening on port %d", *ref.Port)
		}
		list, err := a.read.slicesOf(ctx, ref.Namespace, ref.Name)
		switch {
		case err != nil:
			return bad(apiregistrationv1.ConditionUnknown, "EndpointsAccessError", "$SERVICE cannot be checked due to: %v", err)
		case len(list) == 0:
			return bad(apiregistrationv1.ConditionFalse, "EndpointsNotFound", "cannot find endpointslices for service/%s in %q", ref.Name, ref.Namespace)
		case len(endpoints.Ready(p.Name, corev1.IPFamilyUnknown, list)) == 0:
			return bad(apiregistrationv1.ConditionFalse, "MissingEndpoints",
				"endpointslices for service/%s in %q have no addresses with port name %q", ref.Name, ref.Namespace, p.Name)
		}
	}
	if err := a.answers(ctx, e); err != nil {
		return condition(apiregistrationv1.ConditionFalse, "FailedDiscoveryCheck", err.Error(), now)
	}
	return condition(apiregistrationv1.ConditionTrue, "Passed", "all checks passed", now)
}

// answers tells whether an APIService's server answers, at one of several attempts. kube-aggregator makes all of them at
// once; here the others follow when the first one fails.
func (a *Aggregator) answers(ctx context.Context, e *entry) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if a.answersOnce(ctx, e) == nil {
		return nil
	}
	results := make(chan error, checkAttempts-1)
	for range cap(results) {
		go func() { results <- a.answersOnce(ctx, e) }()
	}
	var last error
	well := false
	for range cap(results) { // all of them, so that nothing goes on in the background
		if err := <-results; err == nil {
			well = true
		} else {
			last = err
		}
	}
	if well {
		return nil
	}
	return last
}

func (a *Aggregator) answersOnce(ctx context.Context, e *entry) error {
	path := "/apis/" + e.Spec.Group + "/" + e.Spec.Version
	if e.Spec.Group == "" {
		path = "/api/" + e.Spec.Version
	}
	resp, err := a.ask(ctx, e, aggregatorUser, path, nil)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxDocument)) // for the connection's sake
	_ = resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode >= 300 {
		return fmt.Errorf("failing or missing response from %s: bad status from %s: %d", resp.Request.URL, resp.Request.URL, resp.StatusCode)
	}
	return nil
}

// maxDocument bounds what another server may say about itself.
const maxDocument = 64 << 20

// ask sends a GET of the server's own to another one.
func (a *Aggregator) ask(ctx context.Context, e *entry, user *apiserver.Identity, path string, header http.Header) (*http.Response, error) {
	if e.target.err != nil {
		return nil, e.target.err
	}
	ref := e.Spec.Service
	to, err := a.cfg.Resolver.Resolve(ctx, ref.Namespace, ref.Name, *ref.Port)
	if err != nil {
		return nil, err
	}
	u := *to
	u.Path = path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	setUser(req.Header, user)
	resp, err := e.target.plain.RoundTrip(req)
	if err != nil {
		e.target.plain.CloseIdleConnections()
		return nil, fmt.Errorf("failing or missing response from %s: Get %q: %w", &u, u.String(), plainly(err))
	}
	return resp, nil
}

// plainly names a time-out as http.Client does.
func plainly(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w (Client.Timeout exceeded while awaiting headers)", err)
	}
	return err
}

// tell stores the condition Available, if it is another one.
func tell(ctx context.Context, c client.Interface, s *apiregistrationv1.APIService, next apiregistrationv1.APIServiceCondition) error {
	updated := s.DeepCopy()
	setAvailable(updated, next)
	if apiequality.Semantic.DeepEqual(s.Status, updated.Status) {
		return nil
	}
	ref := client.Ref{GroupVersionResource: servicesResource, Name: s.Name, Subresource: "status"}
	_, err := c.Update(ctx, ref, updated, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
