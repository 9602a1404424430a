package scheduler_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/scheduler"
)

// Here the tests play the PersistentVolume controller and the provisioner of a CSI driver: this project has
// neither.

const (
	selectedNode  = "volume.kubernetes.io/selected-node"
	bindCompleted = "pv.kubernetes.io/bind-completed"
	provisioner   = "csi.example.com"
)

// volumeCluster has two nodes, a class of local volumes and one of provisioned ones, and a scheduler with the
// rights of kube-scheduler.
func volumeCluster(t *testing.T, cfg scheduler.Config) *cluster {
	t.Helper()
	api := apitest.Open(t)
	c := &cluster{t: t, c: api.Admin()}
	c.addNode("node-a", "4")
	c.addNode("node-b", "4")
	create(c, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "local"}, Provisioner: "kubernetes.io/no-provisioner",
		VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer)})
	create(c, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Provisioner: provisioner,
		VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer)})
	cfg.Client, cfg.InitialBackoff = api.As("system:kube-scheduler"), time.Millisecond
	c.start(cfg)
	return c
}

func create[T client.Object](c *cluster, obj T) T {
	c.t.Helper()
	made, err := client.For[T](c.c).Create(context.Background(), obj)
	check(c.t, err)
	return made
}

// waitFor returns an object once it is as asked for.
func waitFor[T client.Object](c *cluster, namespace, name, what string, ok func(T) bool) T {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w, err := client.For[T](c.c).Watch(ctx, namespace, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	check(c.t, err)
	defer w.Stop()
	for ev := range w.ResultChan() {
		if obj, is := ev.Object.(T); is && ok(obj) {
			return obj
		}
	}
	c.t.Fatalf("%s did not get %s", name, what)
	panic("not reached")
}

func (c *cluster) addClaim(name, class string) *corev1.PersistentVolumeClaim {
	c.t.Helper()
	return create(c, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}}}})
}

// addVolume makes a volume that one node can reach, and says that it is free or, with a claim, that it is bound.
func (c *cluster) addVolume(name, class, node string, claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	c.t.Helper()
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
	v.Spec.StorageClassName = class
	v.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")}
	v.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	v.Spec.Local = &corev1.LocalVolumeSource{Path: "/mnt/disks/ssd1"}
	v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}}}}}
	phase := corev1.VolumeAvailable
	if claim != nil {
		v.Spec.ClaimRef = &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID}
		phase = corev1.VolumeBound
	}
	v = create(c, v)
	v.Status.Phase = phase
	v, err := client.For[*corev1.PersistentVolume](c.c).UpdateStatus(context.Background(), v)
	check(c.t, err)
	return v
}

// bindClaim is what the PersistentVolume controller does when a volume names a claim.
func (c *cluster) bindClaim(claim *corev1.PersistentVolumeClaim, volume string) {
	c.t.Helper()
	claims := client.For[*corev1.PersistentVolumeClaim](c.c)
	claim, err := claims.Get(context.Background(), claim.Namespace, claim.Name)
	check(c.t, err)
	claim.Spec.VolumeName = volume
	metav1.SetMetaDataAnnotation(&claim.ObjectMeta, bindCompleted, "yes")
	claim, err = claims.Update(context.Background(), claim)
	check(c.t, err)
	claim.Status.Phase = corev1.ClaimBound
	_, err = claims.UpdateStatus(context.Background(), claim)
	check(c.t, err)
}

func podWith(name, claim string) *corev1.Pod {
	p := newPod(name, "1")
	p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}}
	return p
}

func (c *cluster) mustWait(name string) {
	c.t.Helper()
	p, err := client.For[*corev1.Pod](c.c).Get(context.Background(), "default", name)
	check(c.t, err)
	if p.Spec.NodeName != "" {
		c.t.Errorf("%s was bound to %s before its claim", name, p.Spec.NodeName)
	}
}

// TestWaitForFirstConsumer: the pod's node is where the volume is, the volume gets the claim's name, and the pod
// is bound once the controller has bound the claim.
func TestWaitForFirstConsumer(t *testing.T) {
	c := volumeCluster(t, scheduler.Config{})
	c.addVolume("pv", "local", "node-b", nil)
	claim := c.addClaim("data", "local")
	c.addPod(podWith("pod", "data"))
	v := waitFor(c, "", "pv", "a claimRef", func(v *corev1.PersistentVolume) bool { return v.Spec.ClaimRef != nil })
	if ref := v.Spec.ClaimRef; ref.UID != claim.UID || ref.Name != "data" || ref.Namespace != "default" || v.Annotations["pv.kubernetes.io/bound-by-controller"] != "yes" {
		t.Errorf("claimRef is %+v, annotations are %v", ref, v.Annotations)
	}
	c.mustWait("pod")
	// Meanwhile the volume is nobody else's.
	c.addClaim("other", "local")
	c.addPod(podWith("other", "other"))
	c.waitMessage("other", "Unschedulable", "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. "+
		"preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.")
	c.bindClaim(claim, "pv")
	if node := c.waitBound("pod"); node != "node-b" {
		t.Errorf("pod is on %s", node)
	}
	// A new volume wakes the pod that waits for one.
	c.addVolume("pv-2", "local", "node-a", nil)
	v = waitFor(c, "", "pv-2", "a claimRef", func(v *corev1.PersistentVolume) bool { return v.Spec.ClaimRef != nil })
	other, err := client.For[*corev1.PersistentVolumeClaim](c.c).Get(context.Background(), "default", "other")
	check(t, err)
	c.bindClaim(other, v.Name)
	if node := c.waitBound("other"); node != "node-a" {
		t.Errorf("the other pod is on %s", node)
	}
}

