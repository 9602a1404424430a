package scheduler_test

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
)

// objects are what a cluster has besides nodes and pods.
type objects struct {
	g      gen
	all    []client.Object
	claims map[string][]string // by namespace
	nodes  []*corev1.Node
	made   int
}

const (
	fastDriver, slowDriver = "fast.csi.example.com", "slow.csi.example.com"
	ebsPlugin, ebsDriver   = "kubernetes.io/aws-ebs", "ebs.csi.aws.com"
)

var classes = []string{"fast", "local", "now", "ebs"}

func (g gen) objects(nodes []*corev1.Node) *objects {
	o := &objects{g: g, claims: map[string][]string{}, nodes: nodes}
	o.addClasses()
	o.addDrivers()
	for _, n := range nodes {
		o.addCSINode(n.Name)
	}
	for i := range g.IntN(10) {
		o.all = append(o.all, o.volume(fmt.Sprintf("pv-%d", i), i))
	}
	for i := range g.IntN(6) {
		a := &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("attachment-", i)}}
		a.Spec.Attacher, a.Spec.NodeName = pick(g, fastDriver, slowDriver), pick(g, nodes...).Name
		a.Spec.Source.PersistentVolumeName = new(fmt.Sprintf("pv-%d", g.IntN(10)))
		o.all = append(o.all, a)
	}
	for _, ns := range someNamespaces() {
		o.addOwners(ns.Name)
	}
	return o
}

func (o *objects) addClasses() {
	g := o.g
	for _, name := range classes {
		if g.chance(5) {
			continue // a class that claims name and that is not there
		}
		c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer)}
		switch name {
		case "fast":
			c.Provisioner = fastDriver
		case "local":
			c.Provisioner = "kubernetes.io/no-provisioner"
		case "now":
			c.Provisioner, c.VolumeBindingMode = slowDriver, new(storagev1.VolumeBindingImmediate)
		case "ebs":
			c.Provisioner = ebsPlugin
		}
		if g.chance(30) {
			c.AllowedTopologies = []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{
				{Key: corev1.LabelTopologyZone, Values: []string{pick(g, "a", "b"), "c"}}}}}
		}
		if g.chance(2) {
			c.VolumeBindingMode = nil
		}
		o.all = append(o.all, c)
	}
}

func (o *objects) addDrivers() {
	g := o.g
	for _, name := range []string{fastDriver, slowDriver, ebsDriver} {
		if g.chance(30) {
			continue
		}
		d := &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if name == fastDriver {
			// Only one driver has these: upstream names the first missing one in the order of a map.
			d.Spec.PreventPodSchedulingIfMissing, d.Spec.StorageCapacity = new(g.chance(30)), new(g.chance(60))
		}
		o.all = append(o.all, d)
	}
	// One record for each place: upstream takes any that is large enough.
	for _, zone := range []string{"a", "b", "c"} {
		if g.chance(20) {
			continue
		}
		c := &storagev1.CSIStorageCapacity{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "capacity-" + zone}, StorageClassName: "fast",
			NodeTopology: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelTopologyZone: zone}}}
		c.Capacity = gibibytes(int64(g.IntN(12)))
		if g.chance(30) {
			c.MaximumVolumeSize = gibibytes(int64(g.IntN(6)))
		}
		o.all = append(o.all, c)
	}
}

func gibibytes(n int64) *resource.Quantity { return resource.NewQuantity(n<<30, resource.BinarySI) }

func (o *objects) addCSINode(name string) {
	g := o.g
	if g.chance(25) {
		return
	}
	n := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, d := range []string{fastDriver, slowDriver, ebsDriver} {
		if g.chance(25) {
			continue
		}
		driver := storagev1.CSINodeDriver{Name: d, NodeID: name}
		if g.chance(70) {
			driver.Allocatable = &storagev1.VolumeNodeResources{Count: new(int32(g.IntN(4)))}
		}
		n.Spec.Drivers = append(n.Spec.Drivers, driver)
	}
	if g.chance(60) {
		n.Annotations = map[string]string{corev1.MigratedPluginsAnnotationKey: pick(g, ebsPlugin, "kubernetes.io/gce-pd,"+ebsPlugin, "kubernetes.io/gce-pd")}
	}
	o.all = append(o.all, n)
}

