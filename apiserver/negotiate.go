package apiserver

import (
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The media types of the API.
const (
	mediaJSON  = runtime.ContentTypeJSON
	mediaYAML  = runtime.ContentTypeYAML
	mediaProto = runtime.ContentTypeProtobuf
	// streamParam marks the media types of watches.
	streamParam = ";stream=watch"
)

// format is the form that a client wants an answer in.
type format struct {
	media string
	// as is "", "Table", "PartialObjectMetadata" or "PartialObjectMetadataList"; version is the
	// version of meta.k8s.io then.
	as, version string
	params      map[string]string
}

// clause is one media type of an Accept header.
type clause struct {
	media  string
	params map[string]string
	q      float64
}

// parseAccept returns the clauses of an Accept header, the best first; those that can't be read are left out.
func parseAccept(header string) []clause {
	var out []clause
	for part := range strings.SplitSeq(header, ",") {
		media, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		kind, sub, ok := strings.Cut(strings.TrimSpace(media), "/")
		switch {
		case !ok && media == "*":
			kind, sub = "*", "*"
		case !ok || sub == "" || strings.Contains(sub, "/"):
			continue
		}
		c := clause{media: strings.TrimSpace(kind) + "/" + strings.TrimSpace(sub), q: 1, params: map[string]string{}}
		for param := range strings.SplitSeq(params, ";") {
			name, value, _ := strings.Cut(param, "=")
			switch name = strings.TrimSpace(name); {
			case value == "" || strings.Contains(value, "="):
			case name == "q":
				c.q, _ = strconv.ParseFloat(value, 32) // what is no number is worth nothing
			default:
				c.params[name] = strings.TrimSpace(value)
			}
		}
		out = append(out, c)
	}
	// The order is that of kube-apiserver's library: where a clause is worth less and names a type, and the other is worth
	// more and names none, each comes before the other, and what they are sorted to depends on the algorithm.
	sort.Slice(out, func(i, j int) bool {
		a, b := &out[i], &out[j]
		return a.q > b.q || !strings.HasPrefix(a.media, "*/") && strings.HasPrefix(b.media, "*/") ||
			!strings.HasSuffix(a.media, "/*") && strings.HasSuffix(b.media, "/*")
	})
	return out
}

// The media types that answers and the events of watches come in.
var (
	answerTypes = []string{mediaJSON, mediaYAML, mediaProto}
	streamTypes = []string{mediaJSON + streamParam, mediaProto + streamParam}
)

// produces returns what kube-apiserver says that requests of a verb may be answered in: where there is a watch, there
// may be events.
func produces(verb string) []string {
	if verb == verbList || verb == verbWatch {
		return slices.Concat(answerTypes, streamTypes)
	}
	return answerTypes
}

// acceptable refuses what fits none of the media types by its name, before anything is negotiated, as kube-apiserver's
// router does: "application/*" is not good enough for it, and nobody looks at parameters.
func acceptable(r *http.Request, types []string) error {
	header := r.Header.Get("Accept")
	if header == "" {
		return nil
	}
	for part := range strings.SplitSeq(header, ",") {
		media, _, _ := strings.Cut(part, ";")
		if media = strings.Trim(media, " "); media == "*/*" || slices.Contains(types, media) {
			return nil
		}
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotAcceptable, Reason: metav1.StatusReasonNotAcceptable,
		Message: "406: Not Acceptable\n\nAvailable representations: " + strings.Join(types, ", "), Details: &metav1.StatusDetails{},
	}}
}

// anyForm and plainForm tell which forms an answer may have: all, or none but that of its own type.
func anyForm(*format) bool     { return true }
func plainForm(f *format) bool { return f.as == "" && f.params["g"] == "" && f.version == "" }

// negotiate chooses the form of an answer among those that may be; stream asks for one that events can be sent in, and
// without tables a Table is not among the forms.
func negotiate(r *http.Request, stream, tables bool, may func(*format) bool) (format, error) {
	header := r.Header.Get("Accept")
	if header == "" {
		return format{media: mediaJSON}, nil
	}
	for _, c := range parseAccept(header) {
		f := format{params: c.params, as: c.params["as"], version: c.params["v"]}
		switch c.media {
		case mediaJSON, mediaYAML, mediaProto:
			f.media = c.media
		case "*/*", "application/*":
			f.media = mediaJSON
		default:
			continue
		}
		if kind := c.params["stream"]; kind != "" && (kind != "watch" || f.media == mediaYAML) {
			continue
		}
		if (f.as != "" || c.params["g"] != "" || f.version != "") && !f.known(c.params["g"], tables) {
			continue
		}
		if !may(&f) {
			continue
		}
		if stream && f.media == mediaYAML {
			break // it can't be sent piece by piece, and what else would do is not looked for
		}
		return f, nil
	}
	return format{}, notAcceptable(stream)
}

// known tells whether the server can transform objects to what as asks for.
func (f *format) known(group string, tables bool) bool {
	if group != metav1.GroupName || f.version != "v1" && f.version != "v1beta1" {
		return false
	}
	switch f.as {
	case "Table":
		return tables && f.media != mediaProto
	case "PartialObjectMetadata", "PartialObjectMetadataList":
		return true
	}
	return false
}

func notAcceptable(stream bool) error {
	types := answerTypes
	if stream {
		types = streamTypes
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotAcceptable, Reason: metav1.StatusReasonNotAcceptable,
		Message: "only the following media types are accepted: " + strings.Join(types, ", "),
	}}
}

// otherForm is the answer to who wants a list of what is one object, or one of what is a list.
func otherForm(format string, args ...any) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotAcceptable, Reason: metav1.StatusReasonNotAcceptable,
		Message: fmt.Sprintf(format, args...),
	}}
}

func unsupportedMedia() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
		Message: "the body of the request was in an unknown format - accepted media types include: " +
			strings.Join(answerTypes, ", "),
	}}
}

// metaVersion returns the group and version that transformed objects are in.
func (f *format) metaVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: metav1.GroupName, Version: f.version}
}
