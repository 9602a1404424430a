package aggregate

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/aggregator"
	"k8s.io/kube-openapi/pkg/openapiconv"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/openapi"
)

// described is how another server describes a group and version.
type described struct {
	// v2 is what it says of them in version 2 of OpenAPI, v2Tag the ETag of that.
	v2    *spec.Swagger
	v2Tag string
	// v3 is where it says so in version 3. A server without has version 2 converted, in converted.
	v3        string
	converted http.Handler
}

// openAPIUser is who asks other servers for their descriptions.
var openAPIUser = &apiserver.Identity{User: "system:aggregator"}

const (
	v2Path = "/openapi/v2"
	v3Path = "/openapi/v3"
)

// describe asks an APIService's server how it describes itself.
func (a *Aggregator) describe(ctx context.Context, e *entry) error {
	ctx, cancel := context.WithTimeout(ctx, 2*discoveryTimeout)
	defer cancel()
	a.mu.Lock()
	old := a.described[e.Name]
	a.mu.Unlock()
	if old == nil {
		old = &described{}
	}
	next := *old
	err := errors.Join(a.describeV2(ctx, e, &next), a.describeV3(ctx, e, &next))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.described[e.Name] = &next
	return err
}

func (a *Aggregator) describeV2(ctx context.Context, e *entry, d *described) error {
	header := http.Header{"Accept": {"application/json"}}
	if d.v2Tag != "" {
		header.Set("If-None-Match", d.v2Tag)
	}
	raw, resp, err := a.document(ctx, e, v2Path, header)
	if err != nil {
		return err
	}
	switch resp.StatusCode {
	case http.StatusNotModified:
		return nil
	case http.StatusNotFound:
		d.v2, d.v2Tag, d.converted = nil, "", nil
		return nil
	case http.StatusOK:
	default:
		return fmt.Errorf("%s of %s: %s", v2Path, e.Name, resp.Status)
	}
	tag := resp.Header.Get("ETag")
	if tag == "" {
		sum := sha512.Sum512(raw)
		tag = `"` + hex.EncodeToString(sum[:]) + `"`
	}
	if tag == d.v2Tag {
		return nil
	}
	all := &spec.Swagger{}
	if err := all.UnmarshalJSON(raw); err != nil {
		return fmt.Errorf("%s of %s: %w", v2Path, e.Name, err)
	}
	own := aggregator.FilterSpecByPathsWithoutSideEffects(all, []string{"/apis/" + e.Spec.Group + "/" + e.Spec.Version + "/"})
	converted, err := json.Marshal(openapiconv.ConvertV2ToV3(own))
	if err != nil {
		return fmt.Errorf("%s of %s: %w", v2Path, e.Name, err)
	}
	gv := schema.GroupVersion{Group: e.Spec.Group, Version: e.Spec.Version}
	d.v2, d.v2Tag = own, tag
	d.converted = openapi.Ready(nil, map[schema.GroupVersion][]byte{gv: converted}).Handler()
	return nil
}

// rootDocument is /openapi/v3.
type rootDocument struct {
	Paths map[string]location `json:"paths"`
}

type location struct {
	URL string `json:"serverRelativeURL"`
}

func (a *Aggregator) describeV3(ctx context.Context, e *entry, d *described) error {
	raw, resp, err := a.document(ctx, e, v3Path, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return err
	}
	d.v3 = ""
	switch resp.StatusCode {
	case http.StatusNotFound:
		return nil
	case http.StatusOK:
	default:
		return fmt.Errorf("%s of %s: %s", v3Path, e.Name, resp.Status)
	}
	var root rootDocument
	if err := json.Unmarshal(raw, &root); err != nil {
		return fmt.Errorf("%s of %s: %w", v3Path, e.Name, err)
	}
	d.v3 = root.Paths[groupPath(e)].URL
	return nil
}

// groupPath is the path of a group and version in the document of documents.
func groupPath(e *entry) string { return "apis/" + e.Spec.Group + "/" + e.Spec.Version }

// document reads what another server says at a path.
func (a *Aggregator) document(ctx context.Context, e *entry, path string, header http.Header) ([]byte, *http.Response, error) {
	resp, err := a.ask(ctx, e, openAPIUser, path, header)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument))
	return raw, resp, err
}