// volume: no two are equally large, because upstream takes any of the smallest ones.
func (o *objects) volume(name string, i int) *corev1.PersistentVolume {
	g := o.g
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}, ResourceVersion: "1"}}
	v.Spec.StorageClassName = pick(g, "fast", "local", "local", "now", "ebs", "")
	v.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(int64(1+g.IntN(4))<<30+int64(i)<<20, resource.BinarySI)}
	v.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce, pick(g, corev1.ReadOnlyMany, corev1.ReadWriteOncePod)}
	v.Status.Phase = pick(g, corev1.VolumeAvailable, corev1.VolumeAvailable, corev1.VolumeAvailable, corev1.VolumeReleased)
	switch v.Spec.StorageClassName {
	case "ebs":
		v.Spec.AWSElasticBlockStore = &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "aws://zone/vol-" + name}
	case "local", "":
		v.Spec.Local = &corev1.LocalVolumeSource{Path: "/mnt"}
	default:
		v.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: pick(g, fastDriver, slowDriver), VolumeHandle: "handle-" + name}
	}
	if g.chance(45) {
		v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: o.volumeTerms()}}
	}
	if g.chance(50) {
		v.Labels[pick(g, corev1.LabelTopologyZone, corev1.LabelFailureDomainBetaZone)] = pick(g, "a", "b", "a__b", "b__c", "a__", "")
	}
	if g.chance(30) {
		v.Labels["tier"] = pick(g, "gold", "silver")
	}
	if g.chance(5) {
		v.Spec.VolumeMode = new(corev1.PersistentVolumeBlock)
	}
	if g.chance(5) {
		v.Spec.VolumeAttributesClassName = new("gold")
	}
	if g.chance(5) {
		v.DeletionTimestamp = new(metav1.Now())
	}
	return v
}

func (o *objects) volumeTerms() []corev1.NodeSelectorTerm {
	g := o.g
	term := func(key string, values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}}}
	}
	switch g.IntN(8) {
	case 0:
		return []corev1.NodeSelectorTerm{g.selectorTerm()}
	case 1:
		return []corev1.NodeSelectorTerm{term(corev1.LabelFailureDomainBetaZone, pick(g, "a", "b"))}
	case 2, 3:
		return []corev1.NodeSelectorTerm{term(corev1.LabelHostname, pick(g, o.nodes...).Name), term(corev1.LabelHostname, pick(g, o.nodes...).Name)}
	case 4:
		return []corev1.NodeSelectorTerm{term(corev1.LabelHostname, pick(g, o.nodes...).Name)}
	}
	return []corev1.NodeSelectorTerm{term(corev1.LabelTopologyZone, pick(g, "a", "b", "c"), pick(g, "a", "b"))}
}

// find returns the object of a kind and name.
func find[T client.Object](o *objects, namespace, name string) (out T) {
	for _, obj := range o.all {
		if x, ok := obj.(T); ok && obj.GetNamespace() == namespace && obj.GetName() == name {
			return x
		}
	}
	return out
}

// addOwners makes what pods belong to, so that default constraints know among whom to spread them.
func (o *objects) addOwners(namespace string) {
	g := o.g
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }
	for i := range g.IntN(3) {
		s := &corev1.Service{ObjectMeta: meta(fmt.Sprint("service-", i))}
		if g.chance(85) {
			s.Spec.Selector = map[string]string{"app": pick(g, "web", "db", "cache")}
		}
		if g.chance(20) && s.Spec.Selector != nil {
			s.Spec.Selector["version"] = pick(g, "1", "2")
		}
		o.all = append(o.all, s)
	}
	o.all = append(o.all,
		&corev1.ReplicationController{ObjectMeta: meta("rc"), Spec: corev1.ReplicationControllerSpec{Selector: map[string]string{"app": "web"}}},
		&appsv1.ReplicaSet{ObjectMeta: meta("rs"), Spec: appsv1.ReplicaSetSpec{Selector: g.labelSelector()}},
		&appsv1.StatefulSet{ObjectMeta: meta("ss"), Spec: appsv1.StatefulSetSpec{Selector: g.labelSelector()}})
}

// own makes a pod belong to something, perhaps to something that is gone.
func (o *objects) own(p *corev1.Pod) {
	if !o.g.chance(50) {
		return
	}
	ref := pick(o.g, metav1.OwnerReference{APIVersion: "v1", Kind: "ReplicationController", Name: "rc"},
		metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs"},
		metav1.OwnerReference{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "ss"},
		metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "gone"},
		metav1.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Name: "job"})
	ref.UID, ref.Controller = types.UID(ref.Name), new(o.g.chance(90))
	p.OwnerReferences = append(p.OwnerReferences, ref)
}

// mount gives a pod volumes, and returns the objects that are new because of that.
func (o *objects) mount(p *corev1.Pod) (fresh []client.Object) {
	g := o.g
	before := len(o.all)
	for i := range pick(g, 0, 0, 1, 1, 2) {
		v := corev1.Volume{Name: fmt.Sprint("v", i)}
		switch g.IntN(10) {
		case 0:
			v.VolumeSource = o.disk()
		case 1:
			v.Ephemeral = &corev1.EphemeralVolumeSource{}
			o.ephemeralClaim(p, &v)
		case 2, 3:
			v.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: o.knownClaim(p.Namespace)}
		default:
			v.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: o.newClaim(p.Namespace)}
		}
		p.Spec.Volumes = append(p.Spec.Volumes, v)
	}
	return o.all[before:]
}

