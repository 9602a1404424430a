package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// servingKey leads from a request's context to the context of Serve.
type servingKey struct{}

// shutdownGrace is how long requests on their way may take when Serve ends.
const shutdownGrace = time.Second

// Serve serves HTTPS on a listener until ctx ends, then ends watches, lets other requests finish and
// returns nil. It closes the listener. A nil tls.Config serves plain HTTP, which a listener of Pipe is
// good for; see package pki for one with certificates.
func (s *Server) Serve(ctx context.Context, ln net.Listener, config *tls.Config) error {
	base, stop := context.WithCancel(context.WithValue(context.Background(), servingKey{}, ctx))
	defer stop()
	hs := &http.Server{
		Handler:           s.Handler(),
		TLSConfig:         config,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       3 * time.Minute,
		MaxHeaderBytes:    1 << 20,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() {
		if config == nil {
			served <- hs.Serve(ln)
			return
		}
		served <- hs.ServeTLS(gatherListener{ln}, "", "")
	}()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	err := hs.Shutdown(grace)
	stop()
	if err != nil {
		err = hs.Close()
	}
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		return e
	}
	return err
}
