package apiserver

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver/client"
)

// write sends a whole answer.
func (c *call) write(code int, media string, body []byte) {
	defer c.beginAnswer(media)()
	if media == mediaJSON || strings.HasPrefix(media, mediaJSON+";") {
		body = c.pretty(body)
	}
	c.send(code, len(body), func(w io.Writer) error { _, err := w.Write(body); return err })
}

// beginAnswer sets what all answers have. They must be sent in time; the caller calls done when it is.
func (c *call) beginAnswer(media string) (done func()) {
	c.started = true
	d := &deadline{expire: http.NewResponseController(c.w).SetWriteDeadline}
	d.start(c.server.cfg.Limits.RequestTimeout)
	h := c.w.Header()
	h.Set("Content-Type", media)
	h.Set("Cache-Control", "no-cache, private")
	return d.stop
}

// send sends a body of a size, compressed if that pays. An error means that the client went away.
func (c *call) send(code, size int, body func(io.Writer) error) {
	c.code, c.size = code, int64(size)
	h := c.w.Header()
	if compressible(c.r, size) {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		c.w.WriteHeader(code)
		z := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(z)
		z.Reset(c.w)
		_ = body(z)
		_ = z.Close()
		return
	}
	h.Set("Content-Length", strconv.Itoa(size))
	c.w.WriteHeader(code)
	_ = body(c.w)
}

// pretty ends JSON in a new line, and indents it for people: when asked to, and for tools that show
// answers as they are.
func (c *call) pretty(body []byte) []byte {
	agent := c.r.UserAgent()
	wants := strings.HasPrefix(agent, "curl") || strings.HasPrefix(agent, "Wget") || strings.HasPrefix(agent, "Mozilla/5.0")
	if _, ok := c.query["pretty"]; ok {
		wants = isTrue(c.query, "pretty")
	}
	if wants {
		var out bytes.Buffer
		if json.Indent(&out, body, "", "  ") == nil {
			body = out.Bytes()
		}
	}
	if len(body) > 0 && body[len(body)-1] != '\n' {
		body = append(body[:len(body):len(body)], '\n')
	}
	return body
}

// found sends a stored object in the form that the client asked for.
func (c *call) found(code int, f found) error {
	opts, err := c.tableOptions()
	if err != nil {
		return err
	}
	if c.format.as != "" {
		obj, err := f.object()
		if err != nil {
			return err
		}
		return c.transformed(code, obj, opts)
	}
	b, err := f.encode(c.format.media, c.rq.served())
	if err != nil {
		return err
	}
	c.write(code, c.contentType(), b)
	return nil
}

// object sends an object that is not stored, such as what a subresource answers with.
func (c *call) object(code int, obj runtime.Object) error {
	opts, err := c.tableOptions()
	if err != nil {
		return err
	}
	if o, ok := obj.(client.Object); ok {
		if c.format.as != "" {
			return c.transformed(code, o, opts)
		}
		if served := c.rq.served(); served.version != nil && reflect.TypeOf(o) == served.hub.typ {
			if obj, err = served.shown(o); err != nil {
				return err
			}
		}
	}
	return c.encoded(code, obj)
}

func (c *call) transformed(code int, obj client.Object, opts tableOptions) error {
	if c.format.as == "PartialObjectMetadataList" {
		return otherForm("you requested PartialObjectMetadataList, but the requested object is not a list (*%s)", c.rq.res.goName(false))
	}
	out, err := c.server.transform(&c.format, c.rq.served(), obj, opts)
	if err != nil {
		return err
	}
	return c.encoded(code, out)
}

func (c *call) encoded(code int, obj runtime.Object) error {
	b, err := encodeObject(c.format.media, obj)
	if err != nil {
		return err
	}
	c.write(code, c.contentType(), b)
	return nil
}

// contentType returns the media type of the answer.
func (c *call) contentType() string { return c.format.media }

func (c *call) tableOptions() (tableOptions, error) {
	opts := tableOptions{}
	if v := c.query["includeObject"]; len(v) > 0 && c.format.as == "Table" {
		opts.include = metav1.IncludeObjectPolicy(v[0])
	}
	return opts, checkInclude(opts.include)
}

// negotiated reads the Accept header.
func (c *call) negotiated() error {
	may := anyForm
	if c.rq.res.Custom != nil && c.rq.isWhole() {
		may = customForm
	}
	f, err := negotiate(c.r, c.rq.verb == verbWatch, c.hasTable(), may)
	c.format = f
	return err
}

// hasTable tells whether what the request is answered with can be shown as a Table: answers to questions can't, nor what
// subresources with functions of their own answer.
func (c *call) hasTable() bool {
	_, own := c.rq.res.Subresources[c.target.ref.Subresource]
	return c.rq.res.Review == nil && !own && !(c.rq.res.PlainStatus && c.target.ref.Subresource == "status")
}

// success sends a Status that tells what happened to an object.
func (c *call) success(code int, details *metav1.StatusDetails) error {
	c.status(code, c.format.media, &metav1.Status{Status: metav1.StatusSuccess, Details: details})
	return nil
}

var _ http.Handler = (*Server)(nil)
