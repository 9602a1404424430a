package scheduler_test

import (
	"fmt"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// gen makes random clusters in which rules meet often: few zones, few labels, tight nodes.
type gen struct{ *rand.Rand }

func (g gen) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g gen, s ...T) T { return s[g.IntN(len(s))] }

func (g gen) node(name string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	if g.chance(85) {
		n.Labels[corev1.LabelTopologyZone] = pick(g, "a", "b", "c")
	}
	if g.chance(30) {
		n.Labels["disk"] = pick(g, "ssd", "hdd")
	}
	if g.chance(20) {
		n.Labels["size"] = pick(g, "1", "5", "9")
	}
	n.Status.Allocatable = corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewMilliQuantity(int64(g.IntN(8))*500, resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(int64(g.IntN(9))<<29, resource.BinarySI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(int64(g.IntN(4))<<30, resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(int64(pick(g, 2, 5, 110, 110)), resource.DecimalSI),
	}
	if g.chance(30) {
		n.Status.Allocatable["example.com/gpu"] = *resource.NewQuantity(int64(g.IntN(3)), resource.DecimalSI)
		n.Status.Allocatable["hugepages-2Mi"] = *resource.NewQuantity(int64(g.IntN(3))<<21, resource.BinarySI)
	}
	for range pick(g, 0, 0, 0, 1, 2) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: pick(g, "dedicated", "level"), Value: pick(g, "web", "db", "5", "-1"),
			Effect: pick(g, corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute, corev1.TaintEffectPreferNoSchedule)})
	}
	n.Spec.Unschedulable = g.chance(8)
	for range pick(g, 0, 0, 1, 2) {
		n.Status.Images = append(n.Status.Images, corev1.ContainerImage{
			Names: []string{pick(g, "web:latest", "db:v1", "registry.example/web:latest")}, SizeBytes: int64(g.IntN(2000)) << 20})
	}
	for _, f := range []string{"RestartAllContainersOnContainerExits", "UserNamespacesHostNetworkSupport", "VolumeBindMountOptions"} {
		if g.chance(70) {
			n.Status.DeclaredFeatures = append(n.Status.DeclaredFeatures, f)
		}
	}
	return n
}

func (g gen) requests() corev1.ResourceList {
	r := corev1.ResourceList{}
	if g.chance(60) {
		r[corev1.ResourceCPU] = *resource.NewMilliQuantity(int64(g.IntN(5))*250, resource.DecimalSI)
	}
	if g.chance(60) {
		r[corev1.ResourceMemory] = *resource.NewQuantity(int64(g.IntN(5))<<28, resource.BinarySI)
	}
	if g.chance(10) {
		r[corev1.ResourceEphemeralStorage] = *resource.NewQuantity(int64(g.IntN(3))<<30, resource.BinarySI)
	}
	if g.chance(10) {
		r["example.com/gpu"] = *resource.NewQuantity(int64(g.IntN(3)), resource.DecimalSI)
	}
	if g.chance(5) {
		r["hugepages-2Mi"] = *resource.NewQuantity(int64(g.IntN(3))<<21, resource.BinarySI)
	}
	return r
}

func (g gen) container(name string) corev1.Container {
	c := corev1.Container{Name: name, Image: pick(g, "web", "db:v1", "registry.example/web", "none"),
		Resources: corev1.ResourceRequirements{Requests: g.requests()}}
	if g.chance(15) {
		c.Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: int32(8000 + g.IntN(2)), HostIP: pick(g, "", "0.0.0.0", "10.0.0.1", "10.0.0.2"),
			Protocol: pick(g, corev1.ProtocolTCP, corev1.ProtocolUDP)}}
	}
	return c
}

func (g gen) pod(name string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pick(g, "default", "prod", "test"), Name: name, UID: types.UID("uid-" + name)}}
	p.Labels = map[string]string{"app": pick(g, "web", "db", "cache"), "version": pick(g, "1", "2")}
	for i := range pick(g, 1, 1, 2) {
		p.Spec.Containers = append(p.Spec.Containers, g.container(fmt.Sprint("c", i)))
	}
	for i := range pick(g, 0, 0, 0, 1, 2) {
		c := g.container(fmt.Sprint("i", i))
		if g.chance(50) {
			always := corev1.ContainerRestartPolicyAlways
			c.RestartPolicy = &always
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	if g.chance(10) {
		p.Spec.Overhead = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")}
	}
	if g.chance(10) {
		p.Spec.Resources = &corev1.ResourceRequirements{Requests: corev1.ResourceList{
			pick(g, corev1.ResourceCPU, corev1.ResourceMemory): *resource.NewQuantity(int64(g.IntN(3)), resource.DecimalSI)}}
	}
	for range pick(g, 0, 0, 1, 2) {
		p.Spec.Tolerations = append(p.Spec.Tolerations, g.toleration())
	}
	if g.chance(15) {
		p.Spec.NodeSelector = map[string]string{"disk": pick(g, "ssd", "hdd")}
	}
	g.needFeatures(&p.Spec)
	p.Spec.Affinity = g.affinity()
	for range pick(g, 0, 0, 0, 1, 2) {
		p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, g.spread())
	}
	return p
}

