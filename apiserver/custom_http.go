package apiserver

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// customPatches are the forms of patches that custom objects take.
var customPatches = []types.PatchType{types.JSONPatchType, types.MergePatchType, types.ApplyYAMLPatchType}

// customForm tells which forms custom objects may have: they have no protobuf of their own.
func customForm(f *format) bool { return f.media != mediaProto || f.as != "" }

// sameCustom refuses a body of another kind as validation does in kube-apiserver, which writes to the status don't have
// of it.
func (rq *request) sameCustom(kind string, want kindOf, name string) error {
	if kind == want.Kind || rq.ref.Subresource != "" {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: want.Group, Kind: kind}, name,
		field.ErrorList{field.Invalid(field.NewPath("kind"), kind, "must be "+want.Kind)})
}

// stillCustom refuses what a patch made another kind of; name is the object's.
func (rq *request) stillCustom(patched []byte, name string) error {
	var got metav1.TypeMeta
	if err := json.Unmarshal(patched, &got); err != nil || got.Kind == "" {
		return nil // decoding tells
	}
	want := rq.served().GroupVersionKind
	var errs field.ErrorList
	if got.Kind != want.Kind {
		errs = append(errs, field.Invalid(field.NewPath("kind"), got.Kind, "must be "+want.Kind))
	}
	if version := want.GroupVersion().String(); got.APIVersion != version {
		errs = append(errs, field.Invalid(field.NewPath("apiVersion"), got.APIVersion, "must be "+version))
	}
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(got.GroupVersionKind().GroupKind(), name, errs)
}

// routeCustom is route for custom objects. kube-apiserver has no router for them: it looks at the verb, and what does not
// fit the path is found when it is read.
func (c *call) routeCustom() error {
	res, ref, verb := c.rq.res, &c.target.ref, c.rq.verb
	everywhere := res.Namespaced && ref.Namespace == ""
	switch {
	case everywhere && verb != verbList && verb != verbWatch, c.target.rest != "" && ref.Subresource == "":
		return notFoundPath()
	case ref.Subresource != "" && c.rq.checkSubresource() != nil:
		return apierrors.NewNotFound(res.gr, ref.Name)
	case !slices.Contains(changeVerbs, verb) && ref.Subresource != "", c.verbs()[verb] == nil, c.r.Method == http.MethodHead:
		return methodNotAllowed()
	}
	if verb == verbPatch {
		media, _, _ := strings.Cut(c.r.Header.Get("Content-Type"), ";")
		if !slices.Contains(customPatches, types.PatchType(strings.TrimSpace(media))) {
			return noStrategicMerge() // which tells those that there are
		}
	}
	if ref.Name == "" && (verb == verbUpdate || verb == verbPatch) {
		return badRequest("name must be provided")
	}
	if verb == verbCreate {
		ref.Name, c.rq.ref.Name = "", "" // the object's own counts
	}
	return nil
}
