package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resource is a resource that an API serves, for controllers that handle objects of any kind.
type Resource struct {
	schema.GroupVersionResource
	Kind       string
	Namespaced bool
}

// GroupVersionKind returns the kind of the resource's objects.
func (r Resource) GroupVersionKind() schema.GroupVersionKind {
	return r.GroupVersion().WithKind(r.Kind)
}

// Resources returns the resources that can be listed, watched and deleted, each in one version.
type Resources func(ctx context.Context) ([]Resource, error)

// PartialError tells that some groups and versions could not be asked what they serve, as when the server that
// answers for them is down. It reads like the first of the errors.
type PartialError struct {
	Failed map[schema.GroupVersion]error
	first  error
}

func (e *PartialError) Error() string { return e.first.Error() }

// Unwrap returns the first of the errors.
func (e *PartialError) Unwrap() error { return e.first }

// Known returns Resources that are always the given ones.
func Known(resources ...Resource) Resources {
	resources = slices.Clone(resources)
	return func(context.Context) ([]Resource, error) { return slices.Clone(resources), nil }
}

// Builtin returns the resources of the kinds that an inboard API server has built in.
func Builtin() []Resource {
	core := schema.GroupVersion{Version: "v1"}
	apps := schema.GroupVersion{Group: "apps", Version: "v1"}
	return []Resource{
		{core.WithResource("configmaps"), "ConfigMap", true},
		{core.WithResource("events"), "Event", true},
		{core.WithResource("namespaces"), "Namespace", false},
		{core.WithResource("nodes"), "Node", false},
		{core.WithResource("pods"), "Pod", true},
		{core.WithResource("secrets"), "Secret", true},
		{core.WithResource("serviceaccounts"), "ServiceAccount", true},
		{core.WithResource("services"), "Service", true},
		{apps.WithResource("deployments"), "Deployment", true},
		{apps.WithResource("replicasets"), "ReplicaSet", true},
		{schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}, "Lease", true},
		{schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}, "EndpointSlice", true},
	}
}

// Discover returns Resources that ask a server each time what it serves. Get is a GET of a path of
// the API, such as "/apis", that returns the body of the answer as JSON. When a group's own server
// does not answer, the error is a *PartialError and comes with the resources of the others.
func Discover(get func(ctx context.Context, path string) ([]byte, error)) Resources {
	return func(ctx context.Context) ([]Resource, error) {
		versions := []string{"v1"}
		var groups metav1.APIGroupList
		if err := decode(ctx, get, "/apis", &groups); err != nil {
			return nil, err
		}
		for _, g := range groups.Groups {
			versions = append(versions, versionsOf(g)...)
		}
		var out []Resource
		var failed *PartialError
		// A resource that its group's preferred version lacks, as beta ones do, counts in the next one that has it.
		seen := map[schema.GroupResource]bool{}
		for _, version := range versions {
			found, err := discoverVersion(ctx, get, version)
			if err != nil {
				failed = failed.with(version, err)
			}
			for _, r := range found {
				if id := r.GroupResource(); !seen[id] {
					seen[id] = true
					out = append(out, r)
				}
			}
		}
		if failed != nil {
			return out, failed
		}
		return out, nil
	}
}

// with adds an error; e may be nil.
func (e *PartialError) with(version string, err error) *PartialError {
	if e == nil {
		e = &PartialError{Failed: map[schema.GroupVersion]error{}, first: err}
	}
	if gv, invalid := schema.ParseGroupVersion(version); invalid == nil {
		e.Failed[gv] = err
	}
	return e
}

// versionsOf returns a group's versions, the preferred one first.
func versionsOf(g metav1.APIGroup) []string {
	out := []string{g.PreferredVersion.GroupVersion}
	for _, v := range g.Versions {
		if v.GroupVersion != out[0] {
			out = append(out, v.GroupVersion)
		}
	}
	return out
}

func decode(ctx context.Context, get func(context.Context, string) ([]byte, error), path string, into any) error {
	raw, err := get(ctx, path)
	if err != nil {
		return fmt.Errorf("discovery: GET %s: %w", path, err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("discovery: GET %s: %w", path, err)
	}
	return nil
}

func discoverVersion(ctx context.Context, get func(context.Context, string) ([]byte, error), version string) ([]Resource, error) {
	gv, err := schema.ParseGroupVersion(version)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	path := "/apis/" + version
	if gv.Group == "" {
		path = "/api/" + version
	}
	var list metav1.APIResourceList
	if err := decode(ctx, get, path, &list); err != nil {
		return nil, err
	}
	var out []Resource
	for _, r := range list.APIResources {
		if strings.Contains(r.Name, "/") { // a subresource
			continue
		}
		if slices.Contains(r.Verbs, "list") && slices.Contains(r.Verbs, "watch") && slices.Contains(r.Verbs, "delete") {
			out = append(out, Resource{gv.WithResource(r.Name), r.Kind, r.Namespaced})
		}
	}
	return out, nil
}
