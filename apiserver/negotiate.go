package apiserver

import (
	"mime"
	"net/http"
	"slices"
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

// parseAccept returns the clauses of Accept headers, the best first.
func parseAccept(headers []string) []clause {
	var out []clause
	for _, part := range strings.Split(strings.Join(headers, ","), ",") {
		media, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		c := clause{media: media, params: params, q: 1}
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil {
			c.q = q
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b clause) int {
		switch {
		case a.q > b.q:
			return -1
		case a.q < b.q:
			return 1
		}
		return 0
	})
	return out
}

// negotiate chooses the form of an answer.
func negotiate(r *http.Request, transforms bool) (format, error) {
	headers := r.Header.Values("Accept")
	if len(headers) == 0 || strings.TrimSpace(strings.Join(headers, "")) == "" {
		return format{media: mediaJSON}, nil
	}
	for _, c := range parseAccept(headers) {
		f := format{params: c.params}
		switch c.media {
		case mediaJSON, mediaYAML, mediaProto:
			f.media = c.media
		case "*/*", "application/*":
			f.media = mediaJSON
		default:
			continue
		}
		f.as = c.params["as"]
		if f.as == "" {
			return f, nil
		}
		f.version = c.params["v"]
		if transforms && f.known(c.params["g"]) {
			return f, nil
		}
	}
	return format{}, notAcceptable()
}

// known tells whether the server can transform objects to what as asks for.
func (f *format) known(group string) bool {
	if group != metav1.GroupName || f.version != "v1" && f.version != "v1beta1" {
		return false
	}
	switch f.as {
	case "Table":
		return f.media != mediaProto
	case "PartialObjectMetadata", "PartialObjectMetadataList":
		return true
	}
	return false
}

func notAcceptable() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotAcceptable, Reason: metav1.StatusReasonNotAcceptable,
		Message: "406: Not Acceptable\n\nAvailable representations: " +
			strings.Join([]string{mediaJSON, mediaYAML, mediaProto, mediaJSON + streamParam, mediaProto + streamParam}, ", "),
	}}
}

func unsupportedMedia() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
		Message: "the body of the request was in an unknown format - accepted media types include: " +
			strings.Join([]string{mediaJSON, mediaYAML, mediaProto}, ", "),
	}}
}

// metaVersion returns the group and version that transformed objects are in.
func (f *format) metaVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: metav1.GroupName, Version: f.version}
}
