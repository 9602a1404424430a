package apiserver

import (
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

func (c *call) create() error {
	if err := c.negotiated(); err != nil {
		return err
	}
	var opts metav1.CreateOptions
	if err := metav1.Convert_url_Values_To_v1_CreateOptions(c.values(), &opts, nil); err != nil {
		return badRequest("%v", err)
	}
	if err := c.rq.createOptions(&opts); err != nil {
		return err
	}
	if c.target.ref.Subresource != "" {
		return c.createSubresource(opts.FieldValidation)
	}
	if c.target.ref.Name != "" {
		return methodNotAllowed()
	}
	obj := c.rq.served().new()
	if err := c.body(obj, c.rq.served().GroupVersionKind, opts.FieldValidation); err != nil {
		return err
	}
	if c.rq.res.Review != nil {
		out, err := c.server.review(c.r.Context(), c.rq, obj)
		if err != nil {
			return err
		}
		return c.answer(out)
	}
	f, err := c.server.create(c.r.Context(), c.rq, obj)
	if err != nil {
		return err
	}
	return c.found(http.StatusCreated, f)
}

// answer sends what came of what was posted but is not stored.
func (c *call) answer(out runtime.Object) error {
	if status, ok := out.(*metav1.Status); ok {
		c.status(http.StatusCreated, c.format.media, status)
		return nil
	}
	return c.object(http.StatusCreated, out)
}

func (c *call) createSubresource(fieldValidation string) error {
	sub, ok := c.rq.res.Subresources[c.target.ref.Subresource]
	if !ok || sub.Create == nil {
		_, err := c.server.createSubresource(c.r.Context(), c.rq, nil)
		return err
	}
	body := sub.New()
	body.GetObjectKind().SetGroupVersionKind(sub.Kind)
	if err := c.body(body, sub.Kind, fieldValidation); err != nil {
		return err
	}
	out, err := c.server.createSubresource(c.r.Context(), c.rq, body)
	if err != nil {
		return err
	}
	return c.answer(out)
}

func (c *call) update() error {
	if err := c.negotiated(); err != nil {
		return err
	}
	var opts metav1.UpdateOptions
	if err := metav1.Convert_url_Values_To_v1_UpdateOptions(c.values(), &opts, nil); err != nil {
		return badRequest("%v", err)
	}
	if err := c.rq.updateOptions(&opts); err != nil {
		return err
	}
	body, kind, err := c.rq.emptyBody()
	if err != nil {
		return err
	}
	if err := c.body(body, kind, opts.FieldValidation); err != nil {
		return err
	}
	f, created, err := c.server.replace(c.r.Context(), c.rq, body)
	if err != nil {
		return err
	}
	code := http.StatusOK
	if created {
		code = http.StatusCreated
	}
	return c.foundObject(code, f)
}

func (c *call) patch() error {
	if err := c.negotiated(); err != nil {
		return err
	}
	var opts metav1.PatchOptions
	if err := metav1.Convert_url_Values_To_v1_PatchOptions(c.values(), &opts, nil); err != nil {
		return badRequest("%v", err)
	}
	pt := c.patchType()
	if err := c.rq.patchOptions(&opts, pt); err != nil {
		return err
	}
	patch, err := c.readBody()
	if err != nil {
		return err
	}
	f, created, err := c.server.patch(c.r.Context(), c.rq, pt, patch, &opts)
	if err != nil {
		return err
	}
	code := http.StatusOK
	if created {
		code = http.StatusCreated
	}
	return c.foundObject(code, f)
}

func (c *call) patchType() types.PatchType {
	media, _, _ := strings.Cut(c.r.Header.Get("Content-Type"), ";")
	return types.PatchType(strings.TrimSpace(media))
}

// deleteOptions reads the options of a deletion, from the body if there is one.
func (c *call) deleteOptions() (metav1.DeleteOptions, error) {
	var opts metav1.DeleteOptions
	data, err := c.readBody()
	if err != nil {
		return opts, err
	}
	if len(data) == 0 {
		if err := metav1.Convert_url_Values_To_v1_DeleteOptions(c.values(), &opts, nil); err != nil {
			return opts, badRequest("%v", err)
		}
		return opts, nil
	}
	return opts, c.decode(data, &opts, deleteOptionsKind, metav1.FieldValidationIgnore)
}

func (c *call) delete() error {
	if err := c.negotiated(); err != nil {
		return err
	}
	if sub := c.target.ref.Subresource; sub != "" {
		if _, own := c.rq.res.Subresources[sub]; !own && c.rq.checkSubresource() != nil {
			return notFoundPath()
		}
		return methodNotAllowed()
	}
	opts, err := c.deleteOptions()
	if err != nil {
		return err
	}
	d, err := c.server.delete(c.r.Context(), c.rq, &opts)
	if err != nil {
		return err
	}
	if d.gone && !c.rq.res.ReturnDeleted {
		obj, err := d.object()
		if err != nil {
			return err
		}
		named := c.rq.named()
		return c.success(http.StatusOK, &metav1.StatusDetails{
			Name: obj.GetName(), Group: named.Group, Kind: named.Resource, UID: obj.GetUID(),
		})
	}
	code := http.StatusOK
	if orphan := orphanDependents(&opts); !d.gone && orphan != nil && !*orphan {
		code = http.StatusAccepted
	}
	return c.found(code, d.found)
}

func (c *call) deleteCollection() error {
	if err := c.negotiated(); err != nil {
		return err
	}
	list, err := c.listOptions()
	if err != nil {
		return err
	}
	opts, err := c.deleteOptions()
	if err != nil {
		return err
	}
	l, err := c.server.deleteCollection(c.r.Context(), c.rq, &list, &opts)
	if err != nil {
		return err
	}
	return c.listed(l)
}

// emptyBody returns what the body of a PUT is decoded into.
func (rq *request) emptyBody() (runtime.Object, kindOf, error) {
	if err := rq.checkSubresource(); err != nil {
		return nil, kindOf{}, err
	}
	if rq.ref.Subresource == "scale" {
		s := scaleKind
		return emptyScale(), s, nil
	}
	return rq.served().new(), rq.served().GroupVersionKind, nil
}
