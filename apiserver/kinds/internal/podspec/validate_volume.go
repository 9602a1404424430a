package podspec

import (
	"cmp"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

const (
	modeDetail     = "must be a number between 0 and 0777 (octal), both inclusive"
	oneTypeAlready = "may not specify more than 1 volume type"
)

// checkVolumes checks all volumes and remembers those that are right: mounts of others are errors.
func (c *checker) checkVolumes(path *field.Path) {
	c.volumes = make(map[string]*corev1.VolumeSource, len(c.spec.Volumes))
	for i := range c.spec.Volumes {
		v, p, before := &c.spec.Volumes[i], path.Index(i), len(c.List)
		c.volumeSource(&v.VolumeSource, v.Name, p)
		if v.Name == "" {
			c.Required(p.Child("name"), "")
		} else {
			c.Label(p.Child("name"), v.Name)
		}
		if c.volumes[v.Name] != nil {
			c.Add(field.Duplicate(p.Child("name"), v.Name))
		}
		if len(c.List) == before {
			c.volumes[v.Name] = &v.VolumeSource
		}
		if claim := v.PersistentVolumeClaim; claim != nil && c.createsClaim(claim.ClaimName) {
			c.Invalid(p.Child("persistentVolumeClaim", "claimName"), claim.ClaimName, "must not reference a PVC that gets created for an ephemeral volume")
		}
	}
}

// createsClaim tells whether an ephemeral volume of the pod makes a claim of that name.
func (c *checker) createsClaim(name string) bool {
	if c.meta == nil || c.meta.Name == "" {
		return false
	}
	for _, v := range c.spec.Volumes {
		if v.Ephemeral != nil && c.meta.Name+"-"+v.Name == name {
			return true
		}
	}
	return false
}

// extraNames are the names under which Kubernetes refuses a second source, where they differ.
var extraNames = map[string]string{
	"persistentDisk": "gcePersistentDisk", "cephfs": "cephFS", "downwardAPI": "downwarAPI",
}

// source is one field of a volume source.
type source struct {
	name  string
	set   bool
	check func(path *field.Path)
}

// volumeSource asks for exactly one source, and checks the first there is.
func (c *checker) volumeSource(v *corev1.VolumeSource, name string, path *field.Path) {
	n := 0
	for _, s := range c.ordered(v, name) {
		switch {
		case !s.set:
		case n > 0:
			c.Forbidden(path.Child(cmp.Or(extraNames[s.name], s.name)), oneTypeAlready)
		default:
			n++
			s.check(path.Child(s.name))
		}
	}
	if n == 0 {
		c.Required(path, "must specify a volume type")
	}
}

func (c *checker) needed(v string, path *field.Path) {
	if v == "" {
		c.Required(path, "")
	}
}

func (c *checker) mode(m *int32, path *field.Path) {
	if m != nil && (*m < 0 || *m > 0o777) {
		c.Invalid(path, *m, modeDetail)
	}
}

func (c *checker) hostPath(h *corev1.HostPathVolumeSource, path *field.Path) {
	if h.Path == "" {
		c.Required(path.Child("path"), "")
		return
	}
	c.noBacksteps(h.Path, path.Child("path"))
	if h.Type != nil {
		check.Supported(&c.List, path.Child("type"), *h.Type, corev1.HostPathUnset, corev1.HostPathBlockDev, corev1.HostPathCharDev,
			corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate, corev1.HostPathFile, corev1.HostPathFileOrCreate, corev1.HostPathSocket)
	}
}

func (c *checker) items(items []corev1.KeyToPath, path *field.Path) {
	for i := range items {
		c.item(&items[i], path.Index(i))
	}
}

func (c *checker) item(k *corev1.KeyToPath, path *field.Path) {
	c.needed(k.Key, path.Child("key"))
	c.needed(k.Path, path.Child("path"))
	c.localPath(k.Path, path.Child("path"))
	c.mode(k.Mode, path.Child("mode"))
}

func (c *checker) downwardFile(f *corev1.DownwardAPIVolumeFile, path *field.Path) {
	c.needed(f.Path, path.Child("path"))
	c.localPath(f.Path, path.Child("path"))
	switch {
	case f.FieldRef != nil:
		c.fieldRef(f.FieldRef, fileFields, path.Child("fieldRef"))
		if f.ResourceFieldRef != nil {
			c.Invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
		}
	case f.ResourceFieldRef != nil:
		c.resourceFieldRef(f.ResourceFieldRef, true, path.Child("resourceFieldRef"))
	default:
		c.Required(path, "one of fieldRef and resourceFieldRef is required")
	}
	c.mode(f.Mode, path.Child("mode"))
}

func (c *checker) csi(s *corev1.CSIVolumeSource, path *field.Path) {
	c.CSIDriver(path.Child("driver"), s.Driver)
	if r := s.NodePublishSecretRef; r != nil {
		if r.Name == "" {
			c.Required(path.Child("nodePublishSecretRef", "name"), "")
		} else {
			c.Subdomain(path.Child("name"), r.Name) // so it stands in Kubernetes
		}
	}
}

// ephemeral checks the claim that an ephemeral volume makes: its metadata, and that it asks for
// storage.
func (c *checker) ephemeral(e *corev1.EphemeralVolumeSource, volume string, path *field.Path) {
	if e.VolumeClaimTemplate == nil {
		c.Required(path.Child("volumeClaimTemplate"), "")
	} else {
		t, p := e.VolumeClaimTemplate, path.Child("volumeClaimTemplate")
		c.Add(apivalidation.ValidateAnnotations(t.Annotations, p.Child("metadata", "annotations"))...)
		c.Add(metavalidation.ValidateLabels(t.Labels, p.Child("metadata", "labels"))...)
		c.claimSpec(&t.Spec, ClaimOptions{}, p.Child("spec"))
	}
	if c.meta != nil && c.meta.Name != "" && volume != "" {
		if name := c.meta.Name + "-" + volume; len(apivalidation.NameIsDNSSubdomain(name, false)) > 0 {
			c.Messages(path, name, apivalidation.NameIsDNSSubdomain(name, false))
		}
	}
}

// relativePath asks for a path below the place that it is used in.
func (c *checker) relativePath(v string, p *field.Path) {
	if path.IsAbs(v) {
		c.Invalid(p, v, "must be a relative path")
	}
	c.noBacksteps(v, p)
}

func (c *checker) noBacksteps(v string, path *field.Path) {
	if hasBackstep(v) {
		c.Invalid(path, v, "must not contain '..'")
	}
}

func hasBackstep(v string) bool {
	for part := range strings.SplitSeq(v, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// localPath is relativePath for files that a volume makes, whose names beginning with two dots are
// taken.
func (c *checker) localPath(v string, path *field.Path) {
	c.relativePath(v, path)
	if strings.HasPrefix(v, "..") && !strings.HasPrefix(v, "../") {
		c.Invalid(path, v, "must not start with '..'")
	}
}
