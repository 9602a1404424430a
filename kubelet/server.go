package kubelet

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// listen opens the port of the HTTPS API, when it is configured.
func (k *Kubelet) listen() error {
	s := k.cfg.Server
	if s.TLS == nil {
		return nil
	}
	l := s.Listener
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", s.Address); err != nil {
			return fmt.Errorf("kubelet: can't listen for the HTTPS API: %w; set Config.Server.Address to a free port", err)
		}
	}
	k.listener = l
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		k.port = int32(a.Port)
	}
	return nil
}

// serveHTTPS serves until ctx ends. Every client has to show a certificate that ClientCAs signed, and to be
// allowed.
func (k *Kubelet) serveHTTPS(ctx context.Context) error {
	conf := k.cfg.Server.TLS.Clone()
	conf.ClientAuth = tls.RequireAndVerifyClientCert
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	srv := &http.Server{
		Handler: guarded(k.Handler(), k.cfg.Server.Allow), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:    slog.NewLogLogger(k.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	err := srv.Serve(tls.NewListener(k.listener, conf))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Handler is the kubelet's HTTP API without its TLS: /healthz, /pods and
// /containerLogs/{namespace}/{pod}/{container}. It does not authenticate; Run serves it to those
// only whom ServerConfig.Allow lets in.
func (k *Kubelet) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc("GET /pods", k.servePods)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.serveLogs)
	return mux
}

func (k *Kubelet) servePods(w http.ResponseWriter, _ *http.Request) {
	list := corev1.PodList{}
	list.APIVersion, list.Kind = "v1", "PodList"
	for _, p := range k.podView.List("") {
		list.Items = append(list.Items, *p)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}

// serveLogs answers kubectl logs.
func (k *Kubelet) serveLogs(w http.ResponseWriter, r *http.Request) {
	ns, name, container := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")
	opts, previous, err := logOptions(r.URL.Query(), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pod, ok := k.podView.Get(ns, name)
	if !ok {
		http.Error(w, fmt.Sprintf("pod %q does not exist", name), http.StatusNotFound)
		return
	}
	if findContainer(pod, container) == nil {
		http.Error(w, fmt.Sprintf("container %q not found in pod %q", container, name), http.StatusNotFound)
		return
	}
	logs, err := k.containerLog(r.Context(), pod, container, previous)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	opts.Ended = logs.ended
	w.Header().Set("Content-Type", "text/plain")
	out := &flushWriter{w: w}
	out.flush() // a follower sees the answer begin
	if err := ReadLog(r.Context(), logs.path, opts, out); err != nil && r.Context().Err() == nil {
		k.log.Warn("can't read a log", "path", logs.path, "err", err)
	}
}

// flushWriter sends each piece on at once.
type flushWriter struct{ w http.ResponseWriter }

func (f *flushWriter) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.flush()
	return n, err
}

func (f *flushWriter) flush() { _ = http.NewResponseController(f.w).Flush() }

// containerLog is where the log of a run of a container is.
type containerLog struct {
	path  string
	ended func() bool
}

// containerLog finds the log of a container's current or previous run.
func (k *Kubelet) containerLog(ctx context.Context, pod *corev1.Pod, name string, previous bool) (containerLog, error) {
	k.mu.Lock()
	w := k.workers[pod.UID]
	k.mu.Unlock()
	if w == nil {
		return containerLog{}, fmt.Errorf("pod %q is gone", pod.Name)
	}
	answer := make(chan [2]*Container, 1)
	w.report(func() {
		r := w.state.peek(name)
		answer <- [2]*Container{r.Current, r.Last}
	})
	var runs [2]*Container
	select {
	case runs = <-answer:
	case <-ctx.Done():
		return containerLog{}, ctx.Err()
	}
	c := runs[0]
	if previous {
		if c = runs[1]; c == nil || c.LogPath == "" {
			return containerLog{}, fmt.Errorf("previous terminated container %q in pod %q not found", name, pod.Name)
		}
	}
	if c == nil || c.LogPath == "" {
		return containerLog{}, fmt.Errorf("container %q in pod %q is waiting to start", name, pod.Name)
	}
	return containerLog{c.LogPath, func() bool { return k.containerEnded(ctx, w, name, c.ID) }}, nil
}

// containerEnded tells that a run of a container is over.
func (k *Kubelet) containerEnded(ctx context.Context, w *worker, name, id string) bool {
	answer := make(chan bool, 1)
	w.report(func() {
		r := w.state.peek(name)
		answer <- r.Current == nil || r.Current.ID != id || r.exited()
	})
	select {
	case ended := <-answer:
		return ended
	case <-w.finished:
		return true
	case <-ctx.Done():
		return true
	}
}

// logOptions reads the query of a log request; see corev1.PodLogOptions.
func logOptions(q url.Values, now time.Time) (opts LogOptions, previous bool, err error) {
	flag := func(name string) bool {
		v, perr := strconv.ParseBool(q.Get(name))
		if q.Has(name) && q.Get(name) != "" && perr != nil {
			err = fmt.Errorf("%s=%q is not true or false", name, q.Get(name))
		}
		return v
	}
	number := func(name string, least int64) *int64 {
		if !q.Has(name) {
			return nil
		}
		n, perr := strconv.ParseInt(q.Get(name), 10, 64)
		if perr != nil || n < least {
			err = fmt.Errorf("%s=%q is not a number from %d on", name, q.Get(name), least)
			return nil
		}
		return &n
	}
	opts.Follow, opts.Timestamps, previous = flag("follow"), flag("timestamps"), flag("previous")
	opts.Tail, opts.Limit = number("tailLines", 0), number("limitBytes", 1)
	if s := number("sinceSeconds", 1); s != nil {
		opts.Since = now.Add(-time.Duration(*s) * time.Second)
	}
	if t := q.Get("sinceTime"); t != "" {
		at, perr := time.Parse(time.RFC3339, t)
		if perr != nil {
			err = fmt.Errorf("sinceTime=%q is not an RFC 3339 time", t)
		}
		opts.Since = at
	}
	switch q.Get("stream") {
	case "Stdout":
		opts.Stream = "stdout"
	case "Stderr":
		opts.Stream = "stderr"
	}
	return opts, previous, err
}