// ServeOpenAPI serves /openapi and what is below, of all servers; own is the handler of what this one serves.
func (a *Aggregator) ServeOpenAPI(w http.ResponseWriter, r *http.Request, user *apiserver.Identity, own http.Handler) {
	all := a.descriptions(r.Context())
	path := strings.TrimSuffix(r.URL.Path, "/")
	isRead := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case len(all) == 0 || !isRead:
	case path == v2Path:
		own = a.mergedV2(own, all)
	case path == v3Path:
		own = mergedRoot(own, all)
	default:
		for _, d := range all {
			if v3Path+"/"+groupPath(d.entry) != path {
				continue
			}
			if d.v3 == "" && d.converted != nil {
				own = d.converted
				break
			}
			a.Proxy(w, r, user, schema.GroupVersion{Group: d.Spec.Group, Version: d.Spec.Version})
			return
		}
	}
	own.ServeHTTP(w, r)
}

// description is a described APIService.
type description struct {
	*entry
	*described
}

// descriptions returns those that are known, in order of priority.
func (a *Aggregator) descriptions(ctx context.Context) []description {
	entries, err := a.entries(ctx)
	if err != nil {
		return nil // what is served here is described all the same
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []description
	for _, e := range entries {
		if d := a.described[e.Name]; d != nil && e.target != nil {
			out = append(out, description{e, d})
		}
	}
	slices.SortFunc(out, func(x, y description) int { return byPriority(x.APIService, y.APIService) })
	return out
}

// mergedV2 describes all servers in version 2. It is made anew when one of them says something else.
func (a *Aggregator) mergedV2(own http.Handler, all []description) http.Handler {
	key := fetch(own, http.MethodHead, v2Path).header.Get("Etag")
	for _, d := range all {
		key += " " + d.Name + d.v2Tag
	}
	a.openapi.mu.Lock()
	defer a.openapi.mu.Unlock()
	if a.openapi.key == key {
		return a.openapi.handler
	}
	raw, err := mergeV2(own, all)
	if err != nil {
		a.cfg.Logger.Warn("other servers' OpenAPI documents can't be added", "error", err)
		return own
	}
	a.openapi.key, a.openapi.handler = key, openapi.Ready(raw, nil).Handler()
	return a.openapi.handler
}

func mergeV2(own http.Handler, all []description) ([]byte, error) {
	merged := &spec.Swagger{}
	if err := merged.UnmarshalJSON(fetch(own, http.MethodGet, v2Path).body.Bytes()); err != nil {
		return nil, err
	}
	for _, d := range all {
		if d.v2 == nil {
			continue
		}
		if err := aggregator.MergeSpecsIgnorePathConflictRenamingDefinitionsAndParameters(merged, d.v2); err != nil {
			return nil, fmt.Errorf("%s: %w", d.Name, err)
		}
	}
	return merged.MarshalJSON()
}

// mergedRoot tells where all servers are described in version 3.
func mergedRoot(own http.Handler, all []description) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := fetch(own, http.MethodGet, v3Path)
		var root rootDocument
		if err := json.Unmarshal(answer.body.Bytes(), &root); err != nil || root.Paths == nil {
			own.ServeHTTP(w, r)
			return
		}
		for _, d := range all {
			switch {
			case d.v3 != "":
				root.Paths[groupPath(d.entry)] = location{d.v3}
			case d.converted != nil:
				var one rootDocument
				_ = json.Unmarshal(fetch(d.converted, http.MethodGet, v3Path).body.Bytes(), &one) // our own
				root.Paths[groupPath(d.entry)] = one.Paths[groupPath(d.entry)]
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(root) // the client went away
	})
}

// fetched is an answer in memory.
type fetched struct {
	header http.Header
	body   bytes.Buffer
}

func (f *fetched) Header() http.Header         { return f.header }
func (f *fetched) Write(b []byte) (int, error) { return f.body.Write(b) }
func (f *fetched) WriteHeader(int)             {}

// fetch asks a handler in this process.
func fetch(h http.Handler, method, path string) *fetched {
	f := &fetched{header: http.Header{}}
	r, err := http.NewRequest(method, path, http.NoBody) //nolint:noctx // it goes nowhere
	if err == nil {
		h.ServeHTTP(f, r)
	}
	return f
}
