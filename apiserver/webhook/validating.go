package webhook

import (
	"context"
	"errors"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/internal/registration"
)

// maxAtOnce bounds how many webhooks are asked about one request at once.
const maxAtOnce = 32

// validate asks the validating webhooks about a request, all at once. The first refusal counts.
func (w *Webhooks) validate(ctx context.Context, r *apiserver.AdmissionRequest) error {
	hooks, err := w.hooks(ctx, validating, r)
	if err != nil || len(hooks) == 0 {
		return err
	}
	var asked []*invocation
	request := registration.NewRequest(r)
	for _, h := range hooks {
		i, err := h.matches(ctx, request)
		if err != nil {
			return err
		}
		if i != nil {
			asked = append(asked, i)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return errTimeout()
	}
	ctx, cancel := bounded(ctx, r)
	defer cancel()
	answers, errs := askAll(ctx, asked)
	for i, a := range answers {
		if a == nil {
			continue
		}
		for _, text := range a.warnings {
			r.Warn(text)
		}
		if !a.allowed {
			errs[i] = refusal(asked[i].Name, a.result)
		}
	}
	return w.first(asked, errs)
}

// askAll asks webhooks at once, and returns when all have answered.
func askAll(ctx context.Context, asked []*invocation) ([]*answer, []error) {
	answers, errs := make([]*answer, len(asked)), make([]error, len(asked))
	slots := make(chan struct{}, maxAtOnce)
	var wg sync.WaitGroup
	for n, i := range asked {
		// Objects are converted here: they share memory.
		object, old, err := i.r.Objects(i.as)
		if err != nil {
			errs[n] = apierrors.NewInternalError(err)
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			answers[n], errs[n] = i.call(ctx, false, object, old)
		})
	}
	wg.Wait()
	return answers, errs
}

// first returns the first error that counts.
func (w *Webhooks) first(asked []*invocation, errs []error) error {
	var out error
	for n, err := range errs {
		if err == nil {
			continue
		}
		var failed *callError
		if errors.As(err, &failed) {
			if asked[n].ignores() {
				w.cfg.Logger.Warn("a webhook could not be asked; the request goes on", "webhook", asked[n].Name, "error", err)
				continue
			}
			w.cfg.Logger.Warn("a webhook could not be asked; the request is refused", "webhook", asked[n].Name, "error", err)
			err = apierrors.NewInternalError(err)
		}
		if out == nil {
			out = err
		}
	}
	return out
}
