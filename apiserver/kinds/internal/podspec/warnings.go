package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/nodelabel"
)

// NameWarnings returns a warning about a name that becomes a host name and does not fit; use tells
// what it is used in.
func NameWarnings(name, use string) []string {
	messages := validation.IsDNS1123Label(name)
	if len(messages) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("metadata.name: this is used in %s, which can result in surprising behavior; a DNS label is recommended: %v", use, messages)}
}

// warner collects what is likely a mistake.
type warner struct {
	meta *metav1.ObjectMeta
	spec *corev1.PodSpec
	// root is where the pod or template is, path where its specification is.
	root, path *field.Path
	out        []string
}

func (w *warner) add(path *field.Path, format string, args ...any) {
	w.out = append(w.out, fmt.Sprintf("%s: %s", path, fmt.Sprintf(format, args...)))
}

// Warnings returns what is likely a mistake in a pod, whose path is nil, or in a template of pods.
func Warnings(meta *metav1.ObjectMeta, s *corev1.PodSpec, root *field.Path) []string {
	w := &warner{meta: meta, spec: s, root: root, path: root.Child("spec")}
	w.placement()
	w.annotations()
	w.volumes()
	w.duplicates()
	w.fractions(s.Overhead, w.path.Child("overhead"))
	c := &checker{spec: s}
	c.eachContainer(w.path, w.container)
	ports := newPortWarner(w)
	c.eachContainer(w.path, ports.numbers)
	c.eachContainer(w.path, ports.names)
	if n := s.TerminationGracePeriodSeconds; n != nil && *n < 0 {
		w.add(w.path.Child("terminationGracePeriodSeconds"), "must be >= 0; negative values are invalid and will be treated as 1")
	}
	w.podAffinity()
	w.addresses()
	return w.out
}

// TemplateWarnings returns what is likely a mistake in the template of an object, unless an update leaves its
// specification alone.
func TemplateWarnings(t *corev1.PodTemplateSpec, path *field.Path, changed bool) []string {
	if !changed {
		return nil
	}
	return Warnings(&t.ObjectMeta, &t.Spec, path)
}

// placement warns of labels of nodes, and of selectors that select nothing.
func (w *warner) placement() {
	w.out = append(w.out, nodelabel.Labels(w.spec.NodeSelector, w.path.Child("nodeSelector").Key)...)
	if a := w.spec.Affinity; a != nil && a.NodeAffinity != nil {
		path := w.path.Child("affinity", "nodeAffinity")
		if r := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
			for i := range r.NodeSelectorTerms {
				at := path.Child("requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms").Index(i)
				w.out = append(w.out, nodelabel.Term(&r.NodeSelectorTerms[i], false, at)...)
			}
		}
		for i := range a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
			at := path.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i).Child("preference")
			w.out = append(w.out, nodelabel.Term(&a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution[i].Preference, true, at)...)
		}
	}
	for i, t := range w.spec.TopologySpreadConstraints {
		path := w.path.Child("topologySpreadConstraints").Index(i)
		if text := nodelabel.Deprecated(t.TopologyKey); text != "" {
			w.add(path.Child("topologyKey"), "%s is %s", t.TopologyKey, text)
		}
		w.selects(t.LabelSelector, path)
	}
}

func (w *warner) selects(s *metav1.LabelSelector, path *field.Path) {
	if s == nil {
		w.add(path.Child("labelSelector"), "a null labelSelector results in matching no pod")
	}
}

func (w *warner) podAffinity() {
	terms := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, path *field.Path) {
		for i := range required {
			w.selects(required[i].LabelSelector, path.Child("requiredDuringSchedulingIgnoredDuringExecution").Index(i))
		}
		for i := range preferred {
			w.selects(preferred[i].PodAffinityTerm.LabelSelector, path.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i).Child("podAffinityTerm"))
		}
	}
	a := w.spec.Affinity
	if a == nil {
		return
	}
	if p := a.PodAffinity; p != nil {
		terms(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, w.path.Child("affinity", "podAffinity"))
	}
	if p := a.PodAntiAffinity; p != nil {
		terms(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, w.path.Child("affinity", "podAntiAffinity"))
	}
}

