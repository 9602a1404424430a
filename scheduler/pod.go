package scheduler

import (
	"encoding/binary"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// PodInfo is a pod with everything that decisions read prepared once: amounts added up, selectors
// parsed. It is immutable, and so must the pod be from then on.
type PodInfo struct {
	// Pod is the pod itself; read it only.
	Pod *corev1.Pod
	// Key identifies the pod: its UID or, when it has none, its namespace and name.
	Key string
	// Requests is what the pod needs; NonZeroRequests has the CPU and memory that scores count for it
	// once it is on a node, with a least amount for each container that names none.
	Requests, NonZeroRequests Resource
	// Priority is spec.priority, or 0.
	Priority int32
	// Ports are the ports of the node that the pod takes.
	Ports []HostPort

	// asked is what NodeResourcesFit's score counts for it while it is being placed.
	asked        Resource
	nodeAffinity *nodeaffinity.RequiredNodeAffinity
	// selectorOnly tells that nodeAffinity is spec.nodeSelector and no more.
	selectorOnly   bool
	preferredNodes *nodeaffinity.PreferredSchedulingTerms
	podRules
	spread []spreadConstraint
	images []string
	// volumes is nil for a pod that no volume plugin needs to look at.
	volumes *podVolumes
	kind    *kind
	shape   string
	// err is what was wrong with the pod's rules; such a pod fits nowhere.
	err error
}

// HostPort is one port of a node. An IP of 0.0.0.0 takes the port on all addresses.
type HostPort struct {
	IP       string
	Protocol corev1.Protocol
	Port     int32
}

// NewPodInfo prepares a pod. A pod whose affinity or spread rules can't be parsed is accepted here and
// found unschedulable by Profile.Schedule, which then names the rule.
func NewPodInfo(pod *corev1.Pod) *PodInfo {
	p := &PodInfo{Pod: pod, Key: podKey(pod), Priority: corev1helpers.PodPriority(pod), Ports: hostPorts(pod)}
	r := requestsOf(pod)
	p.Requests, p.NonZeroRequests, p.asked = r.exact, r.nonZero, r.asked
	p.images, p.volumes = imagesOf(pod), volumesOf(pod)
	p.parseNodeAffinity()
	if a := pod.Spec.Affinity; a != nil {
		p.parsePodAffinity(a)
	}
	for i := range pod.Spec.TopologySpreadConstraints {
		c, err := newSpreadConstraint(pod, &pod.Spec.TopologySpreadConstraints[i])
		p.fail(err, "spec.topologySpreadConstraints[%d]", i)
		p.spread = append(p.spread, c)
	}
	p.kind, p.shape = newKind(p), shapeOf(p)
	return p
}

func podKey(pod *corev1.Pod) string {
	if pod.UID != "" {
		return string(pod.UID)
	}
	return pod.Namespace + "/" + pod.Name
}

func (p *PodInfo) fail(err error, format string, args ...any) {
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
	}
}

func (p *PodInfo) parseNodeAffinity() {
	spec := &p.Pod.Spec
	var required *corev1.NodeSelector
	if a := spec.Affinity; a != nil && a.NodeAffinity != nil {
		required = a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		if terms := a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution; len(terms) > 0 {
			parsed, err := nodeaffinity.NewPreferredSchedulingTerms(terms)
			p.fail(err, "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution")
			p.preferredNodes = parsed
		}
	}
	if required != nil || len(spec.NodeSelector) > 0 {
		r := nodeaffinity.GetRequiredNodeAffinity(p.Pod)
		p.nodeAffinity, p.selectorOnly = &r, required == nil
	}
}

func (p *PodInfo) parsePodAffinity(a *corev1.Affinity) {
	const required, preferred = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"
	terms := func(path string, in []corev1.PodAffinityTerm) (out []affinityTerm) {
		for i := range in {
			t, err := newAffinityTerm(p.Pod, &in[i], 0)
			p.fail(err, "spec.affinity.%s[%d]", path, i)
			out = append(out, t)
		}
		return out
	}
	weighted := func(path string, in []corev1.WeightedPodAffinityTerm) (out []affinityTerm) {
		for i := range in {
			t, err := newAffinityTerm(p.Pod, &in[i].PodAffinityTerm, int64(in[i].Weight))
			p.fail(err, "spec.affinity.%s[%d]", path, i)
			out = append(out, t)
		}
		return out
	}
	if x := a.PodAffinity; x != nil {
		p.affinity = terms("podAffinity."+required, x.RequiredDuringSchedulingIgnoredDuringExecution)
		p.preferred = weighted("podAffinity."+preferred, x.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if x := a.PodAntiAffinity; x != nil {
		p.antiAffinity = terms("podAntiAffinity."+required, x.RequiredDuringSchedulingIgnoredDuringExecution)
		p.preferredAgainst = weighted("podAntiAffinity."+preferred, x.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}

// hostPorts returns the ports that containers and sidecars take on the node.
func hostPorts(pod *corev1.Pod) []HostPort {
	var out []HostPort
	add := func(c *corev1.Container) {
		for _, p := range c.Ports {
			if p.HostPort <= 0 {
				continue
			}
			h := HostPort{IP: p.HostIP, Protocol: p.Protocol, Port: p.HostPort}
			if h.IP == "" {
				h.IP = anyIP
			}
			if h.Protocol == "" {
				h.Protocol = corev1.ProtocolTCP
			}
			out = append(out, h)
		}
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	return out
}

// affinityTerm is one rule about other pods: those in some namespaces that match a selector, within
// one domain of a topology.
type affinityTerm struct {
	topologyKey string
	selector    matcher
	namespaces  []string
	// nsSelector, when not nil, adds the namespaces whose labels match.
	nsSelector labels.Selector
	weight     int64
}

func newAffinityTerm(owner *corev1.Pod, t *corev1.PodAffinityTerm, weight int64) (affinityTerm, error) {
	out := affinityTerm{topologyKey: t.TopologyKey, weight: weight, selector: newMatcher(labels.Nothing())}
	// matchLabelKeys need no work here: the API server turns them into the label selector when it
	// admits the pod. A server that does not would leave them behind, so they are added once more.
	selector, err := mergeLabelKeys(t.LabelSelector, owner.Labels, t.MatchLabelKeys, t.MismatchLabelKeys)
	if err != nil {
		return out, err
	}
	out.selector = newMatcher(selector)
	if t.NamespaceSelector != nil {
		if out.nsSelector, err = metav1.LabelSelectorAsSelector(t.NamespaceSelector); err != nil {
			return out, err
		}
	}
	out.namespaces = t.Namespaces
	if len(t.Namespaces) == 0 && t.NamespaceSelector == nil {
		out.namespaces = []string{owner.Namespace}
	}
	return out, nil
}

// matches tells whether the rule is about the pods of a kind.
func (t *affinityTerm) matches(s *Snapshot, k *kind) bool {
	if !slices.Contains(t.namespaces, k.namespace) {
		if t.nsSelector == nil || !t.nsSelector.Matches(labels.Set(s.namespaceLabels(k.namespace))) {
			return false
		}
	}
	return t.selector.Matches(k.labels)
}

// appendKey appends what tells the term from others.
func (t *affinityTerm) appendKey(b []byte) []byte {
	b = t.selector.appendKey(appendText(b, t.topologyKey))
	b = binary.AppendUvarint(binary.AppendVarint(b, t.weight), uint64(len(t.namespaces)))
	for _, n := range t.namespaces {
		b = appendText(b, n)
	}
	if t.nsSelector == nil {
		return append(b, '-')
	}
	m := matcher{Selector: t.nsSelector}
	return m.appendKey(b)
}
