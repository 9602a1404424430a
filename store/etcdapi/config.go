package etcdapi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/inboard/inboard/store"
)

// Config configures a server; zero values mean defaults, which are etcd's.
type Config struct {
	// Store is what is served. Required.
	Store *store.Store
	// Cluster tells of the cluster that the store is a replica of; nil for a store that is alone.
	Cluster Cluster
	// ClusterName names the cluster; its id is made of the name. By default "inboard".
	ClusterName string
	// Name is the name of the only member when there is no Cluster; by default "default".
	Name string
	// ClientURLs tells where a member serves this API, such as "https://10.0.0.1:2379"; clients that ask
	// for the list of members go there. nil tells nothing.
	ClientURLs func(member string) []string
	// TLS is the server's side of the connections; nil serves in plain text. Clients are asked for
	// certificates when ClientAuth says so.
	TLS *tls.Config
	// MaxRequestBytes bounds a request; by default 1.5 MiB. The store's MaxTxnBytes should be higher.
	MaxRequestBytes int
	// MaxTxnOps bounds the conditions and the operations of each branch of a transaction; by default 128.
	MaxTxnOps int
	// ProgressInterval is how often a quiet watch that asked for progress is told of it; by default 10
	// minutes.
	ProgressInterval time.Duration
	// RequestTimeout ends a request whose client set no deadline; by default 7 seconds.
	RequestTimeout time.Duration
	// LeaderPatience is how long a stream of a client that requires a leader lasts without one; by default
	// 3 seconds.
	LeaderPatience time.Duration
	// Logger is told about trouble; nil discards.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.Store == nil {
		return c, errors.New("etcdapi: Config.Store is nil; give the store that is to be served")
	}
	for _, f := range []struct {
		name  string
		value *int
		def   int
	}{
		{"MaxRequestBytes", &c.MaxRequestBytes, 1536 << 10},
		{"MaxTxnOps", &c.MaxTxnOps, 128},
	} {
		if *f.value < 0 {
			return c, fmt.Errorf("etcdapi: Config.%s is negative: %d", f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.def
		}
	}
	for _, f := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"ProgressInterval", &c.ProgressInterval, 10 * time.Minute},
		{"RequestTimeout", &c.RequestTimeout, 7 * time.Second},
		{"LeaderPatience", &c.LeaderPatience, 3 * time.Second},
	} {
		if *f.value < 0 {
			return c, fmt.Errorf("etcdapi: Config.%s is negative: %v", f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.def
		}
	}
	if c.ClusterName == "" {
		c.ClusterName = "inboard"
	}
	if c.Name == "" {
		c.Name = "default"
	}
	if c.ClientURLs == nil {
		c.ClientURLs = func(string) []string { return nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// overheadBytes is what a message may have beyond a request of the largest size, as in etcd.
const overheadBytes = 512 << 10

// ServerOptions are what Serve gives to its gRPC server, for programs that use Register. A program's own
// options come after them.
func (s *Server) ServerOptions() []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(s.cfg.MaxRequestBytes + overheadBytes),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxConcurrentStreams(math.MaxUint32),
		// As etcd's: clients may ping every five seconds.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 2 * time.Hour, Timeout: 20 * time.Second}),
	}
	if s.cfg.TLS != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(s.cfg.TLS)))
	}
	return opts
}
