package apiserver

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	podsecurityapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/inboard/inboard/apiserver/client"
)

const podSecurityName = "PodSecurity"

// PodSecurityConfig configures the admission plugin PodSecurity, as PodSecurityConfiguration does in Kubernetes
// (https://kubernetes.io/docs/concepts/security/pod-security-admission/).
type PodSecurityConfig struct {
	// Enforce, Audit and Warn are what holds in namespaces whose labels don't say it: a level, or a level and the
	// version that it is of, such as "baseline" or "restricted:v1.30". The default is "privileged".
	Enforce, Audit, Warn string
	// Users, RuntimeClasses and Namespaces are exempt.
	Users, RuntimeClasses, Namespaces []string
	// Audited is told what would violate the level that is audited; nil discards.
	Audited func(r *AdmissionRequest, violation string)
}

// PodSecurity returns the plugin that holds pods to the Pod Security Standards: those that violate what their
// namespace enforces are refused, and of others and of what makes pods a warning tells. A server has one without defaults
// and exemptions; one in Config.Admission takes its place.
func PodSecurity(cfg PodSecurityConfig) (AdmissionPlugin, error) {
	p := &podSecurity{cfg: cfg}
	for _, d := range []struct {
		text string
		to   *podsecurityapi.LevelVersion
	}{{cfg.Enforce, &p.defaults.Enforce}, {cfg.Audit, &p.defaults.Audit}, {cfg.Warn, &p.defaults.Warn}} {
		var err error
		if *d.to, err = parseLevel(d.text); err != nil {
			return AdmissionPlugin{}, fmt.Errorf("apiserver: PodSecurityConfig: %q: %w", d.text, err)
		}
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return AdmissionPlugin{}, fmt.Errorf("apiserver: %w", err)
	}
	p.evaluator = evaluator
	return AdmissionPlugin{Name: podSecurityName, Validate: p.validate}, nil
}

func parseLevel(text string) (podsecurityapi.LevelVersion, error) {
	if text == "" {
		return podsecurityapi.LevelVersion{Level: podsecurityapi.LevelPrivileged, Version: podsecurityapi.LatestVersion()}, nil
	}
	level, version, ok := strings.Cut(text, ":")
	if !ok {
		version = "latest"
	}
	l, err := podsecurityapi.ParseLevel(level)
	if err != nil {
		return podsecurityapi.LevelVersion{}, err
	}
	v, err := podsecurityapi.ParseVersion(version)
	return podsecurityapi.LevelVersion{Level: l, Version: v}, err
}

// builtinPodSecurity is the plugin of a server that configures none.
func (s *Server) builtinPodSecurity() AdmissionPlugin {
	p, err := PodSecurity(PodSecurityConfig{Audited: func(r *AdmissionRequest, violation string) {
		s.cfg.Logger.Info("pod security", "object", r.Ref.String(), "user", r.User.User, "audit", violation)
	}})
	if err != nil {
		panic(err) // without a configuration nothing can be wrong
	}
	return p
}

// podSecurity is the plugin.
type podSecurity struct {
	cfg       PodSecurityConfig
	defaults  podsecurityapi.Policy
	evaluator policy.Evaluator
}

// secured are the resources whose objects have a pod's spec.
var secured = []string{"pods", "replicationcontrollers", "podtemplates", "replicasets.apps", "deployments.apps", "statefulsets.apps",
	"daemonsets.apps", "jobs.batch", "cronjobs.batch"}

func (p *podSecurity) validate(_ context.Context, r *AdmissionRequest) error {
	if r.Operation != Create && r.Operation != Update {
		return nil
	}
	if r.Ref.Resource == "namespaces" && r.Ref.Group == "" {
		return p.validateNamespace(r)
	}
	if slices.Contains(secured, r.Ref.GroupResource().String()) {
		return p.validateWorkload(r)
	}
	return nil
}

// unsecured are the subresources of pods that don't change what a pod is.
var unsecured = []string{"exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"}

