package kubelet

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// sources are the API objects that a pod's environment and volumes are made from.
type sources interface {
	ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
	// Services returns all services of a namespace.
	Services(namespace string) []*corev1.Service
	// Token returns a service account token bound to the pod.
	Token(ctx context.Context, pod *corev1.Pod, audience string, seconds int64) (string, error)
}

// podFacts are what fields of a pod that is about to start are told from.
type podFacts struct {
	Pod      *corev1.Pod
	PodIPs   []string
	HostIPs  []string
	NodeName string
	// Allocatable stands for limits that a container does not set.
	Allocatable corev1.ResourceList
}

// envBuilder collects a container's environment; a later value of a name replaces the earlier one
// in its place.
type envBuilder struct {
	vars  []EnvVar
	index map[string]int
}

func (e *envBuilder) set(name, value string) {
	if i, ok := e.index[name]; ok {
		e.vars[i].Value = value
		return
	}
	if e.index == nil {
		e.index = map[string]int{}
	}
	e.index[name] = len(e.vars)
	e.vars = append(e.vars, EnvVar{name, value})
}

func (e *envBuilder) get(name string) (string, bool) {
	i, ok := e.index[name]
	if !ok {
		return "", false
	}
	return e.vars[i].Value, true
}

// makeEnv returns a container's environment: the services', then envFrom, then env, where env may
// refer with $(NAME) to all that comes before.
func makeEnv(ctx context.Context, src sources, f podFacts, c *corev1.Container) ([]EnvVar, error) {
	var e envBuilder
	for _, v := range serviceEnv(src, f.Pod) {
		e.set(v.Name, v.Value)
	}
	for _, from := range c.EnvFrom {
		if err := envFrom(ctx, src, f.Pod.Namespace, from, &e); err != nil {
			return nil, err
		}
	}
	for _, v := range c.Env {
		if v.ValueFrom == nil {
			e.set(v.Name, expand(v.Value, e.get))
			continue
		}
		value, ok, err := envValue(ctx, src, f, c, v.ValueFrom)
		if err != nil {
			return nil, err
		}
		if ok {
			e.set(v.Name, value)
		}
	}
	return e.vars, nil
}

func envFrom(ctx context.Context, src sources, namespace string, from corev1.EnvFromSource, e *envBuilder) error {
	data := map[string]string{}
	switch {
	case from.ConfigMapRef != nil:
		m, err := src.ConfigMap(ctx, namespace, from.ConfigMapRef.Name)
		if missing(err, from.ConfigMapRef.Optional) {
			return nil
		}
		if err != nil {
			return refError("configmap", from.ConfigMapRef.Name, err)
		}
		data = m.Data
	case from.SecretRef != nil:
		s, err := src.Secret(ctx, namespace, from.SecretRef.Name)
		if missing(err, from.SecretRef.Optional) {
			return nil
		}
		if err != nil {
			return refError("secret", from.SecretRef.Name, err)
		}
		for k, v := range s.Data {
			data[k] = string(v)
		}
	}
	for _, k := range sortedKeys(data) {
		e.set(from.Prefix+k, data[k])
	}
	return nil
}

// missing tells that an optional object does not exist.
func missing(err error, optional *bool) bool {
	return err != nil && optional != nil && *optional && apierrors.IsNotFound(err)
}

// refError words an error the way the kubelet does.
func refError(kind, name string, err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%s %q not found", kind, name)
	}
	return fmt.Errorf("can't get %s %q: %w", kind, name, err)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func envValue(ctx context.Context, src sources, f podFacts, c *corev1.Container, from *corev1.EnvVarSource) (string, bool, error) {
	ns := f.Pod.Namespace
	switch {
	case from.FieldRef != nil:
		v, err := podField(f, from.FieldRef.FieldPath)
		return v, err == nil, err
	case from.ResourceFieldRef != nil:
		v, err := resourceField(f, c, from.ResourceFieldRef)
		return v, err == nil, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		m, err := src.ConfigMap(ctx, ns, ref.Name)
		if missing(err, ref.Optional) {
			return "", false, nil
		}
		if err != nil {
			return "", false, refError("configmap", ref.Name, err)
		}
		v, ok := m.Data[ref.Key]
		if !ok && (ref.Optional == nil || !*ref.Optional) {
			return "", false, fmt.Errorf("couldn't find key %s in ConfigMap %s/%s", ref.Key, ns, ref.Name)
		}
		return v, ok, nil
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		s, err := src.Secret(ctx, ns, ref.Name)
		if missing(err, ref.Optional) {
			return "", false, nil
		}
		if err != nil {
			return "", false, refError("secret", ref.Name, err)
		}
		v, ok := s.Data[ref.Key]
		if !ok && (ref.Optional == nil || !*ref.Optional) {
			return "", false, fmt.Errorf("couldn't find key %s in Secret %s/%s", ref.Key, ns, ref.Name)
		}
		return string(v), ok, nil
	}
	return "", false, fmt.Errorf("an env's valueFrom has no source that this kubelet knows")
}

// serviceEnv returns the variables that tell a pod of the services: those of its own namespace
// unless it declines them, and always the API server's.
func serviceEnv(src sources, pod *corev1.Pod) []EnvVar {
	var list []*corev1.Service
	links := pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks
	if links {
		list = append(list, src.Services(pod.Namespace)...)
	}
	if !links || pod.Namespace != "default" {
		for _, s := range src.Services("default") {
			if s.Name == "kubernetes" && !slices.ContainsFunc(list, func(o *corev1.Service) bool { return o.Name == s.Name }) {
				list = append(list, s)
			}
		}
	}
	list = slices.DeleteFunc(list, func(s *corev1.Service) bool {
		return s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone || len(s.Spec.Ports) == 0
	})
	slices.SortFunc(list, func(a, b *corev1.Service) int { return strings.Compare(a.Name, b.Name) })
	var out []EnvVar
	for _, s := range list {
		out = append(out, serviceVars(s)...)
	}
	return out
}

// serviceVars returns {NAME}_SERVICE_HOST and its siblings, and the variables of Docker links.
func serviceVars(s *corev1.Service) []EnvVar {
	name := envName(s.Name)
	ip := s.Spec.ClusterIP
	out := []EnvVar{
		{name + "_SERVICE_HOST", ip},
		{name + "_SERVICE_PORT", strconv.Itoa(int(s.Spec.Ports[0].Port))},
	}
	for _, p := range s.Spec.Ports {
		if p.Name != "" {
			out = append(out, EnvVar{name + "_SERVICE_PORT_" + envName(p.Name), strconv.Itoa(int(p.Port))})
		}
	}
	for i, p := range s.Spec.Ports {
		proto := "TCP"
		if p.Protocol != "" {
			proto = string(p.Protocol)
		}
		port := strconv.Itoa(int(p.Port))
		url := strings.ToLower(proto) + "://" + net.JoinHostPort(ip, port)
		if i == 0 {
			out = append(out, EnvVar{name + "_PORT", url})
		}
		prefix := name + "_PORT_" + port + "_" + strings.ToUpper(proto)
		out = append(out, EnvVar{prefix, url}, EnvVar{prefix + "_PROTO", strings.ToLower(proto)},
			EnvVar{prefix + "_PORT", port}, EnvVar{prefix + "_ADDR", ip})
	}
	return out
}

func envName(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "_")) }
