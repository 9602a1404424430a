package podspec

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// persistentSource asks for exactly one kind of volume. A flexVolume beside another is not refused,
// as in Kubernetes.
func (c *checker) persistentSource(s *corev1.PersistentVolumeSpec, path *field.Path) {
	n := 0
	for _, src := range c.persistentSources(s) {
		switch {
		case !src.set:
		case n > 0 && src.name != "flexVolume":
			c.Forbidden(path.Child(cmp.Or(extraNames[src.name], src.name)), oneTypeAlready)
		default:
			n++
			src.check(path.Child(src.name))
			if src.name == "local" && s.NodeAffinity == nil {
				c.Required(path.Child("nodeAffinity"), "Local volume requires node affinity")
			}
		}
	}
	if n == 0 {
		c.Required(path, "must specify a volume type")
	}
}

// persistentSources are the kinds of volumes in the order in which Kubernetes looks at them.
func (c *checker) persistentSources(s *corev1.PersistentVolumeSpec) []source {
	v := &s.PersistentVolumeSource
	return []source{
		{"hostPath", v.HostPath != nil, func(p *field.Path) { c.hostPath(v.HostPath, p) }},
		{"persistentDisk", v.GCEPersistentDisk != nil, func(p *field.Path) { c.needed(v.GCEPersistentDisk.PDName, p.Child("pdName")) }},
		{"awsElasticBlockStore", v.AWSElasticBlockStore != nil, func(p *field.Path) { c.needed(v.AWSElasticBlockStore.VolumeID, p.Child("volumeID")) }},
		{"glusterfs", v.Glusterfs != nil, func(p *field.Path) { c.persistentGlusterfs(v.Glusterfs, p) }},
		{"flocker", v.Flocker != nil, func(p *field.Path) { c.flocker(v.Flocker, p) }},
		{"nfs", v.NFS != nil, func(p *field.Path) { c.nfs(v.NFS, p) }},
		{"rbd", v.RBD != nil, func(p *field.Path) {
			c.oneOf(len(v.RBD.CephMonitors), "", p.Child("monitors"))
			c.needed(v.RBD.RBDImage, p.Child("image"))
		}},
		{"quobyte", v.Quobyte != nil, func(p *field.Path) { c.quobyte(v.Quobyte, p) }},
		{"cephfs", v.CephFS != nil, func(p *field.Path) { c.oneOf(len(v.CephFS.Monitors), "", p.Child("monitors")) }},
		{"iscsi", v.ISCSI != nil, func(p *field.Path) {
			c.needed(v.ISCSI.TargetPortal, p.Child("targetPortal"))
			c.needed(v.ISCSI.IQN, p.Child("iqn"))
		}},
		{"cinder", v.Cinder != nil, func(p *field.Path) {
			c.needed(v.Cinder.VolumeID, p.Child("volumeID"))
			if r := v.Cinder.SecretRef; r != nil {
				c.needed(r.Name, p.Child("secretRef", "name"))
				c.needed(r.Namespace, p.Child("secretRef", "namespace"))
			}
		}},
		{"fc", v.FC != nil, func(p *field.Path) { c.fc(v.FC, p) }},
		{"flexVolume", v.FlexVolume != nil, func(p *field.Path) { c.needed(v.FlexVolume.Driver, p.Child("driver")) }},
		{"azureFile", v.AzureFile != nil, func(p *field.Path) {
			c.needed(v.AzureFile.SecretName, p.Child("secretName"))
			c.needed(v.AzureFile.ShareName, p.Child("shareName"))
		}},
		{"vsphereVolume", v.VsphereVolume != nil, func(p *field.Path) { c.needed(v.VsphereVolume.VolumePath, p.Child("volumePath")) }},
		{"photonPersistentDisk", v.PhotonPersistentDisk != nil, func(p *field.Path) { c.needed(v.PhotonPersistentDisk.PdID, p.Child("pdID")) }},
		{"portworxVolume", v.PortworxVolume != nil, func(p *field.Path) { c.needed(v.PortworxVolume.VolumeID, p.Child("volumeID")) }},
		{"azureDisk", v.AzureDisk != nil, func(p *field.Path) { c.azureDisk(v.AzureDisk, p) }},
		{"scaleIO", v.ScaleIO != nil, func(p *field.Path) {
			c.needed(v.ScaleIO.Gateway, p.Child("gateway"))
			c.needed(v.ScaleIO.System, p.Child("system"))
			c.needed(v.ScaleIO.VolumeName, p.Child("volumeName"))
		}},
		{"local", v.Local != nil, func(p *field.Path) { c.local(v.Local, p) }},
		{"storageos", v.StorageOS != nil, func(p *field.Path) { c.needed(v.StorageOS.VolumeName, p.Child("volumeName")) }},
		{"csi", v.CSI != nil, func(p *field.Path) { c.persistentCSI(v.CSI, p) }},
	}
}

func (c *checker) persistentGlusterfs(s *corev1.GlusterfsPersistentVolumeSource, path *field.Path) {
	c.needed(s.EndpointsName, path.Child("endpoints"))
	c.needed(s.Path, path.Child("path"))
	switch ns := s.EndpointsNamespace; {
	case ns == nil:
	case *ns == "":
		c.Invalid(path.Child("endpointsNamespace"), *ns, "if the endpointnamespace is set, it must be a valid namespace name")
	default:
		c.Messages(path.Child("endpointsNamespace"), *ns, apivalidation.ValidateNamespaceName(*ns, false))
	}
}

func (c *checker) local(s *corev1.LocalVolumeSource, path *field.Path) {
	if c.needed(s.Path, path.Child("path")); s.Path != "" {
		c.noBacksteps(s.Path, path.Child("path"))
	}
}

func (c *checker) persistentCSI(s *corev1.CSIPersistentVolumeSource, path *field.Path) {
	c.CSIDriver(path.Child("driver"), s.Driver)
	c.needed(s.VolumeHandle, path.Child("volumeHandle"))
	c.secretReference(s.ControllerPublishSecretRef, path.Child("controllerPublishSecretRef"))
	c.secretReference(s.ControllerExpandSecretRef, path.Child("controllerExpandSecretRef"))
	c.secretReference(s.NodePublishSecretRef, path.Child("nodePublishSecretRef"))
	c.secretReference(s.NodeExpandSecretRef, path.Child("nodeExpandSecretRef"))
}

func (c *checker) secretReference(r *corev1.SecretReference, path *field.Path) {
	if r == nil {
		return
	}
	if c.needed(r.Name, path.Child("name")); r.Name != "" {
		c.Subdomain(path.Child("name"), r.Name)
	}
	if c.needed(r.Namespace, path.Child("namespace")); r.Namespace != "" {
		c.Label(path.Child("namespace"), r.Namespace)
	}
}
