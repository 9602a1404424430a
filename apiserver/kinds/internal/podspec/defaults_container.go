package podspec

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
)

func defaultContainer(c *corev1.Container) {
	fill.Empty(&c.ImagePullPolicy, pullPolicy(c.Image))
	fill.Empty(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	fill.Empty(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	for i := range c.Ports {
		fill.Empty(&c.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil {
			defaultFieldRef(from.FieldRef)
			if from.FileKeyRef != nil {
				fill.Nil(&from.FileKeyRef.Optional, false)
			}
		}
	}
	defaultResources(&c.Resources)
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p != nil {
			defaultProbe(p)
		}
	}
	if c.Lifecycle != nil {
		for _, h := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h != nil {
				defaultHTTPGet(h.HTTPGet)
			}
		}
	}
}

func defaultProbe(p *corev1.Probe) {
	fill.Empty(&p.TimeoutSeconds, 1)
	fill.Empty(&p.PeriodSeconds, 10)
	fill.Empty(&p.SuccessThreshold, 1)
	fill.Empty(&p.FailureThreshold, 3)
	defaultHTTPGet(p.HTTPGet)
	if p.GRPC != nil {
		fill.Nil(&p.GRPC.Service, "")
	}
}

func defaultHTTPGet(a *corev1.HTTPGetAction) {
	if a != nil {
		fill.Empty(&a.Path, "/")
		fill.Empty(&a.Scheme, corev1.URISchemeHTTP)
	}
}

func defaultFieldRef(f *corev1.ObjectFieldSelector) {
	if f != nil {
		fill.Empty(&f.APIVersion, "v1")
	}
}

// pullPolicy is Always for an image that is named by the tag latest, which is also what a name
// without tag and digest means, and IfNotPresent for all others.
func pullPolicy(image string) corev1.PullPolicy {
	if imageTag(image) == "latest" {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

// imageTag returns the tag of an image reference: "latest" when it has neither tag nor digest, ""
// when it has only a digest or is no reference at all.
func imageTag(image string) string {
	name, digest, hasDigest := strings.Cut(image, "@")
	tag := ""
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
		if !tagPattern().MatchString(tag) {
			return ""
		}
	}
	if !repositoryIsValid(name) || hasDigest && !digestPattern().MatchString(digest) {
		return ""
	}
	if tag == "" && !hasDigest {
		return "latest"
	}
	return tag
}
