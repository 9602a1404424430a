package kubelet

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// ensureImage makes sure that the image of a container is present, after its pull policy, and
// tells of it by events. The error is a *startError.
func (k *Kubelet) ensureImage(ctx context.Context, pod *corev1.Pod, c *corev1.Container) (Image, error) {
	rt := k.cfg.Runtime
	say := func(eventType, reason, format string, args ...any) {
		if ctx.Err() == nil {
			k.containerEvent(pod, c.Name, eventType, reason, fmt.Sprintf(format, args...))
		}
	}
	img, err := rt.Image(ctx, c.Image)
	if errors.Is(err, ErrInvalidImageName) {
		msg := fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name %q: invalid reference format", c.Image, c.Image)
		err = errors.New(msg)
		say(corev1.EventTypeWarning, "InspectFailed", "%s", msg)
		say(corev1.EventTypeWarning, "Failed", "Error: InvalidImageName")
		return img, &startError{reason: "InvalidImageName", err: err}
	}
	policy := pullPolicy(c)
	switch {
	case err == nil && policy != corev1.PullAlways:
		say(corev1.EventTypeNormal, "Pulled", "Container image %q already present on machine", c.Image)
		return img, nil
	case policy == corev1.PullNever:
		msg := fmt.Sprintf("Container image %q is not present with pull policy of Never", c.Image)
		err = errors.New(msg)
		say(corev1.EventTypeWarning, "ErrImageNeverPull", "%s", msg)
		say(corev1.EventTypeWarning, "Failed", "Error: ErrImageNeverPull")
		return img, &startError{reason: "ErrImageNeverPull", err: err}
	}
	say(corev1.EventTypeNormal, "Pulling", "Pulling image %q", c.Image)
	began := time.Now()
	img, err = k.pull(ctx, pod, c.Image)
	if err != nil {
		say(corev1.EventTypeWarning, "Failed", "Failed to pull image %q: %v", c.Image, err)
		say(corev1.EventTypeWarning, "Failed", "Error: ErrImagePull")
		return img, &startError{reason: "ErrImagePull", err: err, pull: true}
	}
	took := time.Since(began).Truncate(time.Millisecond)
	say(corev1.EventTypeNormal, "Pulled", "Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.", c.Image, took, took, img.Size)
	return img, nil
}

// pull pulls an image with each of the pod's credentials that fit its registry, and without any
// when there are none.
func (k *Kubelet) pull(ctx context.Context, pod *corev1.Pod, image string) (Image, error) {
	auths := k.pullAuths(ctx, pod, image)
	if len(auths) == 0 {
		auths = []Auth{{}}
	}
	var errs []error
	for _, a := range auths {
		img, err := k.cfg.Runtime.PullImage(ctx, image, a, k.progress(image))
		if err == nil {
			return img, nil
		}
		errs = append(errs, err)
	}
	return Image{}, errors.Join(errs...)
}

// progress logs how a pull goes, not more than once a second.
func (k *Kubelet) progress(image string) func(PullProgress) {
	var last time.Time
	return func(p PullProgress) {
		if now := time.Now(); now.Sub(last) >= time.Second {
			last = now
			k.log.Info("pulling an image", "image", image, "phase", p.Phase, "done", p.Done, "total", p.Total)
		}
	}
}

// pullPolicy returns the container's pull policy; without one, Always for the tag latest.
func pullPolicy(c *corev1.Container) corev1.PullPolicy {
	if c.ImagePullPolicy != "" {
		return c.ImagePullPolicy
	}
	name := c.Image[strings.LastIndexByte(c.Image, '/')+1:]
	if !strings.Contains(name, "@") && (!strings.Contains(name, ":") || strings.HasSuffix(name, ":latest")) {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

// pullAuths returns the credentials of the pod's imagePullSecrets for the registry of an image.
func (k *Kubelet) pullAuths(ctx context.Context, pod *corev1.Pod, image string) []Auth {
	var out []Auth
	for _, ref := range pod.Spec.ImagePullSecrets {
		s, err := k.sources.Secret(ctx, pod.Namespace, ref.Name)
		if err != nil {
			k.event(pod, corev1.EventTypeWarning, "FailedToRetrieveImagePullSecret",
				fmt.Sprintf("Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", ref.Name))
			continue
		}
		out = append(out, parseDockerConfig(s, registryOf(image))...)
	}
	return out
}

// registryOf returns the host of an image reference, Docker Hub's when it has none.
func registryOf(image string) string {
	host, _, ok := strings.Cut(image, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return "index.docker.io"
	}
	if host == "docker.io" {
		return "index.docker.io"
	}
	return host
}

type dockerAuth struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// parseDockerConfig returns the credentials for a host in a secret of type
// kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg.
func parseDockerConfig(s *corev1.Secret, host string) []Auth {
	var cfg struct {
		Auths map[string]dockerAuth `json:"auths"`
	}
	if b := s.Data[corev1.DockerConfigJsonKey]; len(b) > 0 {
		if json.Unmarshal(b, &cfg) != nil {
			return nil
		}
	} else if json.Unmarshal(s.Data[corev1.DockerConfigKey], &cfg.Auths) != nil {
		return nil
	}
	var out []Auth
	for _, key := range sortedKeys(cfg.Auths) {
		name := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
		name, _, _ = strings.Cut(name, "/")
		if name == "docker.io" {
			name = "index.docker.io"
		}
		if name != host {
			continue
		}
		d := cfg.Auths[key]
		if raw, err := base64.StdEncoding.DecodeString(d.Auth); err == nil && d.Username == "" {
			d.Username, d.Password, _ = strings.Cut(string(raw), ":")
		}
		out = append(out, Auth{Username: d.Username, Password: d.Password,
			IdentityToken: d.IdentityToken, RegistryToken: d.RegistryToken})
	}
	return out
}