// annotations warns of those that were fields' forerunners.
func (w *warner) annotations() {
	path := w.root.Child("metadata", "annotations")
	for _, old := range []struct{ name, text string }{
		{"scheduler.alpha.kubernetes.io/critical-pod", `non-functional in v1.16+; use the "priorityClassName" field instead`},
		{"security.alpha.kubernetes.io/sysctls", `non-functional in v1.11+; use the "sysctls" field instead`},
		{"security.alpha.kubernetes.io/unsafe-sysctls", `non-functional in v1.11+; use the "sysctls" field instead`},
	} {
		if _, ok := w.meta.Annotations[old.name]; ok {
			w.add(path.Key(old.name), "%s", old.text)
		}
	}
	if sc := w.spec.SecurityContext; sc == nil || sc.SeccompProfile == nil {
		w.seccomp(corev1.SeccompPodAnnotationKey)
	}
}

func (w *warner) seccomp(annotation string) {
	if _, ok := w.meta.Annotations[annotation]; ok {
		w.add(w.root.Child("metadata", "annotations").Key(annotation), `non-functional in v1.27+; use the "seccompProfile" field instead`)
	}
}

func (w *warner) container(ctr *corev1.Container, path *field.Path) {
	sc := ctr.SecurityContext
	if sc == nil || sc.SeccompProfile == nil {
		w.seccomp(corev1.SeccompContainerAnnotationKeyPrefix + ctr.Name)
	}
	if w.root != nil && (sc == nil || sc.AppArmorProfile == nil) { // of pods it is told when the field is made of it
		name := corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix + ctr.Name
		if text, ok := w.meta.Annotations[name]; ok {
			var whole *corev1.AppArmorProfile
			if w.spec.SecurityContext != nil {
				whole = w.spec.SecurityContext.AppArmorProfile
			}
			if whole == nil || !equality.Semantic.DeepEqual(whole, appArmorOf(text)) {
				w.add(w.root.Child("metadata", "annotations").Key(name), "%s", oldAppArmor)
			}
		}
	}
	w.fractions(ctr.Resources.Limits, path.Child("resources", "limits"))
	w.fractions(ctr.Resources.Requests, path.Child("resources", "requests"))
	w.hiddenVariables(ctr.Env, path.Child("env"))
}

// fractions warns of parts of a byte, as in memory: 100m, which was to be 100M.
func (w *warner) fractions(list corev1.ResourceList, path *field.Path) {
	for _, name := range []corev1.ResourceName{corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		if q := list[name]; q.MilliValue()%1000 != 0 {
			w.add(path.Key(string(name)), "fractional byte value %q is invalid, must be an integer", q.String())
		}
	}
}

func (w *warner) hiddenVariables(vars []corev1.EnvVar, path *field.Path) {
	seen := map[string]bool{}
	for i, v := range vars {
		// A value made from the one before, as in PATH=$(PATH):/more, is meant.
		ref := "$(" + v.Name + ")"
		if seen[v.Name] && (v.ValueFrom != nil || v.Value == ref || !strings.Contains(v.Value, ref)) {
			w.add(path.Index(i), "hides previous definition of %q, which may be dropped when using apply", v.Name)
		}
		seen[v.Name] = true
	}
}

// duplicates warns of items that are there twice.
func (w *warner) duplicates() {
	seen := map[string]bool{}
	for i, a := range w.spec.HostAliases {
		if seen[a.IP] {
			w.add(w.path.Child("hostAliases").Index(i).Child("ip"), "duplicate ip %q", a.IP)
		}
		seen[a.IP] = true
	}
	clear(seen)
	for i, s := range w.spec.ImagePullSecrets {
		path := w.path.Child("imagePullSecrets").Index(i).Child("name")
		if seen[s.Name] {
			w.add(path, "duplicate name %q", s.Name)
		}
		if s.Name == "" {
			w.add(path, "invalid empty name %q", s.Name)
		}
		seen[s.Name] = true
	}
}

// addresses warns of those in unusual forms.
func (w *warner) addresses() {
	if d := w.spec.DNSConfig; d != nil {
		for i, ip := range d.Nameservers {
			w.out = append(w.out, validation.GetWarningsForIP(w.path.Child("dnsConfig", "nameservers").Index(i), ip)...)
		}
	}
	for i, a := range w.spec.HostAliases {
		w.out = append(w.out, validation.GetWarningsForIP(w.path.Child("hostAliases").Index(i).Child("ip"), a.IP)...)
	}
}
