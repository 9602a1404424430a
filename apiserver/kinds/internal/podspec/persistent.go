package podspec

import (
	"maps"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
)

// DefaultVolumeSpec fills in the specification of a persistent volume.
func DefaultVolumeSpec(s *corev1.PersistentVolumeSpec) {
	RoundResources(s.Capacity)
	if s.HostPath != nil {
		fill.Nil(&s.HostPath.Type, corev1.HostPathUnset)
	}
	if s.RBD != nil {
		defaultRBD(&s.RBD.RBDPool, &s.RBD.RadosUser, &s.RBD.Keyring)
	}
	if s.ISCSI != nil {
		fill.Empty(&s.ISCSI.ISCSIInterface, "default")
	}
	if s.AzureDisk != nil {
		defaultAzureDisk(s.AzureDisk)
	}
	if s.ScaleIO != nil {
		defaultScaleIO(&s.ScaleIO.StorageMode, &s.ScaleIO.FSType)
	}
}

// ValidateVolumeSpec returns what is wrong with a persistent volume. lenient lets the values of its
// node affinity be what labels can't have.
func ValidateVolumeSpec(s *corev1.PersistentVolumeSpec, lenient bool, p *field.Path) field.ErrorList {
	c := &checker{}
	c.volumeModes(s, p)
	c.capacity(s.Capacity, p.Child("capacity"))
	if r := s.PersistentVolumeReclaimPolicy; r != "" {
		check.Supported(&c.List, p.Child("persistentVolumeReclaimPolicy"), r,
			corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimRetain)
	}
	if a := s.NodeAffinity; a != nil {
		if a.Required == nil {
			c.Required(p.Child("nodeAffinity", "required"), "must specify required node constraints")
		} else {
			c.nodeSelector(a.Required, !lenient, p.Child("nodeAffinity", "required"))
		}
	}
	c.persistentSource(s, p)
	c.recycledRoot(s, p)
	if s.StorageClassName != "" {
		c.Subdomain(p.Child("storageClassName"), s.StorageClassName)
	}
	c.volumeMode(s.VolumeMode, p.Child("volumeMode"))
	c.attributesClass(s, p)
	return c.Errors()
}

// ValidateInlineVolume returns what is wrong with a volume that stands inside a VolumeAttachment: a
// CSI volume that nobody claims.
func ValidateInlineVolume(s *corev1.PersistentVolumeSpec, p *field.Path) field.ErrorList {
	const inline = "in the context of inline volumes"
	c := &checker{}
	refuse := func(there bool, name string) {
		if there {
			c.Forbidden(p.Child(name), "may not be specified "+inline)
		}
	}
	refuse(s.ClaimRef != nil, "claimRef")
	refuse(len(s.Capacity) > 0, "capacity")
	if s.CSI == nil {
		c.Required(p.Child("csi"), "has to be specified "+inline)
	}
	c.volumeModes(s, p)
	if r := s.PersistentVolumeReclaimPolicy; r != "" && r != corev1.PersistentVolumeReclaimRetain {
		c.Forbidden(p.Child("persistentVolumeReclaimPolicy"), "may only be "+string(corev1.PersistentVolumeReclaimRetain)+" "+inline)
	}
	refuse(s.NodeAffinity != nil, "nodeAffinity")
	c.persistentSource(s, p)
	c.recycledRoot(s, p)
	refuse(s.StorageClassName != "", "storageClassName")
	if m := s.VolumeMode; m != nil && *m != corev1.PersistentVolumeFilesystem {
		c.Forbidden(p.Child("volumeMode"), "may not specify volumeMode other than "+string(corev1.PersistentVolumeFilesystem)+" "+inline)
	}
	return c.Errors()
}

func (c *checker) volumeModes(s *corev1.PersistentVolumeSpec, p *field.Path) {
	if len(s.AccessModes) == 0 {
		c.Required(p.Child("accessModes"), "")
	}
	c.accessModes(s.AccessModes, p.Child("accessModes"))
}

func (c *checker) capacity(list corev1.ResourceList, p *field.Path) {
	if len(list) == 0 {
		c.Required(p, "")
	}
	if _, ok := list[corev1.ResourceStorage]; !ok || len(list) > 1 {
		c.Add(field.NotSupported(p, list, []corev1.ResourceName{corev1.ResourceStorage}))
	}
	for _, name := range slices.Sorted(maps.Keys(list)) {
		q := list[name]
		if q.Value() < 0 {
			c.Invalid(p.Key(string(name)), q.Value(), "must be a valid resource quantity")
		}
		if q.Sign() <= 0 {
			c.Invalid(p.Key(string(name)), q.String(), "must be greater than zero")
		}
	}
}

// recycledRoot keeps a volume from being emptied that is the whole host.
func (c *checker) recycledRoot(s *corev1.PersistentVolumeSpec, p *field.Path) {
	if s.HostPath != nil && path.Clean(s.HostPath.Path) == "/" && s.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		c.Forbidden(p.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'")
	}
}

func (c *checker) attributesClass(s *corev1.PersistentVolumeSpec, p *field.Path) {
	name := s.VolumeAttributesClassName
	if name == nil {
		return
	}
	if *name == "" {
		c.Required(p.Child("volumeAttributesClassName"), "an empty string is disallowed")
	} else {
		c.Subdomain(p.Child("volumeAttributesClassName"), *name)
	}
	if s.CSI == nil {
		c.Required(p.Child("csi"), "has to be specified when using volumeAttributesClassName")
	}
}
