package proxy

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// health tells load balancers whether this node has endpoints of a Service with the policy
// externalTrafficPolicy Local: by HTTP, at the Service's healthCheckNodePort, with kube-proxy's words.
// Only the loop touches it.
type health struct {
	log     *slog.Logger
	servers map[uint16]*healthServer
	// refused are the ports that could not be opened, so that each is told once.
	refused map[uint16]bool
}

type healthServer struct {
	state atomic.Pointer[healthState]
	http  *http.Server
	done  sync.WaitGroup
}

// healthState is what is told about one Service.
type healthState struct {
	service serviceKey
	// local is the number of ready endpoints on this node, healthy whether rules lead to them.
	local   int
	healthy bool
}

func newHealth(log *slog.Logger) *health {
	return &health{log: log, servers: map[uint16]*healthServer{}, refused: map[uint16]bool{}}
}

// set makes the ports that answer, and what they say, those of want.
func (h *health) set(want map[uint16]healthState) {
	for port, s := range h.servers {
		if _, ok := want[port]; !ok {
			s.close()
			delete(h.servers, port)
		}
	}
	for port := range h.refused {
		if _, ok := want[port]; !ok {
			delete(h.refused, port)
		}
	}
	for port, state := range want {
		s := h.servers[port]
		if s == nil {
			if s = h.open(port, state); s == nil {
				continue
			}
			h.servers[port] = s
		}
		s.state.Store(&state)
	}
}

// open starts to answer on a port; nil when it is taken.
func (h *health) open(port uint16, state healthState) *healthServer {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", ":"+strconv.Itoa(int(port)))
	if err != nil {
		if !h.refused[port] {
			h.log.Warn("can't answer at the healthCheckNodePort of a service; load balancers will think that this node has no endpoints of it",
				"service", state.service, "port", port, "error", err)
		}
		h.refused[port] = true
		return nil
	}
	delete(h.refused, port)
	s := &healthServer{}
	s.state.Store(&state)
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 1 << 14, ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}
	s.done.Go(func() { _ = s.http.Serve(l) })
	return s
}

func (s *healthServer) close() {
	_ = s.http.Close()
	s.done.Wait()
}

func (h *health) close() { h.set(nil) }

// ServeHTTP answers 200 while there are endpoints here that rules lead to, else 503.
func (s *healthServer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	state := s.state.Load()
	var body struct {
		Service struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"service"`
		LocalEndpoints      int  `json:"localEndpoints"`
		ServiceProxyHealthy bool `json:"serviceProxyHealthy"`
	}
	body.Service.Namespace, body.Service.Name = state.service.Namespace, state.service.Name
	body.LocalEndpoints, body.ServiceProxyHealthy = state.local, state.healthy
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(state.local))
	if state.local == 0 || !state.healthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(body)
}

// updateHealth tells the load balancers what the rules are now. Between syncs it also tries again to
// open ports that were taken.
func (p *Proxy) updateHealth(h *health) {
	want := map[uint16]healthState{}
	here := map[uint16]map[netip.Addr]bool{}
	for _, f := range p.families {
		for key, piece := range f.renderer.pieces {
			for i := range piece.ports {
				sp := &piece.ports[i]
				port := sp.HealthCheckNodePort
				if port == 0 {
					continue
				}
				if here[port] == nil {
					here[port] = map[netip.Addr]bool{}
				}
				for _, e := range sp.Endpoints {
					if e.Local && e.Ready {
						here[port][e.Addr.Addr()] = true
					}
				}
				healthy := !f.failed && (want[port].healthy || want[port].service == serviceKey{})
				want[port] = healthState{service: key, local: len(here[port]), healthy: healthy}
			}
		}
	}
	if len(want)+len(h.servers)+len(h.refused) > 0 {
		h.set(want)
	}
}