func (p *podSecurity) validateWorkload(r *AdmissionRequest) error {
	pod := r.Ref.Resource == "pods"
	if pod && slices.Contains(unsecured, r.Ref.Subresource) || !pod && r.Ref.Subresource != "" {
		return nil
	}
	if slices.Contains(p.cfg.Namespaces, r.Ref.Namespace) || slices.Contains(p.cfg.Users, r.User.User) {
		return nil
	}
	obj, _, err := r.Lookup(client.Ref{GroupVersionResource: namespacesResource, Name: r.Ref.Namespace})
	if err != nil && pod {
		return internalError(fmt.Errorf("failed to lookup namespace %q", r.Ref.Namespace))
	}
	// A server without namespaces has the defaults in all of them; elsewhere NamespaceLifecycle saw that it exists.
	var labels map[string]string
	if obj != nil {
		labels = obj.GetLabels()
	}
	levels, errs := podsecurityapi.PolicyToEvaluate(labels, p.defaults)
	if len(errs) == 0 && levels.FullyPrivileged() {
		return nil
	}
	if old, ok := r.Old.(*corev1.Pod); ok && r.Operation == Update {
		if now, ok := r.Object.(*corev1.Pod); ok && !podChanged(now, old) {
			return nil
		}
	}
	meta, spec := podOf(r.Object)
	if spec == nil || spec.RuntimeClassName != nil && slices.Contains(p.cfg.RuntimeClasses, *spec.RuntimeClassName) {
		return nil
	}
	return p.evaluate(r, levels, meta, spec, pod)
}

// evaluate checks a pod's spec against the levels of its namespace; what is no pod is not refused.
func (p *podSecurity) evaluate(r *AdmissionRequest, levels podsecurityapi.Policy, meta *metav1.ObjectMeta, spec *corev1.PodSpec, enforce bool) error {
	check := func(l podsecurityapi.LevelVersion) (violation string) {
		result := policy.AggregateCheckResults(p.evaluator.EvaluatePod(l, meta, spec))
		if result.Allowed {
			return ""
		}
		return fmt.Sprintf("violate PodSecurity %q: %s", l.String(), result.ForbiddenDetail())
	}
	if violation := check(levels.Audit); violation != "" && p.cfg.Audited != nil {
		p.cfg.Audited(r, "would "+violation)
	}
	if enforce {
		if violation := check(levels.Enforce); violation != "" {
			return apierrors.NewForbidden(r.Ref.GroupResource(), r.Ref.Name, fmt.Errorf("violates%s", strings.TrimPrefix(violation, "violate")))
		}
	}
	if violation := check(levels.Warn); violation != "" {
		r.Warn("would " + violation)
	}
	return nil
}

// podOf returns the part of an object that tells of pods; the spec is nil when there is none.
func podOf(obj client.Object) (*metav1.ObjectMeta, *corev1.PodSpec) {
	var t *corev1.PodTemplateSpec
	switch o := obj.(type) {
	case *corev1.Pod:
		return &o.ObjectMeta, &o.Spec
	case *corev1.PodTemplate:
		t = &o.Template
	case *corev1.ReplicationController:
		t = o.Spec.Template
	case *appsv1.ReplicaSet:
		t = &o.Spec.Template
	case *appsv1.Deployment:
		t = &o.Spec.Template
	case *appsv1.DaemonSet:
		t = &o.Spec.Template
	case *appsv1.StatefulSet:
		t = &o.Spec.Template
	case *batchv1.Job:
		t = &o.Spec.Template
	case *batchv1.CronJob:
		t = &o.Spec.JobTemplate.Spec.Template
	}
	if t == nil {
		return nil, nil
	}
	return &t.ObjectMeta, &t.Spec
}

// podChanged tells whether an update changes what the standards are about: of what may change, images.
func podChanged(now, old *corev1.Pod) bool {
	image := func(a, b corev1.Container) bool { return a.Image == b.Image }
	if !slices.EqualFunc(now.Spec.Containers, old.Spec.Containers, image) || !slices.EqualFunc(now.Spec.InitContainers, old.Spec.InitContainers, image) {
		return true
	}
	return slices.ContainsFunc(now.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool {
		return !slices.ContainsFunc(old.Spec.EphemeralContainers, func(o corev1.EphemeralContainer) bool {
			return o.Name == c.Name && o.Image == c.Image
		})
	})
}
