package scheduler

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/inboard/inboard/apiserver/client"
)

// TestVolumeHintsAreNeverSilent is TestHintsAreNeverSilent for pods with claims, while what they depend on comes,
// changes and goes.
func TestVolumeHintsAreNeverSilent(t *testing.T) {
	profile := mustProfile(t, ProfileConfig{})
	woken, kept := map[string]int{}, map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		w := &volumeWorld{tb: t, t: rt, l: newLoopWithoutServer(t, profile), objects: map[string]client.Object{}, nodes: map[string]*corev1.Node{}}
		random := rand.New(rand.NewPCG(1, 1))
		w.fill()
		for i := range rapid.IntRange(1, 8).Draw(rt, "pods") {
			w.l.queue.set(NewPodInfo(w.pod(fmt.Sprint("pod-", i))), "", false, time.Now())
		}
		for range rapid.IntRange(1, 15).Draw(rt, "changes") {
			for p := w.l.queue.pop(time.Now().Add(time.Hour)); p != nil; p = w.l.queue.pop(time.Now().Add(time.Hour)) {
				_ = w.l.try(p, random)
			}
			before := map[string][]string{}
			for key, p := range w.l.queue.unschedulable {
				before[key] = p.refusedBy
			}
			w.change()
			for _, p := range w.l.queue.unschedulable {
				if a, err := profile.Place(&w.l.edit.s, p.Pod, random); err == nil {
					rt.Fatalf("%s, refused by %v, fits on %s and was not told of %s", p.Pod.Key, p.refusedBy, a.Node, w.last)
				}
				tally(kept, p.refusedBy)
				delete(before, p.Pod.Key)
			}
			for _, by := range before {
				tally(woken, by)
			}
		}
	})
	t.Logf("woken: %v, rightly not: %v", woken, kept)
	for _, name := range []string{NameVolumeBinding, NameVolumeRestrictions, NameVolumeZone, NameNodeVolumeLimits} {
		if woken[name] == 0 || kept[name] == 0 {
			t.Errorf("the test shows nothing about %s", name)
		}
	}
}

func tally(m map[string]int, names []string) {
	for _, n := range names {
		m[n]++
	}
}

// volumeWorld is a small cluster that changes at random, as far as the API lets things change.
type volumeWorld struct {
	tb      testing.TB
	t       *rapid.T
	l       *loop
	objects map[string]client.Object
	nodes   map[string]*corev1.Node
	last    string
}

func (w *volumeWorld) number(n int, what string) int { return rapid.IntRange(0, n-1).Draw(w.t, what) }

func (w *volumeWorld) chance(percent int, what string) bool {
	return rapid.IntRange(0, 99).Draw(w.t, what) < percent
}

func (w *volumeWorld) one(what string, of ...string) string {
	return rapid.SampledFrom(of).Draw(w.t, what)
}

func (w *volumeWorld) pod(name string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)}}
	p.Spec.Containers = []corev1.Container{{Name: "c"}}
	for i := range 1 + w.number(2, "claims") {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: fmt.Sprint("v", i), VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: fmt.Sprint("claim-", w.number(4, "claim"))}}})
	}
	if w.chance(20, "disk") {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "disk", VolumeSource: corev1.VolumeSource{
			GCEPersistentDisk: &corev1.GCEPersistentDiskVolumeSource{PDName: "disk"}}})
	}
	return p
}

// fill makes most things that there can be.
func (w *volumeWorld) fill() {
	for i := range 3 {
		w.changeNode(fmt.Sprint("node-", i))
		w.set(w.csiNode(fmt.Sprint("node-", i)))
	}
	for _, class := range []string{"fast", "local"} {
		w.set(w.class(class))
	}
	w.set(w.driver())
	for i := range 3 {
		w.set(w.capacity(fmt.Sprint(i)))
	}
	for i := range 4 {
		w.set(w.claim(fmt.Sprint("claim-", i)))
	}
	for range w.number(10, "more") {
		w.change()
	}
}

// change makes, changes or removes one thing.
func (w *volumeWorld) change() {
	name := fmt.Sprint(w.number(3, "which"))
	switch w.number(14, "what") {
	case 0, 1:
		w.changeNode("node-" + name)
	case 2:
		if keys := slices.Sorted(maps.Keys(w.l.placed)); len(keys) > 0 {
			w.last = "the end of " + keys[0]
			w.l.podChanged(w.l.placed[keys[0]].info.Pod, nil)
		}
	case 3:
		w.set(w.class(w.one("class", "fast", "local")))
	case 4:
		w.set(w.driver())
	case 5, 12, 13:
		w.set(w.csiNode("node-" + name))
	case 6:
		w.set(w.capacity(name))
	case 7:
		a := &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "attachment-" + name}}
		a.Spec = storagev1.VolumeAttachmentSpec{Attacher: "csi.example.com", NodeName: "node-" + name, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: new("pv-" + name)}}
		w.set(a)
	case 8, 9:
		w.set(w.volume("pv-" + name))
	default:
		w.set(w.claim(fmt.Sprint("claim-", w.number(4, "claim"))))
	}
}

// set adds or replaces an object and, one time in four, removes it instead.
func (w *volumeWorld) set(obj client.Object) {
	key := fmt.Sprintf("%T %s", obj, obj.GetName())
	old := w.objects[key]
	switch {
	case old != nil && w.chance(20, "remove"):
		w.last = "the end of " + key
		delete(w.objects, key)
		w.l.objectChanged(old, nil)
	default:
		w.last = "a change of " + key
		w.objects[key] = obj
		w.l.objectChanged(old, obj)
	}
}

