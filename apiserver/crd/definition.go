package crd

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/internal/hookclient"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// definition is a CustomResourceDefinition with the rows that it makes. What is costly is made when it is needed.
type definition struct {
	crd   *apiextensionsv1.CustomResourceDefinition
	kinds []apiserver.Kind
	// webhook converts the objects; nil when none does.
	webhook *webhook
	// err is why the definition can't be served.
	err error
}

// servesLike tells whether another state of the definition is served just like this one.
func (d *definition) servesLike(crd *apiextensionsv1.CustomResourceDefinition) bool {
	return d.crd.UID == crd.UID && isEstablished(d.crd) == isEstablished(crd) &&
		apiequality.Semantic.DeepEqual(&d.crd.Status.AcceptedNames, &crd.Status.AcceptedNames) &&
		apiequality.Semantic.DeepEqual(&d.crd.Spec, &crd.Spec)
}

func isEstablished(crd *apiextensionsv1.CustomResourceDefinition) bool {
	return apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established)
}

func newDefinition(crd *apiextensionsv1.CustomResourceDefinition, clients *hookclient.Clients) *definition {
	d := &definition{crd: crd}
	if isEstablished(crd) {
		d.err = d.build(clients)
	}
	return d
}

// build makes the rows of an established definition. Those that a server would not take are an error here, so that it
// takes the others'.
func (d *definition) build(clients *hookclient.Clients) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("making its kinds panicked: %v", p)
		}
	}()
	crd := d.crd
	d.webhook = newWebhook(crd, clients)
	c := &custom{crd: crd, webhook: d.webhook}
	c.schemas = sync.OnceValues(c.newSchemas)
	c.types = sync.OnceValues(c.newTypes)
	for i := range crd.Spec.Versions {
		v := &crd.Spec.Versions[i]
		c.versions = append(c.versions, schema.GroupVersion{Group: crd.Spec.Group, Version: v.Name})
	}
	for i := range crd.Spec.Versions {
		v := &crd.Spec.Versions[i]
		if !v.Served {
			continue
		}
		k := c.newKind(v)
		if _, err := apiserver.StoredAs(k); err != nil {
			return err
		}
		d.kinds = append(d.kinds, k)
	}
	return nil
}

// newKind returns the row of one version.
func (c *custom) newKind(v *apiextensionsv1.CustomResourceDefinitionVersion) apiserver.Kind {
	names := &c.crd.Status.AcceptedNames
	m := newMember(c, v)
	k := apiserver.Kind{
		GroupVersionKind: schema.GroupVersionKind{Group: c.crd.Spec.Group, Version: v.Name, Kind: names.Kind},
		Resource:         names.Plural, Singular: names.Singular, ShortNames: names.ShortNames, Categories: names.Categories,
		Namespaced: c.crd.Spec.Scope == apiextensionsv1.NamespaceScoped,
		Object:     &unstructured.Unstructured{}, List: &unstructured.UnstructuredList{},
		Generation: true, ConditionalUpdate: true, RepeatMistakes: true,
		Default: m.fillIn, Validate: m.validate, Warnings: finalizerWarnings, Fields: selectableFields(v.SelectableFields),
		Deprecated: c.deprecation(v),
		Custom: &apiserver.Custom{
			ListKind: names.ListKind, Versions: c.served(),
			Receive: m.receive, Encode: m.encode, Decode: m.decode, Convert: c.converted, Types: c.types,
			Model: m.model(), ListModel: m.listModel(),
		},
	}
	k.Columns, k.Row = columns(v.AdditionalPrinterColumns)
	if sub := v.Subresources; sub != nil {
		if sub.Status != nil {
			k.Status, k.ValidateStatus, k.StatusResets = true, m.validateStatus, []string{"metadata"}
		}
		if sub.Scale != nil {
			k.Scale = newScale(c, sub.Scale)
		}
	}
	return k
}

// served are the versions served.
func (c *custom) served() []schema.GroupVersion {
	var out []schema.GroupVersion
	for i, v := range c.crd.Spec.Versions {
		if v.Served {
			out = append(out, c.versions[i])
		}
	}
	return out
}

// deprecation is the warning that goes along with requests in a version; "" is none.
func (c *custom) deprecation(v *apiextensionsv1.CustomResourceDefinitionVersion) string {
	if !v.Deprecated {
		return ""
	}
	if v.DeprecationWarning != nil {
		return *v.DeprecationWarning
	}
	spec := &c.crd.Spec
	text := fmt.Sprintf("%s/%s %s is deprecated", spec.Group, v.Name, spec.Names.Kind)
	var newer []string
	for _, other := range spec.Versions {
		if other.Served && !other.Deprecated && version.CompareKubeAwareVersionStrings(v.Name, other.Name) < 0 {
			newer = append(newer, other.Name)
		}
	}
	if len(newer) == 0 {
		return text
	}
	return text + fmt.Sprintf("; use %s/%s %s", spec.Group, slices.MaxFunc(newer, version.CompareKubeAwareVersionStrings), spec.Names.Kind)
}
