package openapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	jsonType    = "application/json"
	protoTypeV2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
)

// Handler serves /openapi/v2, /openapi/v3 and what is below, for GET and HEAD.
func (o *OpenAPI) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are served here", http.StatusMethodNotAllowed)
			return
		}
		switch path := strings.TrimSuffix(r.URL.Path, "/"); {
		case path == "/openapi/v2":
			o.serveV2(w, r)
		case path == "/openapi/v3":
			o.serveRoot(w, r)
		case strings.HasPrefix(path, "/openapi/v3/"):
			o.serveV3(w, r, strings.TrimPrefix(path, "/openapi/v3/"))
		default:
			http.NotFound(w, r)
		}
	})
}

func (o *OpenAPI) serveV2(w http.ResponseWriter, r *http.Request) {
	switch negotiate(r.Header.Values("Accept"), isProtoV2) {
	case jsonType:
		o.v2.serve(w, r, jsonType)
	case "":
		notAcceptable(w, jsonType, protoTypeV2)
	default:
		o.v2proto.serve(w, r, protoTypeV2)
	}
}

// Clients ask with a dot or an at sign before the version. The answer has the dot: an at sign is not
// allowed in a media type, and clients that parse the answer's refuse it.
func isProtoV2(mediaType string) bool {
	return strings.ReplaceAll(mediaType, "v2@v1.0", "v2.v1.0") == protoTypeV2
}

func (o *OpenAPI) serveRoot(w http.ResponseWriter, r *http.Request) {
	if negotiate(r.Header.Values("Accept"), nil) == "" {
		notAcceptable(w, jsonType)
		return
	}
	type location struct {
		URL string `json:"serverRelativeURL"`
	}
	paths := map[string]location{}
	for _, gv := range o.groups {
		if err := o.v3[gv].load(); err != nil {
			http.Error(w, "building the OpenAPI document of "+gv.String()+": "+err.Error(), http.StatusInternalServerError)
			return
		}
		paths[groupPath(gv)] = location{"/openapi/v3/" + groupPath(gv) + "?hash=" + o.v3[gv].hash}
	}
	w.Header().Set("Content-Type", jsonType)
	_ = json.NewEncoder(w).Encode(map[string]any{"paths": paths}) // the client went away
}

func (o *OpenAPI) serveV3(w http.ResponseWriter, r *http.Request, path string) {
	var doc *document
	for _, gv := range o.groups {
		if groupPath(gv) == path {
			doc = o.v3[gv]
		}
	}
	if doc == nil {
		http.NotFound(w, r)
		return
	}
	if negotiate(r.Header.Values("Accept"), nil) == "" {
		notAcceptable(w, jsonType)
		return
	}
	if hash := r.URL.Query().Get("hash"); hash != "" && doc.load() == nil {
		if hash != doc.hash {
			http.Redirect(w, r, "/openapi/v3/"+path+"?hash="+doc.hash, http.StatusMovedPermanently)
			return
		}
		// The address names the content: it can be kept for good.
		w.Header().Set("Cache-Control", "public, immutable")
		w.Header().Set("Expires", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
	}
	doc.serve(w, r, jsonType)
}

// groupPath returns the path of a group and version, as in api/v1 and apis/apps/v1.
func groupPath(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "api/" + gv.Version
	}
	return "apis/" + gv.Group + "/" + gv.Version
}

// negotiate returns the first media type of an Accept header that is JSON or that other accepts.
// No header is JSON.
func negotiate(accept []string, other func(string) bool) string {
	header := strings.Join(accept, ",")
	if strings.TrimSpace(header) == "" {
		return jsonType
	}
	for part := range strings.SplitSeq(header, ",") {
		mediaType, _, _ := strings.Cut(part, ";")
		switch mediaType = strings.TrimSpace(mediaType); {
		case mediaType == jsonType || mediaType == "*/*" || mediaType == "application/*":
			return jsonType
		case other != nil && other(mediaType):
			return mediaType
		}
	}
	return ""
}

func notAcceptable(w http.ResponseWriter, types ...string) {
	http.Error(w, "only the following media types are accepted: "+strings.Join(types, ", "), http.StatusNotAcceptable)
}
