package kubelet

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probeOutput bounds what of a probe's answer is read.
const probeOutput = 10 << 10

// probeEffect runs a probe once.
func (w *worker) probeEffect(a action) func(context.Context) func() {
	s := &w.state
	pod, c, r := s.Pod, findContainer(s.Pod, a.Container), s.record(a.Container)
	id, started := r.Current.ID, r.Current.StartedAt
	probe := r.probes(c)[a.Probe]
	ip := first(w.facts().PodIPs)
	return func(ctx context.Context) func() {
		pctx, cancel := context.WithTimeout(ctx, seconds(probe.TimeoutSeconds, 1))
		failure, err := w.k.runProbe(pctx, c, id, ip, probe)
		cancel()
		return func() {
			if ctx.Err() != nil || r.Current == nil || r.Current.ID != id || !r.running() {
				return
			}
			w.probed(pod, c, r, a.Probe, probe, failure, err, started)
		}
	}
}

// probed notes a probe's outcome.
func (w *worker) probed(pod *corev1.Pod, c *corev1.Container, r *record, kind probeKind, probe *corev1.Probe, failure string, err error, started time.Time) {
	ok := failure == "" && err == nil
	st := r.probeState(kind)
	counts := st.result(probe, kind, ok, started, time.Now())
	if ok || !counts {
		return
	}
	word := "failed"
	if err != nil {
		word, failure = "errored", err.Error()
	}
	w.k.containerEvent(pod, c.Name, corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe %s: %s", kind, word, failure))
	if st.Failed && r.Doomed == "" {
		r.Doomed = fmt.Sprintf("Container %s failed %s probe, will be restarted", c.Name, strings.ToLower(string(kind)))
	}
}

// runProbe returns what the container did wrong, or the error that kept the probe from running.
func (k *Kubelet) runProbe(ctx context.Context, c *corev1.Container, id, ip string, p *corev1.Probe) (string, error) {
	switch {
	case p.Exec != nil:
		return k.probeExec(ctx, id, p.Exec.Command)
	case p.HTTPGet != nil:
		return k.probeHTTP(ctx, c, ip, p.HTTPGet)
	case p.TCPSocket != nil:
		host := p.TCPSocket.Host
		if host == "" {
			host = ip
		}
		port, err := portOf(p.TCPSocket.Port, c)
		if err != nil {
			return "", err
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return err.Error(), nil
		}
		return "", conn.Close()
	case p.GRPC != nil:
		return "", errors.New("grpc probes are not supported by this kubelet; use httpGet, tcpSocket or exec")
	}
	return "", errors.New("the probe has no handler that this kubelet knows")
}

func (k *Kubelet) probeExec(ctx context.Context, id string, cmd []string) (string, error) {
	var out bytes.Buffer
	lw := &limitedWriter{w: &out, left: probeOutput}
	code, err := k.cfg.Runtime.Exec(ctx, id, cmd, nil, lw, lw)
	switch {
	case ctx.Err() != nil:
		return fmt.Sprintf("command timed out: %q", strings.Join(cmd, " ")), nil
	case err != nil:
		return "", err
	case code != 0 && out.Len() == 0:
		return fmt.Sprintf("command exited with code %d", code), nil
	case code != 0:
		return out.String(), nil
	}
	return "", nil
}

// limitedWriter drops what is too much.
type limitedWriter struct {
	w    io.Writer
	left int
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (k *Kubelet) probeHTTP(ctx context.Context, c *corev1.Container, ip string, h *corev1.HTTPGetAction) (string, error) {
	req, err := httpRequest(ctx, c, ip, h)
	if err != nil {
		return "", err
	}
	resp, err := k.probeClient.Do(req)
	if err != nil {
		return err.Error(), nil
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, probeOutput)
	if resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusBadRequest {
		return fmt.Sprintf("HTTP probe failed with statuscode: %d", resp.StatusCode), nil
	}
	return "", nil
}

// httpRequest makes the request of an httpGet probe or hook.
func httpRequest(ctx context.Context, c *corev1.Container, ip string, h *corev1.HTTPGetAction) (*http.Request, error) {
	port, err := portOf(h.Port, c)
	if err != nil {
		return nil, err
	}
	host := h.Host
	if host == "" {
		host = ip
	}
	scheme := strings.ToLower(string(h.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	u, err := url.Parse(h.Path)
	if err != nil {
		u = &url.URL{Path: h.Path}
	}
	u.Scheme, u.Host = scheme, net.JoinHostPort(host, strconv.Itoa(port))
	if !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "kube-probe/1.37")
	req.Header.Set("Accept", "*/*")
	for _, x := range h.HTTPHeaders {
		if strings.EqualFold(x.Name, "Host") {
			req.Host = x.Value
			continue
		}
		if req.Header.Get(x.Name) != "" && (x.Name == "User-Agent" || x.Name == "Accept") {
			req.Header.Del(x.Name)
		}
		req.Header.Add(x.Name, x.Value)
	}
	return req, nil
}

// portOf returns a port by its number or by the name that the container gave it.
func portOf(p intstr.IntOrString, c *corev1.Container) (int, error) {
	n := p.IntValue()
	if p.Type == intstr.String {
		for _, cp := range c.Ports {
			if cp.Name == p.StrVal {
				n = int(cp.ContainerPort)
			}
		}
	}
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("container %s has no port %q", c.Name, p.String())
	}
	return n, nil
}

// newProbeClient returns the client of probes and hooks: each request a connection of its own, no
// proxy, certificates not checked, redirects followed only on the same host.
func newProbeClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // a pod's certificate names no pod IP
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if req.URL.Hostname() != via[0].URL.Hostname() || len(via) >= 10 {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}

// runHook runs a lifecycle hook.
func (k *Kubelet) runHook(ctx context.Context, c *corev1.Container, id string, ips []string, h *corev1.LifecycleHandler) error {
	switch {
	case h.Exec != nil:
		var out bytes.Buffer
		lw := &limitedWriter{w: &out, left: probeOutput}
		code, err := k.cfg.Runtime.Exec(ctx, id, h.Exec.Command, nil, lw, lw)
		if err == nil && code != 0 {
			err = fmt.Errorf("command %q exited with %d: %s", strings.Join(h.Exec.Command, " "), code, firstLine(out.String()))
		}
		return err
	case h.HTTPGet != nil:
		req, err := httpRequest(ctx, c, first(ips), h.HTTPGet)
		if err != nil {
			return err
		}
		resp, err := k.probeClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode >= http.StatusBadRequest {
			return fmt.Errorf("the hook's server answered %s", resp.Status)
		}
		return nil
	case h.Sleep != nil:
		select {
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
		case <-ctx.Done():
		}
		return nil
	}
	return fmt.Errorf("the hook of container %s has no handler that this kubelet knows", c.Name)
}