func (w *volumeWorld) changeNode(name string) {
	old := w.nodes[name]
	w.last = "a change of " + name
	if old != nil && w.chance(20, "remove") {
		delete(w.nodes, name)
		w.l.nodeChanged(old, nil)
		return
	}
	n := parseNode(w.tb, []string{name, "zone=z" + fmt.Sprint(w.number(3, "zone"))})
	w.nodes[name] = n
	w.l.nodeChanged(old, n)
}

func (w *volumeWorld) class(name string) *storagev1.StorageClass {
	c := delayedClass(name, "csi.example.com")
	if name == "local" {
		c.Provisioner = noProvisioner
	}
	if w.chance(40, "topologies") {
		c.AllowedTopologies = []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{
			{Key: corev1.LabelTopologyZone, Values: []string{fmt.Sprint("z", w.number(3, "zone"))}}}}}
	}
	return c
}

func (w *volumeWorld) capacity(zone string) *storagev1.CSIStorageCapacity {
	return &storagev1.CSIStorageCapacity{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: zone}, StorageClassName: "fast",
		NodeTopology: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelTopologyZone: "z" + zone}},
		Capacity:     resource.NewQuantity(int64(w.number(3, "gigabytes"))<<30, resource.BinarySI)}
}

func (w *volumeWorld) driver() *storagev1.CSIDriver {
	d := &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "csi.example.com"}}
	d.Spec.StorageCapacity, d.Spec.PreventPodSchedulingIfMissing = new(w.chance(60, "tracked")), new(w.chance(40, "missing"))
	return d
}

func (w *volumeWorld) csiNode(name string) *storagev1.CSINode {
	n := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if w.chance(80, "driver") {
		d := storagev1.CSINodeDriver{Name: "csi.example.com", NodeID: name}
		if w.chance(80, "limit") {
			d.Allocatable = &storagev1.VolumeNodeResources{Count: new(int32(w.number(2, "count")))}
		}
		n.Spec.Drivers = append(n.Spec.Drivers, d)
	}
	if w.chance(50, "migrated") {
		n.Annotations = map[string]string{corev1.MigratedPluginsAnnotationKey: "kubernetes.io/aws-ebs"}
	}
	return n
}

// volume is of a kind that its name tells, for that can't change.
func (w *volumeWorld) volume(name string) *corev1.PersistentVolume {
	v := aVolume(name, "2Gi")
	v.Spec.StorageClassName = w.one("class", "fast", "local")
	v.Spec.AccessModes = append(v.Spec.AccessModes, corev1.ReadWriteOncePod)
	switch name {
	case "pv-0":
		v.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: "csi.example.com", VolumeHandle: name}
	case "pv-1":
		v.Spec.AWSElasticBlockStore = &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "vol-1"}
	}
	if old, ok := w.objects["*v1.PersistentVolume "+name].(*corev1.PersistentVolume); ok {
		v.Spec.StorageClassName, v.Spec.NodeAffinity = old.Spec.StorageClassName, old.Spec.NodeAffinity
	} else if w.chance(60, "affinity") {
		key := w.one("key", corev1.LabelTopologyZone, corev1.LabelFailureDomainBetaZone, corev1.LabelHostname)
		v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{w.one("value", "z0", "z1", "node-0")}}}}}}}
	}
	if w.chance(40, "zone label") {
		v.Labels[corev1.LabelTopologyZone] = fmt.Sprint("z", w.number(3, "zone"))
	}
	owner := w.boundTo(name)
	if owner == "" && w.chance(40, "reserved") {
		owner = fmt.Sprint("claim-", w.number(4, "claim"))
	}
	if owner != "" {
		v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "default", Name: owner}
	}
	if w.chance(20, "released") {
		v.Status.Phase = corev1.VolumeReleased
	}
	return v
}

// boundTo returns the claim that is bound to a volume: its controller sees to it that the volume names no other.
func (w *volumeWorld) boundTo(volume string) string {
	for i := range 4 {
		if c, ok := w.objects[fmt.Sprint("*v1.PersistentVolumeClaim claim-", i)].(*corev1.PersistentVolumeClaim); ok && c.Spec.VolumeName == volume {
			return c.Name
		}
	}
	return ""
}

// mayBind tells whether a claim can be bound to a volume that is there, is not there yet, or no longer is.
func (w *volumeWorld) mayBind(claim, volume string) bool {
	v, ok := w.objects["*v1.PersistentVolume "+volume].(*corev1.PersistentVolume)
	owner := w.boundTo(volume)
	return (owner == "" || owner == claim) && (!ok || v.Spec.ClaimRef != nil && v.Spec.ClaimRef.Name == claim)
}

// claim keeps its class and access mode for as long as it lives.
func (w *volumeWorld) claim(name string) *corev1.PersistentVolumeClaim {
	c := aClaim("1Gi")
	c.Name, c.UID = name, types.UID(name)
	c.Spec.StorageClassName = new(w.one("class", "fast", "local"))
	if w.chance(15, "one pod") {
		c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}
	}
	if old, ok := w.objects["*v1.PersistentVolumeClaim "+name].(*corev1.PersistentVolumeClaim); ok {
		c.Spec.StorageClassName, c.Spec.AccessModes = old.Spec.StorageClassName, old.Spec.AccessModes
	}
	if volume := fmt.Sprint("pv-", w.number(3, "volume")); w.chance(60, "bound") && w.mayBind(name, volume) {
		c.Spec.VolumeName, c.Annotations = volume, map[string]string{annBindCompleted: "yes"}
	} else if w.chance(20, "told") {
		c.Annotations = map[string]string{annSelectedNode: fmt.Sprint("node-", w.number(3, "node"))}
	}
	return c
}
