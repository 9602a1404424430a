package podspec

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// handler is what probes and lifecycle hooks do.
type handler struct {
	exec  *corev1.ExecAction
	http  *corev1.HTTPGetAction
	tcp   *corev1.TCPSocketAction
	grpc  *corev1.GRPCAction
	sleep *corev1.SleepAction
}

func (c *checker) probes(ctr *corev1.Container, path *field.Path) {
	if p := ctr.LivenessProbe; p != nil {
		c.probe(p, path.Child("livenessProbe"))
		c.onceIsEnough(p, path.Child("livenessProbe"))
	}
	if p := ctr.ReadinessProbe; p != nil {
		c.probe(p, path.Child("readinessProbe"))
		if p.TerminationGracePeriodSeconds != nil {
			c.Invalid(path.Child("readinessProbe", "terminationGracePeriodSeconds"), p.TerminationGracePeriodSeconds,
				"must not be set for readinessProbes")
		}
	}
	if p := ctr.StartupProbe; p != nil {
		c.probe(p, path.Child("startupProbe"))
		c.onceIsEnough(p, path.Child("startupProbe"))
	}
}

func (c *checker) onceIsEnough(p *corev1.Probe, path *field.Path) {
	if p.SuccessThreshold != 1 {
		c.Invalid(path.Child("successThreshold"), p.SuccessThreshold, "must be 1")
	}
}

func (c *checker) probe(p *corev1.Probe, path *field.Path) {
	c.handler(handler{exec: p.Exec, http: p.HTTPGet, tcp: p.TCPSocket, grpc: p.GRPC}, path)
	c.NonNegative(path.Child("initialDelaySeconds"), int64(p.InitialDelaySeconds))
	c.NonNegative(path.Child("timeoutSeconds"), int64(p.TimeoutSeconds))
	c.NonNegative(path.Child("periodSeconds"), int64(p.PeriodSeconds))
	c.NonNegative(path.Child("successThreshold"), int64(p.SuccessThreshold))
	c.NonNegative(path.Child("failureThreshold"), int64(p.FailureThreshold))
	if t := p.TerminationGracePeriodSeconds; t != nil && *t <= 0 {
		c.Invalid(path.Child("terminationGracePeriodSeconds"), *t, "must be greater than 0")
	}
}

func (c *checker) lifecycle(ctr *corev1.Container, path *field.Path) {
	l := ctr.Lifecycle
	if l == nil {
		return
	}
	path = path.Child("lifecycle")
	if h := l.PostStart; h != nil {
		c.handler(handler{exec: h.Exec, http: h.HTTPGet, tcp: h.TCPSocket, sleep: h.Sleep}, path.Child("postStart"))
	}
	if h := l.PreStop; h != nil {
		c.handler(handler{exec: h.Exec, http: h.HTTPGet, tcp: h.TCPSocket, sleep: h.Sleep}, path.Child("preStop"))
	}
	if l.StopSignal != nil {
		c.stopSignal(*l.StopSignal, path.Child("stopSignal"))
	}
}

func (c *checker) handler(h handler, path *field.Path) {
	n := 0
	one := func(set bool, name string, f func(*field.Path)) {
		switch {
		case !set:
		case n > 0:
			c.Forbidden(path.Child(name), "may not specify more than 1 handler type")
		default:
			n++
			f(path.Child(name))
		}
	}
	one(h.exec != nil, "exec", func(path *field.Path) {
		if len(h.exec.Command) == 0 {
			c.Required(path.Child("command"), "")
		}
	})
	one(h.http != nil, "httpGet", func(path *field.Path) { c.httpGet(h.http, path) })
	one(h.tcp != nil, "tcpSocket", func(path *field.Path) { c.PortOrName(path.Child("port"), h.tcp.Port) })
	one(h.grpc != nil, "grpc", func(path *field.Path) { c.PortOrName(path.Child("port"), intstr.FromInt32(h.grpc.Port)) })
	one(h.sleep != nil, "sleep", func(path *field.Path) {
		if grace := c.spec.TerminationGracePeriodSeconds; grace != nil && (h.sleep.Seconds < 0 || h.sleep.Seconds > *grace) {
			c.Invalid(path, h.sleep.Seconds, fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", *grace))
		}
	})
	if n == 0 {
		c.Required(path, "must specify a handler type")
	}
}

func (c *checker) httpGet(a *corev1.HTTPGetAction, path *field.Path) {
	if a.Path == "" {
		c.Required(path.Child("path"), "")
	}
	c.PortOrName(path.Child("port"), a.Port)
	check.Supported(&c.List, path.Child("scheme"), a.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)
	for _, h := range a.HTTPHeaders {
		c.Messages(path.Child("httpHeaders"), h.Name, validation.IsHTTPHeaderName(h.Name))
	}
}

func (c *checker) stopSignal(s corev1.Signal, path *field.Path) {
	switch os := c.spec.OS; {
	case os == nil:
		c.Forbidden(path, "may not be set for containers with empty `spec.os.name`")
	case os.Name == corev1.Windows:
		check.Supported(&c.List, path, s, corev1.SIGKILL, corev1.SIGTERM)
	case os.Name == corev1.Linux:
		check.Supported(&c.List, path, s, linuxSignals()...)
	}
}

// linuxSignals returns the signals by name, in the order of the API's messages.
func linuxSignals() []corev1.Signal {
	out := []corev1.Signal{
		"SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO",
		"SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGRTMAX",
	}
	for _, n := range []string{"1", "10", "11", "12", "13", "14", "2", "3", "4", "5", "6", "7", "8", "9"} {
		out = append(out, corev1.Signal("SIGRTMAX-"+n))
	}
	out = append(out, "SIGRTMIN")
	for _, n := range []string{"1", "10", "11", "12", "13", "14", "15", "2", "3", "4", "5", "6", "7", "8", "9"} {
		out = append(out, corev1.Signal("SIGRTMIN+"+n))
	}
	return append(out, "SIGSEGV", "SIGSTKFLT", "SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU",
		"SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ")
}