// TestProvisioning: the claim names the node for the provisioner. When that gives up, the pod is tried again.
func TestProvisioning(t *testing.T) {
	c := volumeCluster(t, scheduler.Config{})
	claim := c.addClaim("data", "fast")
	c.addPod(podWith("pod", "data"))
	told := func(p *corev1.PersistentVolumeClaim) bool { return p.Annotations[selectedNode] != "" }
	waitFor(c, "default", "data", "a node", told)
	c.mustWait("pod")
	_, err := client.For[*corev1.PersistentVolumeClaim](c.c).Patch(context.Background(), "default", "data", types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"`+selectedNode+`":null,"tried":"yes"}}}`), "")
	check(t, err)
	c.waitMessage("pod", "SchedulerError", `running PreBind plugin "VolumeBinding": binding volumes: provisioning failed for PVC "data"`)
	node := waitFor(c, "default", "data", "a node again", told).Annotations[selectedNode]
	c.addVolume("made", "fast", node, claim)
	c.bindClaim(claim, "made")
	if got := c.waitBound("pod"); got != node {
		t.Errorf("pod is on %s, its volume on %s", got, node)
	}
}

// TestBindTimeout: a pod does not wait for ever.
func TestBindTimeout(t *testing.T) {
	plugins := scheduler.DefaultPlugins()
	for i := range plugins {
		if plugins[i].Name() == scheduler.NameVolumeBinding {
			plugins[i].Plugin = scheduler.VolumeBinding{BindTimeout: time.Millisecond}
		}
	}
	p, err := scheduler.NewProfile(scheduler.ProfileConfig{Plugins: plugins})
	check(t, err)
	c := volumeCluster(t, scheduler.Config{Profiles: map[string]*scheduler.Profile{"default-scheduler": p}})
	c.addClaim("data", "fast")
	c.addPod(podWith("pod", "data"))
	c.waitMessage("pod", "SchedulerError", `running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded`)
	c.mustWait("pod")
}

// TestDeletedPodGivesUp: nobody waits for the volumes of a pod that is gone.
func TestDeletedPodGivesUp(t *testing.T) {
	log := &lines{}
	c := volumeCluster(t, scheduler.Config{Logger: log.logger()})
	c.addClaim("data", "fast")
	c.addPod(podWith("pod", "data"))
	waitFor(c, "default", "data", "a node", func(p *corev1.PersistentVolumeClaim) bool { return p.Annotations[selectedNode] != "" })
	c.deletePod("pod")
	log.wait(t, "pod does not exist any more")
}

// TestVolumeEvents: each thing that is missing wakes the pod when it comes.
func TestVolumeEvents(t *testing.T) {
	c := volumeCluster(t, scheduler.Config{})
	c.addPod(podWith("pod", "data"))
	refused := func(reason string) {
		t.Helper()
		c.wait("pod", reason, func(p *corev1.Pod) bool { return strings.Contains(condition(p).Message, reason) })
	}
	refused(`persistentvolumeclaim "data" not found`)
	claim := c.addClaim("data", "late")
	refused("pod has unbound immediate PersistentVolumeClaims")
	create(c, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "late"}, Provisioner: provisioner,
		VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer),
		AllowedTopologies: []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: "rack", Values: []string{"1"}}}}}})
	refused("node(s) didn't find available persistent volumes to bind")
	_, err := client.For[*corev1.Node](c.c).Patch(context.Background(), "", "node-b", types.MergePatchType, []byte(`{"metadata":{"labels":{"rack":"1"}}}`), "")
	check(t, err)
	waitFor(c, "default", "data", "its node", func(p *corev1.PersistentVolumeClaim) bool { return p.Annotations[selectedNode] == "node-b" })
	c.addVolume("made", "late", "node-b", claim)
	c.bindClaim(claim, "made")
	c.waitBound("pod")
}

// lines is a log that tests can wait for.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) wait(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		l.mu.Lock()
		found := strings.Contains(l.text.String(), text)
		l.mu.Unlock()
		if found {
			return
		}
	}
	t.Fatalf("the log does not say %q", text)
}