// needFeatures makes some pods use what only kubelets that declare it can do.
func (g gen) needFeatures(s *corev1.PodSpec) {
	if g.chance(5) {
		s.HostNetwork, s.HostUsers = true, new(g.chance(20))
	}
	if g.chance(5) {
		s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v", BindMountOptions: []string{"noexec"}}}
	}
	if g.chance(5) {
		s.Containers[0].RestartPolicyRules = []corev1.ContainerRestartRule{{Action: corev1.ContainerRestartRuleActionRestartAllContainers}}
	}
}

func (g gen) toleration() corev1.Toleration {
	t := corev1.Toleration{Key: pick(g, "", "dedicated", "level", corev1.TaintNodeUnschedulable), Operator: corev1.TolerationOpExists}
	if t.Key != "" && g.chance(70) {
		t.Operator, t.Value = pick(g, corev1.TolerationOpEqual, "", corev1.TolerationOpGt, corev1.TolerationOpLt), pick(g, "web", "db", "4", "0")
	}
	t.Effect = pick(g, "", corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute, corev1.TaintEffectPreferNoSchedule)
	return t
}

func (g gen) requirement() corev1.NodeSelectorRequirement {
	switch g.IntN(4) {
	case 0:
		return corev1.NodeSelectorRequirement{Key: "size", Operator: pick(g, corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt), Values: []string{"4"}}
	case 1:
		return corev1.NodeSelectorRequirement{Key: "disk", Operator: pick(g, corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist)}
	}
	return corev1.NodeSelectorRequirement{Key: corev1.LabelTopologyZone, Operator: pick(g, corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn),
		Values: []string{pick(g, "a", "b"), pick(g, "b", "c")}}
}

func (g gen) selectorTerm() corev1.NodeSelectorTerm {
	if g.chance(15) {
		return corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn,
			Values: []string{pick(g, "node-0", "node-1", "gone")}}}}
	}
	t := corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{g.requirement()}}
	if g.chance(30) {
		t.MatchExpressions = append(t.MatchExpressions, g.requirement())
	}
	return t
}

func (g gen) affinity() *corev1.Affinity {
	a := &corev1.Affinity{}
	if g.chance(15) {
		s := &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{g.selectorTerm()}}
		if g.chance(40) {
			s.NodeSelectorTerms = append(s.NodeSelectorTerms, g.selectorTerm())
		}
		a.NodeAffinity = &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: s}
	}
	if g.chance(15) {
		if a.NodeAffinity == nil {
			a.NodeAffinity = &corev1.NodeAffinity{}
		}
		a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution = []corev1.PreferredSchedulingTerm{
			{Weight: int32(1 + g.IntN(100)), Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{g.requirement()}}}}
	}
	if g.chance(15) {
		a.PodAffinity = &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: g.podTerms()}
	}
	if g.chance(20) {
		a.PodAntiAffinity = &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: g.podTerms()}
	}
	if g.chance(15) {
		if a.PodAffinity == nil {
			a.PodAffinity = &corev1.PodAffinity{}
		}
		a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution = []corev1.WeightedPodAffinityTerm{{Weight: int32(1 + g.IntN(100)), PodAffinityTerm: g.podTerm()}}
	}
	if g.chance(15) {
		if a.PodAntiAffinity == nil {
			a.PodAntiAffinity = &corev1.PodAntiAffinity{}
		}
		a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution = []corev1.WeightedPodAffinityTerm{{Weight: int32(1 + g.IntN(100)), PodAffinityTerm: g.podTerm()}}
	}
	return a
}

func (g gen) podTerms() []corev1.PodAffinityTerm {
	if g.chance(25) {
		return []corev1.PodAffinityTerm{g.podTerm(), g.podTerm()}
	}
	return []corev1.PodAffinityTerm{g.podTerm()}
}

func (g gen) labelSelector() *metav1.LabelSelector {
	switch g.IntN(6) {
	case 0:
		return &metav1.LabelSelector{}
	case 1:
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"web"}}}}
	}
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": pick(g, "web", "db", "cache")}}
}

func (g gen) podTerm() corev1.PodAffinityTerm {
	t := corev1.PodAffinityTerm{LabelSelector: g.labelSelector(), TopologyKey: pick(g, corev1.LabelHostname, corev1.LabelTopologyZone, "disk")}
	switch g.IntN(6) {
	case 0:
		t.Namespaces = []string{"prod"}
	case 1:
		t.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": pick(g, "x", "y")}}
	case 2:
		t.NamespaceSelector = &metav1.LabelSelector{}
	}
	return t
}

func (g gen) spread() corev1.TopologySpreadConstraint {
	c := corev1.TopologySpreadConstraint{MaxSkew: int32(1 + g.IntN(2)), TopologyKey: pick(g, corev1.LabelHostname, corev1.LabelTopologyZone, "disk"),
		WhenUnsatisfiable: pick(g, corev1.DoNotSchedule, corev1.ScheduleAnyway), LabelSelector: g.labelSelector()}
	if c.WhenUnsatisfiable == corev1.DoNotSchedule && g.chance(20) {
		n := int32(1 + g.IntN(4))
		c.MinDomains = &n
	}
	if g.chance(30) {
		v := pick(g, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)
		c.NodeAffinityPolicy = &v
	}
	if g.chance(30) {
		v := pick(g, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)
		c.NodeTaintsPolicy = &v
	}
	if g.chance(20) {
		c.MatchLabelKeys = []string{"version"}
	}
	return c
}
