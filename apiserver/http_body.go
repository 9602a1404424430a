package apiserver

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

type kindOf = schema.GroupVersionKind

var (
	scaleKind         = autoscalingv1.SchemeGroupVersion.WithKind("Scale")
	deleteOptionsKind = metav1.SchemeGroupVersion.WithKind("DeleteOptions")
)

func emptyScale() runtime.Object { return &autoscalingv1.Scale{} }

func (c *call) values() *url.Values {
	v := url.Values(c.query)
	return &v
}

// readBody reads the request's body up to the limit.
func (c *call) readBody() ([]byte, error) {
	if c.r.Body == nil || c.r.Body == http.NoBody {
		return nil, nil
	}
	limit := c.server.cfg.Limits.Body
	// A client that sends slowly holds its place among the requests no longer than others do.
	rc := http.NewResponseController(c.w)
	d := deadline{expire: rc.SetReadDeadline}
	d.start(c.server.cfg.Limits.RequestTimeout)
	defer d.stop()
	body := http.MaxBytesReader(c.w, c.r.Body, limit)
	var buf bytes.Buffer
	if n := c.r.ContentLength; n > 0 && n <= limit {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(body)
	if err != nil { // net/http may read the rest
		_ = rc.SetReadDeadline(time.Now().Add(c.server.cfg.Limits.RequestTimeout))
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", limit))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, badRequest("the request's body ends too early")
	case err != nil:
		return nil, badRequest("the request's body can't be read: %v", err)
	}
	return buf.Bytes(), nil
}

// body decodes the request's body into an object of the given kind.
func (c *call) body(into runtime.Object, kind kindOf, fieldValidation string) error {
	data, err := c.readBody()
	if err != nil {
		return err
	}
	media, err := c.media()
	switch {
	case err != nil:
		return err
	case media == mediaProto && len(data) == 0:
		return unrecognized(kind, "empty data", nil)
	case media != mediaProto && len(bytes.TrimSpace(data)) == 0:
		return unrecognized(kind, "couldn't get version/kind; json parse error: unexpected end of JSON input", nil)
	}
	return c.decode(data, into, kind, fieldValidation)
}

// media returns the format of the request's body: one of three, JSON when it tells none.
func (c *call) media() (string, error) {
	ct := c.r.Header.Get("Content-Type")
	if ct == "" {
		return mediaJSON, nil
	}
	media, _, err := mime.ParseMediaType(ct)
	if err != nil || media != mediaJSON && media != mediaYAML && media != mediaProto {
		return "", unsupportedMedia()
	}
	return media, nil
}

// decode decodes a body in the format that the request's Content-Type tells.
func (c *call) decode(data []byte, into runtime.Object, kind kindOf, fieldValidation string) error {
	media, err := c.media()
	if err != nil {
		return err
	}
	switch media {
	case mediaJSON:
		err = decodeJSON(c.rq, data, data, into, kind, fieldValidation)
	case mediaYAML:
		err = decodeYAML(c.rq, data, into, kind, fieldValidation)
	case mediaProto:
		err = decodeProto(c.rq, data, into, kind)
	}
	return bodyError(err, kind)
}

// bodyError gives what went wrong with a body the form that Kubernetes gives it.
func bodyError(err error, kind kindOf) error {
	var status *apierrors.StatusError
	if err == nil || errors.As(err, &status) {
		return err
	}
	if kind == deleteOptionsKind {
		return badRequest("%v", err)
	}
	return badRequest("%s in version %q cannot be handled as a %s: %v", kind.Kind, kind.Version, kind.Kind, err)
}

// decodeJSON decodes data; shown is what the client sent.
func decodeJSON(rq *request, data, shown []byte, into runtime.Object, kind kindOf, fieldValidation string, strict ...error) error {
	var head struct {
		APIVersion string `json:"apiVersion,omitempty"`
		Kind       string `json:"kind,omitempty"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return unrecognized(kind, fmt.Sprintf("couldn't get version/kind; json parse error: %v", err), shown)
	}
	if _, err := schema.ParseGroupVersion(head.APIVersion); err != nil {
		return unrecognized(kind, err.Error(), shown)
	}
	if _, custom := into.(*customType); custom && head.Kind == "" {
		return unrecognized(kind, fmt.Sprintf("Object 'Kind' is missing in '%s'", bytes.TrimSpace(data)), data)
	}
	own, custom := into.(*customType)
	names := metav1.TypeMeta{APIVersion: head.APIVersion, Kind: head.Kind}
	if custom && head.Kind != "" {
		names.Kind = kind.Kind // another one is told later
	}
	if err := rq.sameKind(names, kind); err != nil {
		return err
	}
	if err := decodeStrictly(rq, data, into, fieldValidation, strict...); err != nil {
		return err
	}
	if custom {
		if err := rq.sameCustom(head.Kind, kind, own.GetName()); err != nil {
			return err
		}
	}
	into.GetObjectKind().SetGroupVersionKind(kind)
	return nil
}

func decodeYAML(rq *request, data []byte, into runtime.Object, kind kindOf, fieldValidation string) error {
	converted, err := yaml.YAMLToJSON(data)
	if err != nil {
		return unrecognized(kind, err.Error(), data)
	}
	var strict []error
	if fieldValidation != metav1.FieldValidationIgnore {
		if _, err := yaml.YAMLToJSONStrict(data); err != nil {
			strict = []error{err}
		}
	}
	return decodeJSON(rq, converted, data, into, kind, fieldValidation, strict...)
}

func decodeProto(rq *request, data []byte, into runtime.Object, kind kindOf) error {
	m, ok := into.(protoMessage)
	if !ok {
		return unsupportedMedia()
	}
	raw, ok := bytes.CutPrefix(data, protoMagic)
	if !ok {
		return unrecognized(kind, fmt.Sprintf("provided data does not appear to be a protobuf message, expected prefix %v", protoMagic), data)
	}
	var u runtime.Unknown
	if len(raw) == 0 {
		return unrecognized(kind, "empty body", data)
	}
	if err := u.Unmarshal(raw); err != nil {
		return unrecognized(kind, err.Error(), data)
	}
	if _, err := schema.ParseGroupVersion(u.APIVersion); err != nil {
		u.APIVersion = "" // as kube-apiserver takes it
	}
	if err := rq.sameKind(metav1.TypeMeta{APIVersion: u.APIVersion, Kind: u.Kind}, kind); err != nil {
		return err
	}
	if err := checkProtoDepth(u.Raw, into); err != nil {
		return unrecognized(kind, err.Error(), data)
	}
	if err := m.Unmarshal(u.Raw); err != nil {
		return err
	}
	into.GetObjectKind().SetGroupVersionKind(kind)
	return nil
}

func notRegistered(tm metav1.TypeMeta) error {
	return badRequest("no kind %q is registered for version %q", tm.Kind, tm.APIVersion)
}

// unrecognized is the answer for a body in which no object can be seen. It shows how the body begins.
func unrecognized(kind kindOf, what string, data []byte) error {
	if kind == deleteOptionsKind {
		return badRequest("%s", what)
	}
	const shown = 30
	begin, more := data, ""
	if len(begin) > shown {
		begin, more = begin[:shown], " ..."
	}
	text := "<empty>"
	switch {
	case len(data) == 0:
	case data[0] == '{':
		text = string(begin) + more
	default:
		text = hex.EncodeToString(begin) + more
	}
	return badRequest("the object provided is unrecognized (must be of type %s): %s (%s)", kind.Kind, what, text)
}

// knowsKind tells whether a kind is one that objects of its group and version can be of.
func (s *Server) knowsKind(kind kindOf) bool {
	switch name := strings.TrimSuffix(kind.Kind, "List"); {
	case s == nil, s.catalog.Load().table.byKind[kind.GroupVersion().WithKind(name)] != nil:
		return true
	case kind.Group == "" && name == "Status", strings.HasSuffix(name, "Options"), name == "WatchEvent":
		return true
	}
	return false
}

// sameKind checks the type that a body names; what it leaves out is taken from the URL.
func (rq *request) sameKind(tm metav1.TypeMeta, want kindOf) error {
	gv, err := schema.ParseGroupVersion(tm.APIVersion)
	if err != nil {
		return badRequest("%v", err)
	}
	if want == deleteOptionsKind {
		if tm.Kind == "" || tm.Kind == want.Kind {
			return nil
		}
		return notRegistered(tm)
	}
	switch {
	case tm.APIVersion != "" && gv != want.GroupVersion() && rq.res != nil && (rq.res.Custom != nil || rq.res.hasVersion(gv)):
		return badRequest("the API version in the data (%s) does not match the expected API version (%s)", gv, want.GroupVersion())
	case tm.APIVersion != "" && gv != want.GroupVersion():
		if tm.Kind == "" {
			tm.Kind = want.Kind
		}
		return badRequest("%s in version %q cannot be handled as a %s: %v", tm.Kind, gv.Version, want.Kind, notRegistered(tm))
	case tm.Kind != "" && tm.Kind != want.Kind && !rq.server.knowsKind(want.GroupVersion().WithKind(tm.Kind)):
		tm.APIVersion = want.GroupVersion().String()
		return badRequest("%s in version %q cannot be handled as a %s: %v", tm.Kind, want.Version, want.Kind, notRegistered(tm))
	case tm.Kind != "" && tm.Kind != want.Kind:
		return badRequest("%s in version %q cannot be handled as a %s: converting (%s.%s) to (%s): unknown conversion",
			tm.Kind, want.Version, want.Kind, want.Version, tm.Kind, internalName(want))
	}
	return nil
}
