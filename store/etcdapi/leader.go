package etcdapi

import (
	"context"
	"time"

	"google.golang.org/grpc/metadata"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// requiresLeader tells whether the client wants no answer of a member without a leader.
func requiresLeader(ctx context.Context) bool {
	v := metadata.ValueFromIncomingContext(ctx, rpctypes.MetadataRequireLeaderKey)
	return len(v) > 0 && v[0] == rpctypes.MetadataHasLeader
}

// leaderCheck watches over a stream whose client requires a leader.
type leaderCheck struct {
	server *Server
	ticker *time.Ticker // nil when there is nothing to watch over
	since  time.Time    // when the leader was last seen
}

func (s *Server) leaderCheck(ctx context.Context) leaderCheck {
	c := leaderCheck{server: s, since: time.Now()}
	if s.cfg.Cluster != nil && requiresLeader(ctx) {
		c.ticker = time.NewTicker(s.cfg.LeaderPatience / 4)
	}
	return c
}

// tick says when check is due; never for most streams.
func (c *leaderCheck) tick() <-chan time.Time {
	if c.ticker == nil {
		return nil
	}
	return c.ticker.C
}

// check fails when there was no leader for too long.
func (c *leaderCheck) check() error {
	if c.server.hasLeader() {
		c.since = time.Now()
	}
	if time.Since(c.since) > c.server.cfg.LeaderPatience {
		return rpctypes.ErrGRPCNoLeader
	}
	return nil
}

func (c *leaderCheck) stop() {
	if c.ticker != nil {
		c.ticker.Stop()
	}
}
