package podspec

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// checker gathers the errors of one pod or template.
type checker struct {
	check.List
	spec *corev1.PodSpec
	// meta is that of a pod, nil for a template: some rules hold for pods alone.
	meta    *metav1.ObjectMeta
	volumes map[string]*corev1.VolumeSource
}

var (
	specPath        = field.NewPath("spec")
	annotationsPath = field.NewPath("metadata", "annotations")
)

// ValidatePod returns what is wrong with a new pod.
func ValidatePod(p *corev1.Pod) field.ErrorList {
	c := &checker{spec: &p.Spec, meta: &p.ObjectMeta}
	c.pod(p)
	if len(p.Spec.EphemeralContainers) > 0 {
		c.Forbidden(specPath.Child("ephemeralContainers"), "cannot be set on create")
	}
	if p.Spec.NodeName != "" && len(p.Spec.SchedulingGates) > 0 {
		c.Forbidden(specPath.Child("nodeName"), "cannot be set until all schedulingGates have been cleared")
	}
	return c.Errors()
}

func (c *checker) pod(p *corev1.Pod) {
	c.annotations(p.Annotations, annotationsPath)
	c.podSpec(specPath)
	if p.Spec.ServiceAccountName == "" {
		c.tokensNeedAccount()
	}
	if t := p.Spec.TerminationGracePeriodSeconds; t != nil {
		c.NonNegative(podPaths().terminationGrace, *t)
	}
	c.trimmedImages(p.Spec.Containers, podPaths().containers)
	c.trimmedImages(p.Spec.InitContainers, podPaths().initContainers)
}

func (c *checker) tokensNeedAccount() {
	for i, v := range c.spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for j, s := range v.Projected.Sources {
			if s.ServiceAccountToken != nil {
				path := specPath.Child("volumes").Index(i).Child("projected", "sources").Index(j)
				c.Forbidden(path.Child("serviceAccountToken"), "must not be specified when serviceAccountName is not set")
			}
		}
	}
}

func (c *checker) trimmedImages(containers []corev1.Container, path *field.Path) {
	for i := range containers {
		c.trimmedImage(&containers[i], path.Index(i))
	}
}

func (c *checker) trimmedImage(ctr *corev1.Container, path *field.Path) {
	if ctr.Image != strings.TrimSpace(ctr.Image) {
		c.Invalid(path.Child("image"), ctr.Image, "must not have leading or trailing whitespace")
	}
}

// ValidateTemplate returns what is wrong with a template of pods that are kept running: selector
// must match its labels. owner is the kind that holds it, as messages tell it.
func ValidateTemplate(t *corev1.PodTemplateSpec, selector labels.Selector, owner string, path *field.Path) field.ErrorList {
	c := &checker{spec: &t.Spec}
	if !selector.Empty() && !selector.Matches(labels.Set(t.Labels)) {
		c.Invalid(path.Child("metadata", "labels"), t.Labels, "`selector` does not match template `labels`")
	}
	c.template(t, path)
	c.keptRunning(owner, path)
	return c.Errors()
}

// ValidateTemplateSpec returns what is wrong with a template of pods of any kind.
func ValidateTemplateSpec(t *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	c := &checker{spec: &t.Spec}
	c.template(t, path)
	return c.Errors()
}

// ValidateTemplateMeta returns what is wrong with the metadata of a template.
func ValidateTemplateMeta(t *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	c := &checker{spec: &t.Spec}
	c.templateMeta(t, path)
	return c.Errors()
}

func (c *checker) templateMeta(t *corev1.PodTemplateSpec, path *field.Path) {
	c.Add(metavalidation.ValidateLabels(t.Labels, path.Child("labels"))...)
	c.Add(apivalidation.ValidateAnnotations(t.Annotations, path.Child("annotations"))...)
	c.annotations(t.Annotations, path.Child("annotations"))
}

func (c *checker) template(t *corev1.PodTemplateSpec, path *field.Path) {
	c.templateMeta(t, path)
	c.podSpec(path.Child("spec"))
	if len(t.Spec.EphemeralContainers) > 0 {
		c.Forbidden(path.Child("spec", "ephemeralContainers"), "ephemeral containers not allowed in pod template")
	}
}

// keptRunning refuses what pods that are always kept running can not have.
func (c *checker) keptRunning(owner string, path *field.Path) {
	s := c.spec
	if s.RestartPolicy != corev1.RestartPolicyAlways {
		c.Add(field.NotSupported(path.Child("spec", "restartPolicy"), s.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if s.ActiveDeadlineSeconds != nil {
		c.Forbidden(path.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in "+owner+" is not Supported")
	}
}

func (c *checker) annotations(annotations map[string]string, path *field.Path) {
	if v, ok := annotations[corev1.MirrorPodAnnotationKey]; ok && c.spec.NodeName == "" {
		c.Invalid(path.Key(corev1.MirrorPodAnnotationKey), v, "must set spec.nodeName if mirror pod annotation is set")
	}
	if v, ok := annotations[corev1.PodDeletionCost]; ok && !isDeletionCost(v) {
		c.Invalid(path.Key(corev1.PodDeletionCost), v, "must be a 32bit integer")
	}
}

// isDeletionCost tells whether v is a 32 bit number in its plain form, without plus and zeros.
func isDeletionCost(v string) bool {
	n, err := strconv.ParseInt(v, 10, 32)
	return err == nil && strconv.FormatInt(n, 10) == v
}
