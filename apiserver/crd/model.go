package crd

import (
	"fmt"
	"slices"
	"strings"

	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	openapiv2 "k8s.io/apiextensions-apiserver/pkg/controller/openapi/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/inboard/inboard/apiserver/openapi"
)

// modelName names the model of a kind, as in "com.example.v1.CronTab".
func (m *member) modelName(kind string) string {
	parts := strings.Split(m.crd.Spec.Group, ".")
	slices.Reverse(parts)
	return fmt.Sprintf("%s.%s.%s", strings.Join(parts, "."), m.version.Name, kind)
}

func (m *member) model() *openapi.Model {
	return &openapi.Model{Name: m.modelName(m.crd.Spec.Names.Kind), Schema: m.objectSchema}
}

func (m *member) listModel() *openapi.Model {
	return &openapi.Model{Name: m.modelName(m.crd.Spec.Names.ListKind), Schema: m.listSchema}
}

// kindExtension tells of which kind objects of a schema are.
func (m *member) kindExtension(s *spec.Schema, kind string) {
	s.AddExtension("x-kubernetes-group-version-kind", []any{
		map[string]any{"group": m.crd.Spec.Group, "version": m.version.Name, "kind": kind},
	})
	if len(m.version.SelectableFields) > 0 {
		fields := make([]any, len(m.version.SelectableFields))
		for i, f := range m.version.SelectableFields {
			fields[i] = map[string]any{"fieldPath": strings.TrimPrefix(f.JSONPath, ".")}
		}
		s.AddExtension("x-kubernetes-selectable-fields", fields)
	}
}

var (
	typeMetaDocs = metav1.TypeMeta{}.SwaggerDoc()
	objectDocs   = metav1.PartialObjectMetadata{}.SwaggerDoc()
	listDocs     = metav1.PartialObjectMetadataList{}.SwaggerDoc()
)

func text(doc string) spec.Schema { return *spec.StringProperty().WithDescription(doc) }

// described is a reference with a description, which in version 3 can't stand beside it.
func described(name string, v2 bool, doc string) spec.Schema {
	ref := spec.RefSchema(openapi.Ref(name, v2))
	if !v2 {
		ref = &spec.Schema{SchemaProps: spec.SchemaProps{AllOf: []spec.Schema{*ref}}}
	}
	return *ref.WithDescription(doc)
}

// publishable returns a version's schema in the form that is published, nil when there is none that can be.
func (m *member) publishable() *structuralschema.Structural {
	props, err := internalSchema(m.version)
	if err != nil || props == nil || hasInvalidTypes(props) {
		return nil
	}
	s, err := structuralschema.NewStructural(props)
	if err != nil || len(structuralschema.ValidateStructural(nil, s)) > 0 {
		return nil
	}
	return s.Unfold()
}

// objectSchema is the schema of the version's objects.
func (m *member) objectSchema(v2 bool) (*spec.Schema, error) {
	out := &spec.Schema{SchemaProps: spec.SchemaProps{Type: spec.StringOrArray{"object"}}}
	s := m.publishable()
	// Without properties kubectl takes all fields for known.
	if s != nil && (!v2 || !s.XPreserveUnknownFields && !m.crd.Spec.PreserveUnknownFields) {
		if v2 {
			s = openapiv2.ToStructuralOpenAPIV2(s)
		}
		out = s.ToKubeOpenAPI()
		out.SetProperty("metadata", described("ObjectMeta", v2, objectDocs["metadata"]))
		out.SetProperty("apiVersion", text(typeMetaDocs["apiVersion"]))
		out.SetProperty("kind", text(typeMetaDocs["kind"]))
		describeEmbedded(out, v2)
	}
	m.kindExtension(out, m.crd.Spec.Names.Kind)
	return out, nil
}

// describeEmbedded adds to embedded resources what all resources have.
func describeEmbedded(s *spec.Schema, v2 bool) {
	if s == nil {
		return
	}
	for name, p := range s.Properties {
		describeEmbedded(&p, v2)
		s.Properties[name] = p
	}
	if s.Items != nil {
		describeEmbedded(s.Items.Schema, v2)
	}
	if s.AdditionalProperties != nil {
		describeEmbedded(s.AdditionalProperties.Schema, v2)
	}
	keeps, _ := s.Extensions.GetBool("x-kubernetes-preserve-unknown-fields")
	embedded, _ := s.Extensions.GetBool("x-kubernetes-embedded-resource")
	if !embedded || keeps && v2 {
		return
	}
	s.SetProperty("apiVersion", text("apiVersion defines the versioned schema of this representation of an object. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"))
	s.SetProperty("kind", text("kind is a string value representing the type of this object. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"))
	s.SetProperty("metadata", described("ObjectMeta", v2, objectDocs["metadata"]))
	for _, name := range []string{"kind", "apiVersion"} {
		if !slices.Contains(s.Required, name) {
			s.Required = append(s.Required, name)
		}
	}
}

// listSchema is the schema of lists.
func (m *member) listSchema(v2 bool) (*spec.Schema, error) {
	names := &m.crd.Spec.Names
	items := spec.ArrayProperty(spec.RefSchema(openapi.Ref(m.modelName(names.Kind), v2)))
	items.WithDescription(fmt.Sprintf("List of %s. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md", names.Plural))
	s := new(spec.Schema).Typed("object", "").WithRequired("items").
		WithDescription(fmt.Sprintf("%s is a list of %s", names.ListKind, names.Kind)).
		SetProperty("items", *items).
		SetProperty("metadata", described("ListMeta", v2, listDocs["metadata"])).
		SetProperty("apiVersion", text(typeMetaDocs["apiVersion"])).
		SetProperty("kind", text(typeMetaDocs["kind"]))
	m.kindExtension(s, names.ListKind)
	return s, nil
}

// newTypes returns the schemas by which fields are managed, of all versions.
func (c *custom) newTypes() (managedfields.TypeConverter, error) {
	models := openapi.MetaModels()
	for i := range c.crd.Spec.Versions {
		m := newMember(c, &c.crd.Spec.Versions[i])
		s, err := m.objectSchema(false)
		if err != nil {
			return nil, err
		}
		models[m.modelName(c.crd.Spec.Names.Kind)] = s
	}
	return managedfields.NewTypeConverter(models, c.crd.Spec.PreserveUnknownFields)
}
