package scheduler

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

// Generators of small clusters, in which rules meet often.

var (
	zones    = rapid.SampledFrom([]string{"a", "b", "c"})
	apps     = rapid.SampledFrom([]string{"web", "db", "cache"})
	topology = rapid.SampledFrom([]string{corev1.LabelHostname, corev1.LabelTopologyZone})
)

func drawNode(t *rapid.T, name string) *corev1.Node {
	n := &corev1.Node{}
	n.Name = name
	n.Labels = map[string]string{corev1.LabelHostname: name}
	if rapid.IntRange(0, 9).Draw(t, "zoned") > 0 {
		n.Labels[corev1.LabelTopologyZone] = zones.Draw(t, "zone")
	}
	n.Status.Allocatable = corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(rapid.Int64Range(0, 4000).Draw(t, "cpu"), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(rapid.Int64Range(0, 8<<30).Draw(t, "memory"), resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(rapid.Int64Range(0, 12).Draw(t, "pods"), resource.DecimalSI),
	}
	if rapid.Bool().Draw(t, "gpus") {
		n.Status.Allocatable["example.com/gpu"] = *resource.NewQuantity(rapid.Int64Range(0, 4).Draw(t, "gpu"), resource.DecimalSI)
	}
	if rapid.IntRange(0, 5).Draw(t, "tainted") == 0 {
		n.Spec.Taints = []corev1.Taint{{Key: "dedicated", Value: apps.Draw(t, "for"),
			Effect: rapid.SampledFrom([]corev1.TaintEffect{"NoSchedule", "NoExecute", "PreferNoSchedule"}).Draw(t, "effect")}}
	}
	n.Spec.Unschedulable = rapid.IntRange(0, 9).Draw(t, "cordoned") == 0
	return n
}

func drawPod(t *rapid.T, name string) *corev1.Pod {
	p := &corev1.Pod{}
	p.Namespace, p.Name = rapid.SampledFrom([]string{"default", "other"}).Draw(t, "namespace"), name
	app := apps.Draw(t, "app")
	p.Labels = map[string]string{"app": app}
	c := corev1.Container{Name: "c", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{}}}
	if rapid.Bool().Draw(t, "asks") {
		c.Resources.Requests[corev1.ResourceCPU] = *resource.NewMilliQuantity(rapid.Int64Range(0, 2000).Draw(t, "cpu"), resource.DecimalSI)
		c.Resources.Requests[corev1.ResourceMemory] = *resource.NewQuantity(rapid.Int64Range(0, 4<<30).Draw(t, "memory"), resource.BinarySI)
	}
	if rapid.IntRange(0, 4).Draw(t, "gpu?") == 0 {
		c.Resources.Requests["example.com/gpu"] = *resource.NewQuantity(rapid.Int64Range(0, 2).Draw(t, "gpu"), resource.DecimalSI)
	}
	if rapid.IntRange(0, 4).Draw(t, "port?") == 0 {
		c.Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: rapid.Int32Range(8000, 8002).Draw(t, "port"),
			HostIP: rapid.SampledFrom([]string{"", "10.0.0.1", "10.0.0.2"}).Draw(t, "ip")}}
	}
	p.Spec.Containers = []corev1.Container{c}
	if rapid.IntRange(0, 3).Draw(t, "tolerates") == 0 {
		p.Spec.Tolerations = []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpEqual, Value: app}}
	}
	p.Spec.Affinity = drawAffinity(t)
	if rapid.IntRange(0, 3).Draw(t, "spread?") == 0 {
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: rapid.Int32Range(1, 2).Draw(t, "skew"), TopologyKey: topology.Draw(t, "key"),
			WhenUnsatisfiable: rapid.SampledFrom([]corev1.UnsatisfiableConstraintAction{"DoNotSchedule", "ScheduleAnyway"}).Draw(t, "action"),
			LabelSelector:     selectApp(app),
		}}
	}
	return p
}

func selectApp(app string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
}

func drawAffinity(t *rapid.T) *corev1.Affinity {
	a := &corev1.Affinity{}
	if rapid.IntRange(0, 4).Draw(t, "zone affinity?") == 0 {
		a.NodeAffinity = &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
				{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{zones.Draw(t, "zone")}}}}}}}
	}
	term := func() corev1.PodAffinityTerm {
		return corev1.PodAffinityTerm{LabelSelector: selectApp(apps.Draw(t, "other app")), TopologyKey: topology.Draw(t, "key")}
	}
	switch rapid.IntRange(0, 7).Draw(t, "pod affinity") {
	case 0:
		a.PodAffinity = &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term()}}
	case 1, 2:
		a.PodAntiAffinity = &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term()}}
	case 3:
		a.PodAffinity = &corev1.PodAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: 10, PodAffinityTerm: term()}}}
	case 4:
		a.PodAntiAffinity = &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: 10, PodAffinityTerm: term()}}}
	}
	return a
}

func drawCluster(t *rapid.T) ([]*corev1.Node, []*corev1.Pod) {
	var nodes []*corev1.Node
	for i := range rapid.IntRange(1, 8).Draw(t, "nodes") {
		nodes = append(nodes, drawNode(t, fmt.Sprintf("node-%d", i)))
	}
	var pods []*corev1.Pod
	for i := range rapid.IntRange(0, 25).Draw(t, "pods") {
		pods = append(pods, drawPod(t, fmt.Sprintf("pod-%d", i)))
	}
	return nodes, pods
}
