package podspec

import (
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
)

// ClaimOptions are what an update lets pass because the old object had it.
type ClaimOptions struct {
	// InvalidSelector lets the label values of a selector be what labels can't have.
	InvalidSelector bool
	// InvalidGroup lets the API group of a data source be no DNS subdomain.
	InvalidGroup bool
}

// DefaultClaimSpec fills in the specification of a claim, or of a template for claims.
func DefaultClaimSpec(s *corev1.PersistentVolumeClaimSpec) {
	fill.Nil(&s.VolumeMode, corev1.PersistentVolumeFilesystem)
	RoundResources(s.Resources.Limits)
	RoundResources(s.Resources.Requests)
}

// ValidateClaimSpec returns what is wrong with the specification of a claim.
func ValidateClaimSpec(s *corev1.PersistentVolumeClaimSpec, opts ClaimOptions, path *field.Path) field.ErrorList {
	c := &checker{}
	c.claimSpec(s, opts, path)
	return c.Errors()
}

func (c *checker) claimSpec(s *corev1.PersistentVolumeClaimSpec, opts ClaimOptions, path *field.Path) {
	if len(s.AccessModes) == 0 {
		c.Required(path.Child("accessModes"), "at least 1 access mode is required")
	}
	if s.Selector != nil {
		c.Add(metavalidation.ValidateLabelSelector(s.Selector,
			metavalidation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: opts.InvalidSelector}, path.Child("selector"))...)
	}
	c.accessModes(s.AccessModes, path.Child("accessModes"))
	q, ok := s.Resources.Requests[corev1.ResourceStorage]
	switch p := path.Child("resources").Key(string(corev1.ResourceStorage)); {
	case !ok:
		c.Required(p, "")
	case q.Sign() <= 0:
		c.Invalid(p, q.String(), "must be greater than zero")
	}
	if n := ptr.Deref(s.StorageClassName, ""); n != "" {
		c.Subdomain(path.Child("storageClassName"), n)
	}
	c.volumeMode(s.VolumeMode, path.Child("volumeMode"))
	c.dataSources(s, opts, path)
	if n := ptr.Deref(s.VolumeAttributesClassName, ""); n != "" {
		c.Subdomain(path.Child("volumeAttributesClassName"), n)
	}
}

func (c *checker) accessModes(modes []corev1.PersistentVolumeAccessMode, path *field.Path) {
	known := []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod}
	others := false
	for _, m := range modes {
		check.Supported(&c.List, path, m, known...)
		others = others || m != corev1.ReadWriteOncePod && slices.Contains(known, m)
	}
	if others && slices.Contains(modes, corev1.ReadWriteOncePod) {
		c.Forbidden(path, "may not use ReadWriteOncePod with other access modes")
	}
}

func (c *checker) volumeMode(m *corev1.PersistentVolumeMode, path *field.Path) {
	if m != nil {
		check.Supported(&c.List, path, *m, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)
	}
}

// dataSources checks where the first content of a volume comes from: the older field, which knows
// the claim's own namespace only, and the newer one say the same.
func (c *checker) dataSources(s *corev1.PersistentVolumeClaimSpec, opts ClaimOptions, path *field.Path) {
	d, r := s.DataSource, s.DataSourceRef
	if d != nil {
		c.dataSource(d.APIGroup, d.Kind, d.Name, opts, path.Child("dataSource"))
	}
	if r == nil {
		return
	}
	p := path.Child("dataSourceRef")
	c.dataSource(r.APIGroup, r.Kind, r.Name, opts, p)
	namespace := ptr.Deref(r.Namespace, "")
	if namespace != "" {
		c.Messages(p.Child("namespace"), namespace, apivalidation.ValidateNamespaceName(namespace, false))
	}
	switch {
	case d == nil:
	case namespace != "":
		c.Invalid(path, path.Child("dataSource"), "may not be specified when dataSourceRef.namespace is specified")
	case !reflect.DeepEqual(d.APIGroup, r.APIGroup) || d.Kind != r.Kind || d.Name != r.Name:
		c.Invalid(path, path.Child("dataSource"), "must match dataSourceRef")
	}
}

func (c *checker) dataSource(apiGroup *string, kind, name string, opts ClaimOptions, path *field.Path) {
	c.needed(name, path.Child("name"))
	c.needed(kind, path.Child("kind"))
	group := ptr.Deref(apiGroup, "")
	switch {
	case group == "" && kind != "PersistentVolumeClaim":
		c.Invalid(path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup")
	case group != "" && !opts.InvalidGroup:
		c.Subdomain(path.Child("apiGroup"), group)
	}
}

// ClaimWarnings tells of fractions of bytes.
func ClaimWarnings(s *corev1.PersistentVolumeClaimSpec, path *field.Path) []string {
	var out []string
	for _, part := range []struct {
		name string
		list corev1.ResourceList
	}{{"requests", s.Resources.Requests}, {"limits", s.Resources.Limits}} {
		if q := ptr.To(part.list[corev1.ResourceStorage]); q.MilliValue()%1000 != 0 {
			out = append(out, fmt.Sprintf("%s: fractional byte value %q is invalid, must be an integer",
				path.Child("resources", part.name).Key(string(corev1.ResourceStorage)), q.String()))
		}
	}
	return out
}
