package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/inboard/inboard/store"
)

var healthPaths = []string{"/healthz", "/livez", "/readyz"}

// HealthCheck is one thing that has to be right for a server to be healthy.
type HealthCheck struct {
	// Name stands in answers, in /livez/NAME, and in ?exclude=NAME.
	Name string
	// Check returns what is wrong. Only who asks for the check by name is told, others see that it failed.
	Check func(ctx context.Context) error
	// ReadyOnly checks count for /readyz alone: they don't make the server look dead.
	ReadyOnly bool
}

// checks returns the server's own checks and those of its program.
func (s *Server) checks() []HealthCheck {
	own := []HealthCheck{
		{Name: "ping", Check: func(context.Context) error { return nil }},
		{Name: "store", Check: s.storeWorks},
		{Name: "bootstrap", ReadyOnly: true, Check: func(context.Context) error {
			select {
			case <-s.ready:
				return nil
			default:
				return errors.New("not finished")
			}
		}},
	}
	return append(own, s.cfg.HealthChecks...)
}

func (s *Server) storeWorks(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := s.store.Range(ctx, store.Range{Key: keyRoot})
	return err
}

// health answers as kube-apiserver does: "ok", or a line for each check.
func (c *call) health(path string) {
	kind, name, one := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	checks := slices.DeleteFunc(c.server.checks(), func(h HealthCheck) bool { return h.ReadyOnly && kind != "readyz" })
	if one {
		c.healthOf(checks, name)
		return
	}
	excluded, unknown := c.query["exclude"], slices.Clone(c.query["exclude"])
	var lines strings.Builder
	failed := false
	for _, h := range checks {
		unknown = slices.DeleteFunc(unknown, func(name string) bool { return name == h.Name })
		if slices.Contains(excluded, h.Name) {
			fmt.Fprintf(&lines, "[+]%s excluded: ok\n", h.Name)
			continue
		}
		if err := h.Check(c.r.Context()); err != nil {
			failed = true
			c.server.cfg.Logger.Warn("health check failed", "check", h.Name, "error", err)
			fmt.Fprintf(&lines, "[-]%s failed: reason withheld\n", h.Name)
			continue
		}
		fmt.Fprintf(&lines, "[+]%s ok\n", h.Name)
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		fmt.Fprintf(&lines, "warn: some health checks cannot be excluded: no matches for %s\n", quoted(slices.Compact(unknown)))
	}
	_, verbose := c.query["verbose"]
	switch {
	case failed:
		c.text(http.StatusInternalServerError, lines.String()+kind+" check failed\n")
	case verbose:
		c.text(http.StatusOK, lines.String()+kind+" check passed\n")
	default:
		c.text(http.StatusOK, "ok")
	}
}

// healthOf answers for one check.
func (c *call) healthOf(checks []HealthCheck, name string) {
	i := slices.IndexFunc(checks, func(h HealthCheck) bool { return h.Name == name })
	if i < 0 {
		c.noPage()
		return
	}
	if err := checks[i].Check(c.r.Context()); err != nil {
		c.text(http.StatusInternalServerError, fmt.Sprintf("internal server error: %v\n", err))
		return
	}
	c.write(http.StatusOK, "text/plain; charset=utf-8", []byte("ok"))
}

func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(out, ",")
}

func (c *call) text(code int, body string) {
	c.w.Header().Set("X-Content-Type-Options", "nosniff")
	c.write(code, "text/plain; charset=utf-8", []byte(body))
}
