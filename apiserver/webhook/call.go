package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/internal/hookclient"
)

// requestTimeout bounds all calls about one request, as kube-apiserver bounds the request.
const requestTimeout = 34 * time.Second

// callError tells that a webhook could not be asked, or that its answer makes no sense. It may be passed over.
type callError struct {
	name   string
	reason error
}

func (e *callError) Error() string {
	return fmt.Sprintf("failed calling webhook %q: %v", e.name, e.reason)
}

func (e *callError) Unwrap() error { return e.reason }

// bounded returns a context that ends with what time a request has for all its webhooks.
func bounded(ctx context.Context, r *apiserver.AdmissionRequest) (context.Context, context.CancelFunc) {
	type deadlineKey struct{}
	deadline, ok := r.Value(deadlineKey{}).(time.Time)
	if !ok {
		deadline = time.Now().Add(requestTimeout)
		r.SetValue(deadlineKey{}, deadline)
	}
	return context.WithDeadline(context.WithValue(ctx, requestKey{}, r), deadline)
}

// errTimeout is the answer to requests whose time is over.
func errTimeout() error {
	return apierrors.NewTimeoutError("request did not complete within requested timeout", 0)
}

// call asks a webhook. An error that is a *callError tells that it could not be asked; what it refuses is an answer.
// Object and old are in the webhook's version.
func (i *invocation) call(ctx context.Context, mutates bool, object, old runtime.Object) (a *answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			a, err = nil, &callError{i.Name, fmt.Errorf("panicked: %v", p)}
		}
	}()
	if i.r.DryRun {
		if i.SideEffects == nil {
			//lint:ignore ST1005 Kubernetes' words
			return nil, &callError{i.Name, errors.New("Webhook SideEffects is nil")}
		}
		if s := *i.SideEffects; s != admissionregistrationv1.SideEffectClassNone && s != admissionregistrationv1.SideEffectClassNoneOnDryRun {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("admission webhook %q does not support dry run", i.Name))
		}
	}
	req := i.r.Review(i.as)
	req.UID, req.Object.Object, req.OldObject.Object = uuid.NewUUID(), object, old
	send, receive, err := i.review(req)
	if err != nil {
		return nil, &callError{i.Name, fmt.Errorf("could not create admission objects: %w", err)}
	}
	if err := i.post(ctx, send, receive); err != nil {
		return nil, err
	}
	if a, err = answerOf(req.UID, mutates, receive); err != nil {
		return nil, &callError{i.Name, fmt.Errorf("received invalid webhook response: %w", err)}
	}
	return a, nil
}

// post sends a review and reads the answer, within the webhook's timeout.
func (i *invocation) post(ctx context.Context, send, receive runtime.Object) error {
	if i.TimeoutSeconds != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*i.TimeoutSeconds)*time.Second)
		defer cancel()
	}
	err := i.target.Do(ctx, send, receive)
	var setup *hookclient.SetupError
	switch {
	case errors.As(err, &setup):
		return &callError{i.Name, err}
	case err != nil:
		return &callError{i.Name, fmt.Errorf("failed to call webhook: %w", err)}
	}
	return nil
}
