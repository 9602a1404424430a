package podspec

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ordered returns the fields of a volume source in the order in which Kubernetes looks at them:
// the first that is set is the one that counts.
func (c *checker) ordered(v *corev1.VolumeSource, name string) []source {
	return []source{
		{"emptyDir", v.EmptyDir != nil, func(p *field.Path) { c.emptyDir(v.EmptyDir, p) }},
		{"hostPath", v.HostPath != nil, func(p *field.Path) { c.hostPath(v.HostPath, p) }},
		{"gitRepo", v.GitRepo != nil, func(p *field.Path) { c.gitRepo(v.GitRepo, p) }},
		{"persistentDisk", v.GCEPersistentDisk != nil, func(p *field.Path) { c.needed(v.GCEPersistentDisk.PDName, p.Child("pdName")) }},
		{"awsElasticBlockStore", v.AWSElasticBlockStore != nil, func(p *field.Path) { c.needed(v.AWSElasticBlockStore.VolumeID, p.Child("volumeID")) }},
		{"secret", v.Secret != nil, func(p *field.Path) {
			c.files(v.Secret.SecretName, "secretName", v.Secret.DefaultMode, v.Secret.Items, p)
		}},
		{"nfs", v.NFS != nil, func(p *field.Path) { c.nfs(v.NFS, p) }},
		{"iscsi", v.ISCSI != nil, func(p *field.Path) { c.iscsi(v.ISCSI, p) }},
		{"glusterfs", v.Glusterfs != nil, func(p *field.Path) { c.glusterfs(v.Glusterfs, p) }},
		{"flocker", v.Flocker != nil, func(p *field.Path) { c.flocker(v.Flocker, p) }},
		{"persistentVolumeClaim", v.PersistentVolumeClaim != nil, func(p *field.Path) { c.needed(v.PersistentVolumeClaim.ClaimName, p.Child("claimName")) }},
		{"rbd", v.RBD != nil, func(p *field.Path) { c.rbd(v.RBD, p) }},
		{"cinder", v.Cinder != nil, func(p *field.Path) { c.needed(v.Cinder.VolumeID, p.Child("volumeID")) }},
		{"cephfs", v.CephFS != nil, func(p *field.Path) { c.oneOf(len(v.CephFS.Monitors), "", p.Child("monitors")) }},
		{"quobyte", v.Quobyte != nil, func(p *field.Path) { c.quobyte(v.Quobyte, p) }},
		{"downwardAPI", v.DownwardAPI != nil, func(p *field.Path) { c.downward(v.DownwardAPI, p) }},
		{"fc", v.FC != nil, func(p *field.Path) { c.fc(v.FC, p) }},
		{"flexVolume", v.FlexVolume != nil, func(p *field.Path) { c.needed(v.FlexVolume.Driver, p.Child("driver")) }},
		{"configMap", v.ConfigMap != nil, func(p *field.Path) { c.files(v.ConfigMap.Name, "name", v.ConfigMap.DefaultMode, v.ConfigMap.Items, p) }},
		{"azureFile", v.AzureFile != nil, func(p *field.Path) { c.azureFile(v.AzureFile, p) }},
		{"vsphereVolume", v.VsphereVolume != nil, func(p *field.Path) { c.needed(v.VsphereVolume.VolumePath, p.Child("volumePath")) }},
		{"photonPersistentDisk", v.PhotonPersistentDisk != nil, func(p *field.Path) { c.needed(v.PhotonPersistentDisk.PdID, p.Child("pdID")) }},
		{"portworxVolume", v.PortworxVolume != nil, func(p *field.Path) { c.needed(v.PortworxVolume.VolumeID, p.Child("volumeID")) }},
		{"azureDisk", v.AzureDisk != nil, func(p *field.Path) { c.azureDisk(v.AzureDisk, p) }},
		{"storageos", v.StorageOS != nil, func(p *field.Path) { c.needed(v.StorageOS.VolumeName, p.Child("volumeName")) }},
		{"projected", v.Projected != nil, func(p *field.Path) { c.projected(v.Projected, p) }},
		{"scaleIO", v.ScaleIO != nil, func(p *field.Path) { c.scaleIO(v.ScaleIO, p) }},
		{"csi", v.CSI != nil, func(p *field.Path) { c.csi(v.CSI, p) }},
		{"ephemeral", v.Ephemeral != nil, func(p *field.Path) { c.ephemeral(v.Ephemeral, name, p) }},
		{"image", v.Image != nil, func(p *field.Path) { c.image(v.Image, p) }},
	}
}

