package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver/client"
)

// applyConfiguration is a server-side apply: what its manager wants of the object.
type applyConfiguration struct {
	content         *unstructured.Unstructured
	force           bool
	strict          error // what is wrong with the document beyond what it says
	fieldValidation string
}

func newApplyConfiguration(patch []byte, opts *metav1.PatchOptions) (*applyConfiguration, error) {
	a := &applyConfiguration{fieldValidation: opts.FieldValidation, force: opts.Force != nil && *opts.Force}
	if _, err := sigsyaml.YAMLToJSON(patch); err != nil {
		return nil, badRequest("error encoding patch: %v", err)
	}
	content := map[string]any{}
	if err := yaml.Unmarshal(patch, &content); err != nil {
		return nil, badRequest("error decoding patch: %v", err)
	}
	a.content = &unstructured.Unstructured{Object: content}
	if a.fieldValidation != metav1.FieldValidationIgnore {
		a.strict = yaml.UnmarshalStrict(patch, &map[string]any{})
	}
	return a, nil
}

// apply is a PATCH that applies a configuration. It makes the object if there is none.
func (s *Server) apply(ctx context.Context, rq *request, patch []byte, opts *metav1.PatchOptions) (f found, created bool, err error) {
	a, err := newApplyConfiguration(patch, opts)
	if err != nil {
		return found{}, false, err
	}
	own := *rq
	own.applied = true
	rq = &own
	for {
		f, err = s.update(ctx, rq, func(old client.Object) (runtime.Object, error) {
			body, err := s.applied(rq, a, old)
			if err != nil {
				return nil, err
			}
			return body, rq.samePatched(body)
		})
		if !apierrors.IsNotFound(err) || rq.ref.Subresource != "" || !rq.isAboutObject(err) {
			return f, false, err
		}
		f, err = s.applyNew(ctx, rq, a)
		if !apierrors.IsAlreadyExists(err) || ctx.Err() != nil {
			return f, err == nil, err
		}
	}
}

// applyNew makes the object that a configuration describes.
func (s *Server) applyNew(ctx context.Context, rq *request, a *applyConfiguration) (found, error) {
	body, err := s.applied(rq, a, rq.served().new())
	if err != nil {
		return found{}, err
	}
	obj := body
	if uid := obj.GetUID(); uid != "" {
		return found{}, apierrors.NewConflict(rq.named(), rq.ref.Name,
			fmt.Errorf("uid mismatch: the provided object specified uid %s, and no existing object was found", uid))
	}
	if err := rq.samePatched(obj); err != nil {
		return found{}, err
	}
	create := *rq
	create.verb = verbCreate
	if err := s.authorize(ctx, &create); err != nil {
		return found{}, err
	}
	obj.SetResourceVersion("")
	return s.createNew(ctx, &create, obj)
}

// applyError gives an error of the field manager the form of the API. Those about a configuration that
// does not fit the schema have no reason, and count as the server's own, as in Kubernetes.
func applyError(err error) error {
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return err
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: err.Error(),
	}}
}

// containedApply makes an error of a panic: the libraries that merge are as careful as those that patch.
func containedApply(apply func() (client.Object, error)) (obj client.Object, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = badRequest("the configuration can't be applied: it is malformed (%v)", p)
		}
	}()
	return apply()
}

// applied returns what a configuration makes of an object or of its scale.
func (s *Server) applied(rq *request, a *applyConfiguration, old client.Object) (client.Object, error) {
	live, err := rq.served().shown(old)
	if rq.ref.Subresource == "scale" {
		live, err = newScaleFields(rq.res, old).scale(rq.res, old)
	}
	if err != nil {
		return nil, err
	}
	// The manager changes what it is given.
	content := a.content.DeepCopy()
	obj, err := containedApply(func() (client.Object, error) {
		return rq.served().managers[rq.ref.Subresource].Apply(live, content, rq.manager, a.force)
	})
	if err != nil {
		return nil, applyError(err)
	}
	if a.strict != nil {
		if a.fieldValidation == metav1.FieldValidationStrict {
			return nil, badRequest("error strict decoding patch: %v", a.strict)
		}
		rq.warnStrict(a.strict)
	}
	if scale, ok := obj.(*autoscalingv1.Scale); ok {
		scale.SetGroupVersionKind(scaleKind)
		return scale, nil
	}
	if obj, err = rq.served().shown(obj); err != nil {
		return nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(rq.served().GroupVersionKind)
	return obj, nil
}
