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

// check is one thing that has to be right for the server to be healthy.
type check struct {
	name string
	ok   func(ctx context.Context) error
	// readyOnly checks don't make the server look dead.
	readyOnly bool
}

func (s *Server) checks() []check {
	return []check{
		{name: "ping", ok: func(context.Context) error { return nil }},
		{name: "store", ok: s.storeWorks},
		{name: "bootstrap", readyOnly: true, ok: func(context.Context) error {
			select {
			case <-s.ready:
				return nil
			default:
				return errors.New("not finished")
			}
		}},
	}
}

func (s *Server) storeWorks(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := s.store.Range(ctx, store.Range{Key: keyRoot})
	return err
}

// health answers as kube-apiserver does: "ok", or a line for each check.
func (c *call) health(path string) {
	parts := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 2)
	var lines strings.Builder
	failed, known := false, false
	for _, ch := range c.server.checks() {
		if ch.readyOnly && parts[0] != "readyz" || len(parts) == 2 && parts[1] != ch.name {
			continue
		}
		known = true
		switch err := ch.ok(c.r.Context()); {
		case slices.Contains(c.query["exclude"], ch.name):
			fmt.Fprintf(&lines, "[+]%s excluded: ok\n", ch.name)
		case err != nil:
			failed = true
			c.server.cfg.Logger.Warn("health check failed", "check", ch.name, "error", err)
			fmt.Fprintf(&lines, "[-]%s failed: reason withheld\n", ch.name)
		default:
			fmt.Fprintf(&lines, "[+]%s ok\n", ch.name)
		}
	}
	_, verbose := c.query["verbose"]
	switch {
	case !known:
		c.noPage()
	case failed:
		c.text(http.StatusInternalServerError, lines.String()+parts[0]+" check failed\n")
	case verbose:
		c.text(http.StatusOK, lines.String()+parts[0]+" check passed\n")
	default:
		c.text(http.StatusOK, "ok")
	}
}

func (c *call) text(code int, body string) {
	c.w.Header().Set("X-Content-Type-Options", "nosniff")
	c.write(code, "text/plain; charset=utf-8", []byte(body))
}