func (c *checker) emptyDir(s *corev1.EmptyDirVolumeSource, path *field.Path) {
	if q := s.SizeLimit; q != nil && q.Sign() < 0 {
		c.Forbidden(path.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity")
	}
}

// files checks a ConfigMap or Secret whose keys become files.
func (c *checker) files(name, nameField string, mode *int32, items []corev1.KeyToPath, path *field.Path) {
	c.needed(name, path.Child(nameField))
	c.mode(mode, path.Child("defaultMode"))
	c.items(items, path.Child("items"))
}

func (c *checker) downward(s *corev1.DownwardAPIVolumeSource, path *field.Path) {
	c.mode(s.DefaultMode, path.Child("defaultMode"))
	for i := range s.Items {
		c.downwardFile(&s.Items[i], path)
	}
}

func (c *checker) image(s *corev1.ImageVolumeSource, path *field.Path) {
	c.needed(s.Reference, path.Child("reference"))
	c.pullPolicy(s.PullPolicy, path.Child("pullPolicy"))
}

func (c *checker) gitRepo(s *corev1.GitRepoVolumeSource, path *field.Path) {
	c.needed(s.Repository, path.Child("repository"))
	c.localPath(s.Directory, path.Child("directory"))
}

func (c *checker) nfs(s *corev1.NFSVolumeSource, path *field.Path) {
	c.needed(s.Server, path.Child("server"))
	c.needed(s.Path, path.Child("path"))
	if !strings.HasPrefix(s.Path, "/") {
		c.Invalid(path.Child("path"), s.Path, "must be an absolute path")
	}
}

func (c *checker) iscsi(s *corev1.ISCSIVolumeSource, path *field.Path) {
	c.needed(s.TargetPortal, path.Child("targetPortal"))
	c.needed(s.IQN, path.Child("iqn"))
	if s.Lun < 0 || s.Lun > 255 {
		c.Invalid(path.Child("lun"), s.Lun, "must be between 0 and 255, inclusive")
	}
}

func (c *checker) glusterfs(s *corev1.GlusterfsVolumeSource, path *field.Path) {
	c.needed(s.EndpointsName, path.Child("endpoints"))
	c.needed(s.Path, path.Child("path"))
}

func (c *checker) flocker(s *corev1.FlockerVolumeSource, path *field.Path) {
	if s.DatasetName == "" && s.DatasetUUID == "" {
		c.Required(path, "one of datasetName and datasetUUID is required")
	}
	if s.DatasetName != "" && s.DatasetUUID != "" {
		c.Invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")
	}
	if strings.Contains(s.DatasetName, "/") {
		c.Invalid(path.Child("datasetName"), s.DatasetName, "must not contain '/'")
	}
}

func (c *checker) rbd(s *corev1.RBDVolumeSource, path *field.Path) {
	c.oneOf(len(s.CephMonitors), "", path.Child("monitors"))
	c.needed(s.RBDImage, path.Child("image"))
}

func (c *checker) quobyte(s *corev1.QuobyteVolumeSource, path *field.Path) {
	c.oneOf(len(s.Registry), "must be a host:port pair or multiple pairs separated by commas", path.Child("registry"))
	c.oneOf(len(s.Volume), "", path.Child("volume"))
}

func (c *checker) fc(s *corev1.FCVolumeSource, path *field.Path) {
	c.oneOf(len(s.TargetWWNs)+len(s.WWIDs), "must specify either targetWWNs or wwids, but not both", path.Child("targetWWNs"))
	if len(s.TargetWWNs) > 0 && len(s.WWIDs) > 0 {
		c.Invalid(path.Child("targetWWNs"), s.TargetWWNs, "targetWWNs and wwids can not be specified simultaneously")
	}
	switch {
	case len(s.TargetWWNs) == 0:
	case s.Lun == nil:
		c.Required(path.Child("lun"), "lun is required if targetWWNs is specified")
	case *s.Lun < 0 || *s.Lun > 255:
		c.Invalid(path.Child("lun"), s.Lun, "must be between 0 and 255, inclusive")
	}
}

func (c *checker) azureFile(s *corev1.AzureFileVolumeSource, path *field.Path) {
	c.needed(s.SecretName, path.Child("secretName"))
	c.needed(s.ShareName, path.Child("shareName"))
}

func (c *checker) azureDisk(s *corev1.AzureDiskVolumeSource, path *field.Path) {
	c.needed(s.DiskName, path.Child("diskName"))
	c.needed(s.DataDiskURI, path.Child("diskURI"))
}

func (c *checker) scaleIO(s *corev1.ScaleIOVolumeSource, path *field.Path) {
	c.needed(s.Gateway, path.Child("gateway"))
	c.needed(s.System, path.Child("system"))
	c.needed(s.VolumeName, path.Child("volumeName"))
}

// oneOf asks that there is at least one of n.
func (c *checker) oneOf(n int, detail string, path *field.Path) {
	if n == 0 {
		c.Required(path, detail)
	}
}
