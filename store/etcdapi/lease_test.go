package etcdapi_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/inboard/inboard/store/etcdapi"
)

func TestLease(t *testing.T) {
	c := serve(t, etcdapi.Config{})
	g, err := c.lease.LeaseGrant(t.Context(), &pb.LeaseGrantRequest{ID: 7, TTL: 100})
	if err != nil || g.ID != 7 || g.TTL != 100 {
		t.Fatal(g, err)
	}
	if g, err := c.lease.LeaseGrant(t.Context(), &pb.LeaseGrantRequest{TTL: -1}); err != nil || g.ID <= 0 || g.TTL != 1 {
		t.Error("a lease of a chosen id and the least time", g, err)
	}
	for name, test := range map[string]struct {
		err  func() error
		want error
	}{
		"taken id": {func() error {
			_, err := c.lease.LeaseGrant(t.Context(), &pb.LeaseGrantRequest{ID: 7, TTL: 100})
			return err
		}, rpctypes.ErrGRPCLeaseExist},
		"too long": {func() error {
			_, err := c.lease.LeaseGrant(t.Context(), &pb.LeaseGrantRequest{TTL: 1 << 40})
			return err
		}, rpctypes.ErrGRPCLeaseTTLTooLarge},
		"revoke of nothing": {func() error {
			_, err := c.lease.LeaseRevoke(t.Context(), &pb.LeaseRevokeRequest{ID: 99})
			return err
		}, rpctypes.ErrGRPCLeaseNotFound},
		"put of nothing": {func() error {
			_, err := c.Put(t.Context(), &pb.PutRequest{Key: []byte("k"), Lease: 99})
			return err
		}, rpctypes.ErrGRPCLeaseNotFound},
	} {
		if err := test.err(); err == nil || err.Error() != test.want.Error() {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if _, err := c.Put(t.Context(), &pb.PutRequest{Key: []byte("k"), Lease: 7}); err != nil {
		t.Fatal(err)
	}
	l, err := c.lease.LeaseTimeToLive(t.Context(), &pb.LeaseTimeToLiveRequest{ID: 7, Keys: true})
	if err != nil || l.GrantedTTL != 100 || l.TTL < 50 || len(l.Keys) != 1 || string(l.Keys[0]) != "k" {
		t.Error(l, err)
	}
	if l, err := c.lease.LeaseTimeToLive(t.Context(), &pb.LeaseTimeToLiveRequest{ID: 99}); err != nil || l.TTL != -1 {
		t.Error(l, err)
	}
	if _, err := c.lease.LeaseRevoke(t.Context(), &pb.LeaseRevokeRequest{ID: 7}); err != nil {
		t.Fatal(err)
	}
	if r, err := c.Range(t.Context(), &pb.RangeRequest{Key: []byte("k")}); err != nil || r.Count != 0 {
		t.Error("the key outlived its lease", r, err)
	}
}

func TestKeepAlive(t *testing.T) {
	c := serve(t, etcdapi.Config{})
	if _, err := c.lease.LeaseGrant(t.Context(), &pb.LeaseGrantRequest{ID: 7, TTL: 2}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := c.lease.LeaseKeepAlive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(id, want int64) {
		t.Helper()
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
		if r, err := stream.Recv(); err != nil || r.ID != id || r.TTL != want {
			t.Fatalf("%v, %v, want TTL %d", r, err, want)
		}
	}
	ask(99, 0)
	for begin := time.Now(); time.Since(begin) < 3*time.Second; time.Sleep(200 * time.Millisecond) {
		ask(7, 2)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}