func (o *objects) disk() corev1.VolumeSource {
	g := o.g
	switch g.IntN(4) {
	case 0:
		return corev1.VolumeSource{GCEPersistentDisk: &corev1.GCEPersistentDiskVolumeSource{PDName: pick(g, "x", "y"), ReadOnly: g.chance(50)}}
	case 1:
		return corev1.VolumeSource{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: pick(g, "vol-x", "vol-y")}}
	case 2:
		return corev1.VolumeSource{ISCSI: &corev1.ISCSIVolumeSource{IQN: pick(g, "x", "y"), ReadOnly: g.chance(50)}}
	}
	return corev1.VolumeSource{RBD: &corev1.RBDVolumeSource{CephMonitors: []string{pick(g, "m1", "m2"), "m3"}, RBDPool: pick(g, "p", "q"), RBDImage: "i", ReadOnly: g.chance(50)}}
}

func (o *objects) knownClaim(namespace string) string {
	if names := o.claims[namespace]; len(names) > 0 && o.g.chance(90) {
		return pick(o.g, names...)
	}
	return "gone"
}

func (o *objects) newClaim(namespace string) string {
	o.made++
	name := fmt.Sprint("claim-", o.made)
	o.all = append(o.all, o.claim(namespace, name))
	o.claims[namespace] = append(o.claims[namespace], name)
	return name
}

func (o *objects) ephemeralClaim(p *corev1.Pod, v *corev1.Volume) {
	if o.g.chance(10) {
		return // its controller has not made it yet
	}
	c := o.claim(p.Namespace, p.Name+"-"+v.Name)
	owner := p.UID
	if o.g.chance(5) {
		owner = "another"
	}
	c.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: owner, Controller: new(true)}}
	o.all = append(o.all, c)
}

func (o *objects) claim(namespace, name string) *corev1.PersistentVolumeClaim {
	g := o.g
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + name), ResourceVersion: "1", Annotations: map[string]string{}}}
	c.Spec.StorageClassName = new(pick(g, "fast", "fast", "local", "local", "ebs", "now"))
	c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{pick(g, corev1.ReadWriteOnce, corev1.ReadWriteOnce, corev1.ReadWriteOncePod)}
	c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: *gibibytes(int64(1 + g.IntN(3)))}
	c.Status.Phase = corev1.ClaimPending
	if g.chance(15) {
		c.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"tier": pick(g, "gold", "silver")}}
	}
	switch {
	case g.chance(40) || *c.Spec.StorageClassName == "now" && g.chance(80):
		o.bindToAny(c)
	case g.chance(5):
		c.Spec.VolumeName = "pv-0" // asked for by name, not bound yet
	case g.chance(10):
		c.Annotations["volume.kubernetes.io/selected-node"] = pick(g, o.nodes...).Name
	}
	if g.chance(3) {
		c.Status.Phase = corev1.ClaimLost
	}
	if g.chance(3) {
		c.DeletionTimestamp = new(metav1.Now())
	}
	if g.chance(3) {
		c.Spec.VolumeMode = new(corev1.PersistentVolumeBlock)
	}
	if g.chance(2) {
		c.Spec.StorageClassName = new("")
	}
	return c
}

// bindToAny binds a claim to a free volume or, when there is none, to one that no longer exists.
func (o *objects) bindToAny(c *corev1.PersistentVolumeClaim) {
	c.Annotations["pv.kubernetes.io/bind-completed"] = "yes"
	c.Status.Phase, c.Spec.VolumeName = corev1.ClaimBound, "gone"
	for i, obj := range o.all {
		if v, ok := obj.(*corev1.PersistentVolume); ok && v.Spec.ClaimRef == nil && o.g.chance(50) {
			c.Spec.VolumeName = v.Name
			v = v.DeepCopy()
			v.Status.Phase = corev1.VolumeBound
			v.Spec.ClaimRef = &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: c.Namespace, Name: c.Name, UID: c.UID}
			o.all[i] = v
			return
		}
	}
}

// set puts an object in the place of the one of its kind and name.
func (o *objects) set(obj client.Object) {
	i := slices.IndexFunc(o.all, func(x client.Object) bool {
		return fmt.Sprintf("%T", x) == fmt.Sprintf("%T", obj) && x.GetNamespace() == obj.GetNamespace() && x.GetName() == obj.GetName()
	})
	o.all[i] = obj
}
