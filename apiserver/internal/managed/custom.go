package managed

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// errCustom keeps writes of custom objects off the short way, which walks Go types.
var errCustom = errors.New("the kind has no Go type")

// newCustomFields returns the field manager of a kind without a Go type. Every version is its own hub, as requests
// are served in the version that they ask for.
func (m *Manager) newCustomFields() (*managedfields.FieldManager, error) {
	k := &m.typ.kind
	types, err := k.Custom.Types()
	if err != nil {
		return nil, err
	}
	var reset map[fieldpath.APIVersion]fieldpath.Filter
	if m.filter != nil {
		reset = map[fieldpath.APIVersion]fieldpath.Filter{}
		for _, gv := range k.Custom.Versions {
			reset[fieldpath.APIVersion(gv.String())] = m.filter
		}
	}
	c := customConverter{converter{m.typ}}
	return managedfields.NewDefaultCRDFieldManager(types, c, c, c, k.GroupVersionKind, k.GroupVersion(), m.subresource, reset)
}

// customConverter is what the field managers need of a scheme, for a kind without a Go type.
type customConverter struct{ converter }

// ConvertToVersion returns an object in one of the kind's versions.
func (c customConverter) ConvertToVersion(in runtime.Object, to runtime.GroupVersioner) (runtime.Object, error) {
	u, ok := in.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("a %T is no custom object", in)
	}
	from := u.GroupVersionKind()
	target, ok := to.KindForGroupVersionKinds([]schema.GroupVersionKind{from})
	if !ok {
		return nil, fmt.Errorf("%v is unstructured and is not suitable for converting to %q", from, to)
	}
	if target == from {
		return in, nil
	}
	for _, gv := range c.t.kind.Custom.Versions {
		if gv == target.GroupVersion() {
			return c.t.kind.Custom.Convert(u, gv)
		}
	}
	// Fields that are managed in a version that is gone are forgotten.
	return nil, runtime.NewNotRegisteredGVKErrForTarget("custom", from, to)
}

// New returns an empty object.
func (c customConverter) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	return u, nil
}
