package apiserver

import (
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// listOptions reads the options of a list or watch.
func (c *call) listOptions() (metav1.ListOptions, error) {
	var opts metav1.ListOptions
	if err := metav1.Convert_url_Values_To_v1_ListOptions(c.values(), &opts, nil); err != nil {
		return opts, badRequest("%v", err)
	}
	return opts, nil
}

func (c *call) get() error {
	if c.target.ref.Subresource == "log" {
		return c.log()
	}
	if err := c.negotiated(); err != nil {
		return err
	}
	var opts metav1.GetOptions
	if err := metav1.Convert_url_Values_To_v1_GetOptions(c.values(), &opts, nil); err != nil {
		return badRequest("%v", err)
	}
	if err := c.rq.checkSubresource(); err != nil {
		return err
	}
	f, err := c.server.get(c.r.Context(), c.rq, opts.ResourceVersion)
	if err != nil {
		return err
	}
	return c.foundObject(http.StatusOK, f)
}

// foundObject sends an object, or the view of it that its subresource is.
func (c *call) foundObject(code int, f found) error {
	if c.target.ref.Subresource != "scale" || c.rq.res.Scale == nil {
		return c.found(code, f)
	}
	obj, err := f.object()
	if err != nil {
		return err
	}
	return c.object(code, scaleOf(c.rq.res, obj))
}

func (c *call) list() error {
	if err := c.negotiated(); err != nil {
		return err
	}
	opts, err := c.listOptions()
	if err != nil {
		return err
	}
	l, err := c.server.findList(c.r.Context(), c.rq, &opts)
	if err != nil {
		return err
	}
	return c.listed(l)
}

// listed sends a list in the form that the client asked for.
func (c *call) listed(l *listed) error {
	opts, err := c.tableOptions()
	if err != nil {
		return err
	}
	head := listHead{c.rq.served().listKind(), l.meta()}
	f, as := &c.format, c.rq.served()
	switch f.as {
	case "Table":
		return c.listedTable(l, head, opts)
	case "PartialObjectMetadata":
		return otherForm("you requested PartialObjectMetadata, but the requested object is a list (*%s)", as.storage().goName(true))
	case "PartialObjectMetadataList":
		head.SetGroupVersionKind(f.metaVersion().WithKind("PartialObjectMetadataList"))
		as = as.storage()
		if len(l.items) == 0 && f.media != mediaProto {
			return c.encoded(http.StatusOK, &metav1.PartialObjectMetadataList{TypeMeta: head.TypeMeta, ListMeta: head.ListMeta}) // items are null
		}
		for i := range l.items {
			obj, err := l.items[i].object()
			if err != nil {
				return err
			}
			l.items[i] = found{obj: f.partial(as, obj)}
		}
	}
	if f.media == mediaProto {
		list, err := newProtoList(head, l.items, as)
		if err != nil {
			return err
		}
		defer c.beginAnswer(mediaProto)()
		c.send(http.StatusOK, list.size(), list.writeTo)
		return nil
	}
	b, err := encodeList(f.media, head, l.items, as)
	if err != nil {
		return err
	}
	c.write(http.StatusOK, c.contentType(), b)
	return nil
}

func (c *call) listedTable(l *listed, head listHead, opts tableOptions) error {
	objs := make([]client.Object, len(l.items))
	for i := range l.items {
		var err error
		if objs[i], err = l.items[i].object(); err != nil {
			return err
		}
	}
	t, err := c.format.table(c.rq.served(), head.ListMeta, objs, opts, c.server.now())
	if err != nil {
		return err
	}
	return c.encoded(http.StatusOK, t)
}
