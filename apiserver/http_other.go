package apiserver

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
)

// other serves paths that are not for a resource.
func (c *call) other() {
	c.query = c.r.URL.Query()
	path := cmp.Or(c.r.URL.Path, "/")
	c.info = RequestInfo{
		Attributes: Attributes{User: c.user, Verb: strings.ToLower(c.r.Method), Path: path},
		Method:     c.r.Method, Query: c.query,
	}
	c.run(func() { c.page(path) })
}

// page serves a path that is not for a resource, if the user may see it.
func (c *call) page(path string) {
	a := &c.info.Attributes
	allowed, reason, err := c.server.cfg.Authorizer.Authorize(c.r.Context(), a)
	if err != nil || !allowed {
		text := fmt.Sprintf("User %q cannot %s path %q", c.user.User, a.Verb, path)
		if reason != "" {
			text += ": " + reason
		}
		c.fail(apierrors.NewForbidden(rqNone, "", fmt.Errorf("%s", text)))
		return
	}
	s := c.server
	if gv, ok := versionPath(path); ok {
		if remote, err := s.remote(c.r.Context(), gv); err != nil {
			c.fail(err)
			return
		} else if remote {
			c.aggregated(gv)
			return
		}
	}
	switch trimmed := strings.TrimSuffix(path, "/"); {
	case strings.HasPrefix(path, "/openapi/"):
		c.openapi()
	case below(healthPaths, trimmed):
		c.health(trimmed)
	case c.r.Method != http.MethodGet && c.r.Method != http.MethodHead:
		c.fail(methodNotAllowed())
	case s.servesOpenID(path):
		s.cfg.Authentication.ServiceAccounts.ServeHTTP(c.handOver(), c.r)
	case trimmed == "/metrics" && s.cfg.Metrics != nil:
		s.cfg.Metrics.ServeHTTP(c.handOver(), c.r)
	case strings.HasPrefix(path, debugPath) && s.dumps() != nil:
		s.dumps().ServeHTTP(c.handOver(), c.r)
	case trimmed == "":
		c.rootPaths()
	case trimmed == "/version":
		c.version()
	case below([]string{"/api", "/apis"}, trimmed):
		if err := acceptable(c.r, answerTypes); err != nil {
			c.fail(err)
			return
		}
		c.discovery(trimmed)
	default:
		c.noPage()
	}
}

// customResources is where clients look for the definitions of kinds that a server was taught.
var customResources = schema.GroupVersionResource{
	Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// noCustomResources tells the truth about a server that knows no such definitions: there are none. kubectl
// asks before it says of a manifest that there is no such kind, and blames the server otherwise.
func (c *call) noCustomResources() {
	c.json(metav1.PartialObjectMetadataList{
		TypeMeta: metav1.TypeMeta{APIVersion: customResources.GroupVersion().String(), Kind: "CustomResourceDefinitionList"},
		ListMeta: metav1.ListMeta{ResourceVersion: strconv.FormatInt(c.server.cfg.Store.Revision(), 10)},
		Items:    []metav1.PartialObjectMetadata{},
	})
}

func (c *call) version() {
	switch err := acceptable(c.r, []string{mediaJSON}); {
	case c.r.Method != http.MethodGet:
		c.fail(methodNotAllowed())
	case err != nil:
		c.fail(err)
	default:
		c.json(c.server.Version())
	}
}

// openapi serves what is below /openapi.
func (c *call) openapi() {
	now, err := c.server.refreshed(c.r.Context())
	if err != nil {
		c.fail(err)
		return
	}
	c.describeAPI(now.openapi)
}

// noPage answers a path outside of the API that leads nowhere.
func (c *call) noPage() { c.text(http.StatusNotFound, "404 page not found\n") }

func (c *call) json(v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		c.fail(err)
		return
	}
	c.write(http.StatusOK, mediaJSON, b)
}

func (c *call) rootPaths() {
	d, err := c.server.discovery(c.r.Context())
	if err != nil {
		c.fail(err)
		return
	}
	c.json(map[string]any{"paths": c.server.paths(d)})
}

func (s *Server) paths(d *discoveryDocs) []string {
	out := []string{"/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"}
	for _, gv := range d.versions {
		if gv.Group == "" {
			out = append(out, "/api/"+gv.Version)
			continue
		}
		out = append(out, "/apis/"+gv.Group, "/apis/"+gv.String())
	}
	if s.cfg.Metrics != nil {
		out = append(out, "/metrics")
	}
	for _, path := range healthPaths {
		for _, h := range s.checks() {
			if !h.ReadyOnly || path == "/readyz" {
				out = append(out, path+"/"+h.Name)
			}
		}
	}
	if tokens := s.cfg.Authentication.ServiceAccounts; tokens != nil {
		out = append(out, tokens.Paths()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Version returns what /version tells.
func (s *Server) Version() version.Info {
	major, minor := "1", ""
	if parts := strings.SplitN(strings.TrimPrefix(s.cfg.Version, "v"), ".", 3); len(parts) == 3 {
		major, minor = parts[0], parts[1]
	}
	before := ""
	if n, err := strconv.Atoi(minor); err == nil {
		before = strconv.Itoa(n - 1)
	}
	return version.Info{
		EmulationMajor: major, EmulationMinor: minor, MinCompatibilityMajor: major, MinCompatibilityMinor: before,
		Major: major, Minor: minor, GitVersion: s.cfg.Version, GitTreeState: "clean",
		GoVersion: runtime.Version(), Compiler: runtime.Compiler, Platform: runtime.GOOS + "/" + runtime.GOARCH,
		BuildDate: "1970-01-01T00:00:00Z",
	}
}
