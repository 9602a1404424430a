package main

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/core"
	"github.com/inboard/inboard/scheduler"
)

// group is a set of pods that is reported together.
type group struct {
	title string
	// single tells that the title is that of its only pod, each that the pods are told one by one and not counted.
	single, each bool
	pods         []*corev1.Pod
}

// groupsOf returns the pods that the objects of a manifest stand for.
func (c *cluster) groupsOf(path string, replicas int) (out []*group, _ error) {
	objects, err := readFile(path, nil, true)
	if err != nil {
		return nil, err
	}
	for _, obj := range objects {
		switch obj.(type) {
		case *corev1.Service, *corev1.PersistentVolumeClaim, *corev1.PersistentVolume, *storagev1.StorageClass:
			c.add(obj) // what pods of the manifest need
			continue
		}
		if gang, ok := obj.(*schedulingv1beta1.PodGroup); ok {
			if class := c.classes[gang.Spec.PriorityClassName]; class != nil && gang.Spec.Priority == nil {
				gang.Spec.Priority = &class.Value
			}
			c.add(gang)
			continue
		}
		g, err := groupOf(obj, replicas)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, p := range g.pods {
			if set, ok := obj.(*appsv1.StatefulSet); ok {
				c.claim(set, p)
			}
			if err := c.setPriority(p); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		out = append(out, g)
	}
	return out, nil
}

func groupOf(obj client.Object, replicas int) (*group, error) {
	var t *corev1.PodTemplateSpec
	var n *int32
	from := 1
	switch o := obj.(type) {
	case *corev1.Pod:
		return &group{title: fmt.Sprintf("Pod %s/%s", o.Namespace, o.Name), single: true, pods: []*corev1.Pod{remade(o)}}, nil
	case *appsv1.Deployment:
		t, n = &o.Spec.Template, o.Spec.Replicas
	case *appsv1.ReplicaSet:
		t, n = &o.Spec.Template, o.Spec.Replicas
	case *appsv1.StatefulSet:
		t, n, from = &o.Spec.Template, o.Spec.Replicas, int(ptr.Deref(o.Spec.Ordinals, appsv1.StatefulSetOrdinals{}).Start)
	case *batchv1.Job:
		t, n = &o.Spec.Template, o.Spec.Parallelism
	case *batchv1.CronJob:
		t, n = &o.Spec.JobTemplate.Spec.Template, o.Spec.JobTemplate.Spec.Parallelism
	case *corev1.ReplicationController:
		t, n = o.Spec.Template, o.Spec.Replicas
	default:
		return nil, fmt.Errorf("a %T has no pods that a scheduler would place freely", obj)
	}
	kind := core.Pod()
	g := &group{title: fmt.Sprintf("%s %s/%s", kindName(obj), obj.GetNamespace(), obj.GetName())}
	if replicas < 0 {
		replicas = int(ptr.Deref(n, 1))
	}
	for i := range replicas {
		p := &corev1.Pod{ObjectMeta: *t.ObjectMeta.DeepCopy(), Spec: *t.Spec.DeepCopy()}
		p.Namespace, p.Name = obj.GetNamespace(), fmt.Sprintf("%s-%d", obj.GetName(), from+i)
		if _, ok := obj.(*appsv1.Deployment); ok {
			// Spread constraints may tell the pods of one revision apart by it.
			metav1.SetMetaDataLabel(&p.ObjectMeta, appsv1.DefaultDeploymentUniqueLabelKey, "what-if")
		}
		kind.Default(p)
		g.pods = append(g.pods, p)
	}
	return g, nil
}

// claim makes the claims of a StatefulSet's pod that are not there yet, as its controller does.
func (c *cluster) claim(set *appsv1.StatefulSet, p *corev1.Pod) {
	for i := range set.Spec.VolumeClaimTemplates {
		claim := set.Spec.VolumeClaimTemplates[i].DeepCopy()
		volume := corev1.Volume{Name: claim.Name}
		claim.Namespace, claim.Name = p.Namespace, claim.Name+"-"+p.Name
		volume.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name}
		p.Spec.Volumes = append(slices.DeleteFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == volume.Name }), volume)
		if _, there := scheduler.Object[*corev1.PersistentVolumeClaim](c.builder.Snapshot(), claim.Namespace, claim.Name); !there {
			c.builder.SetObject(claim)
		}
	}
}

func kindName(obj client.Object) string {
	return obj.GetObjectKind().GroupVersionKind().Kind
}

// setPriority does what admission does.
func (c *cluster) setPriority(p *corev1.Pod) error {
	if p.Spec.Priority != nil {
		return nil
	}
	switch name := p.Spec.PriorityClassName; {
	case name == "system-cluster-critical":
		p.Spec.Priority = ptr.To[int32](2_000_000_000)
	case name == "system-node-critical":
		p.Spec.Priority = ptr.To[int32](2_000_001_000)
	case name != "":
		class := c.classes[name]
		if class == nil {
			return fmt.Errorf("pod %s: no PriorityClass with name %s was found", p.Name, name)
		}
		p.Spec.Priority, p.Spec.PreemptionPolicy = &class.Value, class.PreemptionPolicy
	default:
		for _, class := range c.classes {
			if class.GlobalDefault {
				p.Spec.Priority, p.Spec.PreemptionPolicy = &class.Value, class.PreemptionPolicy
			}
		}
	}
	return nil
}
