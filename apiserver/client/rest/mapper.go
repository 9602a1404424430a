package rest

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// discoveryTimeout bounds the request that finds the resource of a kind without a Go type.
const discoveryTimeout = 10 * time.Second

// ResourceFor is client.Mapper.ResourceFor. Kinds with a Go type are mapped by Kubernetes' naming
// rule, which all of k8s.io/api keep; for others the server's discovery is asked, once for each
// group and version that has the kind.
func (c *Client) ResourceFor(obj runtime.Object) (schema.GroupVersionResource, error) {
	if _, ok := obj.(runtime.Unstructured); !ok { // of those, the scheme believes anything
		if kinds, _, err := c.coding.scheme.ObjectKinds(obj); err == nil {
			gvr, _ := meta.UnsafeGuessKindToResource(kinds[0])
			return gvr, nil
		}
	}
	gvk := obj.GetObjectKind().GroupVersionKind()
	if gvk.Kind == "" || gvk.Version == "" {
		return schema.GroupVersionResource{}, noMatch(gvk)
	}
	if c.coding.scheme.Recognizes(gvk) {
		gvr, _ := meta.UnsafeGuessKindToResource(gvk)
		return gvr, nil
	}
	return c.discover(gvk)
}

func noMatch(gvk schema.GroupVersionKind) error {
	return &meta.NoKindMatchError{GroupKind: gvk.GroupKind(), SearchedVersions: []string{gvk.Version}}
}

func (c *Client) discover(gvk schema.GroupVersionKind) (schema.GroupVersionResource, error) {
	gv := gvk.GroupVersion()
	c.mu.Lock()
	gvr, ok := c.kinds[gv][gvk.Kind]
	c.mu.Unlock()
	if ok {
		return gvr, nil
	}
	rc, err := c.at(gv)
	if err != nil {
		return gvr, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), discoveryTimeout)
	defer cancel()
	path := "/apis/" + gv.String()
	if gv.Group == "" {
		path = "/api/" + gv.Version
	}
	raw, err := rc.Get().AbsPath(path).SetHeader("Accept", runtime.ContentTypeJSON).DoRaw(ctx)
	if err != nil {
		return gvr, err
	}
	var found metav1.APIResourceList
	if err := json.Unmarshal(raw, &found); err != nil {
		return gvr, err
	}
	return c.remember(gvk, found)
}

func (c *Client) remember(gvk schema.GroupVersionKind, found metav1.APIResourceList) (schema.GroupVersionResource, error) {
	gv := gvk.GroupVersion()
	byKind := map[string]schema.GroupVersionResource{}
	for _, r := range found.APIResources {
		// Subresources are listed as "resource/subresource".
		if !strings.Contains(r.Name, "/") {
			byKind[r.Kind] = gv.WithResource(r.Name)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds[gv] = byKind
	if gvr, ok := byKind[gvk.Kind]; ok {
		return gvr, nil
	}
	return schema.GroupVersionResource{}, noMatch(gvk)
}
