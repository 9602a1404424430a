package crd

import (
	"encoding/json"
	"fmt"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	kjson "sigs.k8s.io/json"

	"github.com/inboard/inboard/apiserver/client"
)

// custom is what the versions of a defined kind have in common.
type custom struct {
	crd     *apiextensionsv1.CustomResourceDefinition
	webhook *webhook
	// versions are all that the definition has, also those that are not served.
	versions []schema.GroupVersion
	// schemas are the structural schemas by version.
	schemas func() (map[string]*structuralschema.Structural, error)
	types   func() (managedfields.TypeConverter, error)
}

// internalSchema returns the schema of a version in the form that the libraries take, nil for none.
func internalSchema(v *apiextensionsv1.CustomResourceDefinitionVersion) (*apiextensions.JSONSchemaProps, error) {
	if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
		return nil, nil
	}
	out := &apiextensions.JSONSchemaProps{}
	err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, out, nil)
	return out, err
}

func (c *custom) newSchemas() (map[string]*structuralschema.Structural, error) {
	out := map[string]*structuralschema.Structural{}
	for i := range c.crd.Spec.Versions {
		v := &c.crd.Spec.Versions[i]
		props, err := internalSchema(v)
		if err != nil {
			return nil, err
		}
		if props == nil {
			continue
		}
		s, err := structuralschema.NewStructural(props)
		if c.crd.Spec.PreserveUnknownFields {
			out[v.Name] = s // not used but for what is in it
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the schema of version %s is not structural: %w", v.Name, err)
		}
		s = s.DeepCopy() // defaults are shared with the definition, and pruned
		if err := defaulting.PruneDefaults(s); err != nil {
			return nil, err
		}
		out[v.Name] = s
	}
	return out, nil
}

// structural returns the schema of a version, nil for none.
func (c *custom) structural(version string) (*structuralschema.Structural, error) {
	all, err := c.schemas()
	if err != nil {
		return nil, err
	}
	return all[version], nil
}

// coercion tells how to treat what a schema does not allow of metadata, as of stored objects or requests.
type coercion struct{ stored, unknown bool }

// coerce drops from an object what its version's schema does not know, and returns the paths of it. Metadata are
// brought into the form that the API's own objects have.
func (c *custom) coerce(u *unstructured.Unstructured, how coercion) (paths []string, err error) {
	s, err := c.structural(u.GroupVersionKind().Version)
	if err != nil {
		return nil, err
	}
	kind, apiVersion := u.GetKind(), u.GetAPIVersion()
	meta, hasMeta, unknown, err := objectmeta.GetObjectMetaWithOptions(u.Object, objectmeta.ObjectMetaOptions{
		DropMalformedFields: how.stored, ReturnUnknownFieldPaths: how.unknown,
	})
	if err != nil {
		return nil, err
	}
	paths = unknown
	if !c.crd.Spec.PreserveUnknownFields {
		track := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: how.unknown}
		paths = append(paths, pruning.PruneWithOptions(u.Object, s, true, track)...)
		defaulting.PruneNonNullableNullsWithoutDefaults(u.Object, s)
	}
	fieldErr, unknown := objectmeta.CoerceWithOptions(nil, u.Object, s, false, objectmeta.CoerceOptions{
		DropInvalidFields: how.stored, ReturnUnknownFieldPaths: how.unknown,
	})
	if fieldErr != nil {
		return nil, fieldErr
	}
	paths = append(paths, unknown...)
	u.SetKind(kind)
	u.SetAPIVersion(apiVersion)
	if hasMeta {
		if how.stored && meta.Generation == 0 {
			meta.Generation = 1
		}
		err = objectmeta.SetObjectMeta(u.Object, meta)
	}
	return paths, err
}

// member is one version of a defined kind.
type member struct {
	*custom
	version *apiextensionsv1.CustomResourceDefinitionVersion
	rules   func() (*rules, error)
}

func newMember(c *custom, v *apiextensionsv1.CustomResourceDefinitionVersion) *member {
	m := &member{custom: c, version: v}
	m.rules = sync.OnceValues(m.newRules)
	return m
}

func (m *member) gv() schema.GroupVersion {
	return schema.GroupVersion{Group: m.crd.Spec.Group, Version: m.version.Name}
}

// receive readies what came with a request.
func (m *member) receive(u *unstructured.Unstructured) ([]string, error) {
	return m.coerce(u, coercion{unknown: true})
}

// fillIn fills in the defaults of the schema.
func (m *member) fillIn(obj client.Object) {
	u := obj.(*unstructured.Unstructured)
	if s, err := m.structural(m.version.Name); err == nil && s != nil {
		defaulting.Default(u.Object, s)
	}
}

// encode returns the storage form, which is JSON in the version that is stored.
func (m *member) encode(u *unstructured.Unstructured) ([]byte, error) {
	storage, err := apihelpers.GetCRDStorageVersion(m.crd)
	if err != nil {
		return nil, err
	}
	if storage != m.version.Name {
		if u, err = m.converted(u, schema.GroupVersion{Group: m.crd.Spec.Group, Version: storage}); err != nil {
			return nil, err
		}
		u.SetResourceVersion("")
	}
	return json.Marshal(u.Object)
}

// decode returns a stored object, whichever version it was stored in. Defaults are those of that one.
func (m *member) decode(value []byte) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(value, &u.Object); err != nil {
		return nil, err
	}
	if _, err := m.coerce(u, coercion{stored: true}); err != nil {
		return nil, err
	}
	stored := u.GroupVersionKind().GroupVersion()
	s, err := m.structural(stored.Version)
	if err != nil {
		return nil, err
	}
	if s != nil {
		defaulting.Default(u.Object, s)
	}
	if stored == m.gv() {
		return u, nil
	}
	return m.converted(u, m.gv())
}
