package webhook

import (
	"context"
	"errors"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/internal/registration"
)

// roundsKey is where a request keeps its rounds.
type roundsKey struct{}

// rounds is what is known of a request from one round to the next.
type rounds struct {
	// last is the object as the webhooks left it.
	last runtime.Object
	// asked are the webhooks that want to be asked again should somebody change the object after them, again those
	// after which somebody did.
	asked, again map[string]bool
}

// changed notes that the object was changed.
func (s *rounds) changed() {
	for id := range s.asked {
		s.again[id] = true
	}
	clear(s.asked)
}

// mutate asks the mutating webhooks about a request, one after the other, in the order of their configurations' names.
// When the object was changed after some, these are asked once more if they want that.
func (w *Webhooks) mutate(ctx context.Context, r *apiserver.AdmissionRequest) error {
	hooks, err := w.hooks(ctx, mutating, r)
	if err != nil || len(hooks) == 0 {
		return err
	}
	state, ok := r.Value(roundsKey{}).(*rounds)
	if !ok {
		state = &rounds{asked: map[string]bool{}, again: map[string]bool{}}
		r.SetValue(roundsKey{}, state)
	}
	if r.Reinvoked() && len(state.asked) > 0 && !apiequality.Semantic.DeepEqual(state.last, r.Target()) {
		state.changed() // by a plugin
	}
	ctx, cancel := bounded(ctx, r)
	defer cancel()
	for _, h := range hooks {
		if err := w.mutateBy(ctx, r, h, state); err != nil {
			return err
		}
	}
	if target := r.Target(); len(state.asked) > 0 && target != nil {
		state.last = target.DeepCopyObject()
	}
	return nil
}

// mutateBy asks one webhook if it is to be asked.
func (w *Webhooks) mutateBy(ctx context.Context, r *apiserver.AdmissionRequest, h *hook, state *rounds) error {
	i, err := h.matches(ctx, registration.NewRequest(r))
	if err != nil || i == nil {
		return err
	}
	// In the second round none is asked for the first time.
	if r.Reinvoked() && !state.again[h.id] {
		return nil
	}
	changed, err := i.mutate(ctx)
	if changed {
		state.changed()
		r.Reinvoke()
	}
	if h.again {
		state.asked[h.id] = true
	}
	var failed *callError
	switch {
	case !errors.As(err, &failed):
		return err
	case !h.ignores():
		w.cfg.Logger.Warn("a webhook could not be asked; the request is refused", "webhook", h.Name, "error", err)
		return apierrors.NewInternalError(err)
	case ctx.Err() != nil:
		return errTimeout()
	}
	w.cfg.Logger.Warn("a webhook could not be asked; the request goes on", "webhook", h.Name, "error", err)
	return nil
}

// mutate asks the webhook and applies its patch. It tells whether that changed the object.
func (i *invocation) mutate(ctx context.Context) (bool, error) {
	object, old, err := i.r.Objects(i.as)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	a, err := i.call(ctx, true, object, old)
	if err != nil {
		return false, err
	}
	for _, text := range a.warnings {
		i.r.Warn(text)
	}
	switch {
	case !a.allowed:
		return false, refusal(i.Name, a.result)
	case len(a.patch) == 0:
		return false, nil
	}
	return i.patch(object, a)
}

// patch applies a webhook's patch to the object, which is in the webhook's version.
func (i *invocation) patch(object runtime.Object, a *answer) (bool, error) {
	patch, err := apiserver.NewJSONPatch(a.patch)
	if err != nil {
		return false, &callError{i.Name, fmt.Errorf("received undecodable patch in webhook response: %w", err)}
	}
	switch {
	case patch.Len() == 0:
		return false, nil
	case object == nil:
		return false, apierrors.NewInternalError(fmt.Errorf("admission webhook %q attempted to modify the object, which is not supported for this operation", i.Name))
	case a.patchAs != admissionv1.PatchTypeJSONPatch:
		return false, &callError{i.Name, fmt.Errorf("unsupported patch type %q", a.patchAs)}
	}
	after, err := patch.Apply(object)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	obj, err := i.r.Decode(after, i.as.Kind)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	changed := !apiequality.Semantic.DeepEqual(object, obj)
	if err := i.r.Replace(obj); err != nil {
		return changed, apierrors.NewInternalError(err)
	}
	return changed, nil
}
