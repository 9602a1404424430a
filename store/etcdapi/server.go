// Package etcdapi serves a store over gRPC as etcd does (https://etcd.io/docs/v3.6/learning/api/): etcdctl,
// the official client and kube-apiserver run on it unmodified. It is the only package that knows gRPC.
//
// Build programs with it with gRPC's own tag grpcnotrace: its request traces bring html/template, for which the
// linker keeps every exported method of every type. Of examples/cluster that is a sixth.
package etcdapi

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Server speaks the etcd v3 API: the services KV, Watch, Lease, Maintenance, Cluster, Auth and gRPC's Health.
// All methods may be called from any number of goroutines.
type Server struct {
	cfg    Config
	status statusCache
	// recv are the goroutines that read from clients' streams; gRPC ends them some time after a stream's
	// handler has returned.
	recv sync.WaitGroup
}

// New makes a server; it starts nothing.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg}
	s.status.cluster = cfg.Cluster
	return s, nil
}

// Register adds the services to a program's own gRPC server; see ServerOptions. Streams end when the
// store is closed, or when that server stops.
func (s *Server) Register(r grpc.ServiceRegistrar) { s.register(r, nil) }

func (s *Server) register(r grpc.ServiceRegistrar, stop <-chan struct{}) {
	pb.RegisterKVServer(r, &kvServer{Server: s})
	pb.RegisterWatchServer(r, &watchServer{Server: s, stop: stop})
	pb.RegisterLeaseServer(r, &leaseServer{Server: s, stop: stop})
	pb.RegisterMaintenanceServer(r, &maintenanceServer{Server: s})
	pb.RegisterClusterServer(r, &clusterServer{Server: s})
	pb.RegisterAuthServer(r, &authServer{Server: s})
	registerHealth(r)
}

// stopPatience is how long Serve waits for calls that are under way; streams end at once.
const stopPatience = 2 * time.Second

// Serve serves the API on a listener until ctx ends, and closes the listener. When it returns, nothing of
// it is left. It may be called several times, for several listeners.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := make(chan struct{})
	g := grpc.NewServer(s.ServerOptions()...)
	s.register(g, stop)
	failed := make(chan error, 1)
	go func() { failed <- g.Serve(l) }()
	var err error
	select {
	case err = <-failed:
		err = fmt.Errorf("etcdapi: serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	case <-s.cfg.Store.Done():
	}
	close(stop)
	stopServer(g)
	if err == nil {
		<-failed // its error only tells of the stop
	}
	s.recv.Wait()
	return err
}

// stopServer lets calls finish for a while.
func stopServer(g *grpc.Server) {
	stopped := make(chan struct{})
	go func() {
		g.GracefulStop()
		close(stopped)
	}()
	timeout := time.NewTimer(stopPatience)
	defer timeout.Stop()
	select {
	case <-stopped:
	case <-timeout.C:
		g.Stop()
		<-stopped
	}
}
