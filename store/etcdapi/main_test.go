package etcdapi_test

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/etcdapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what should take no time.
const patience = 30 * time.Second

// client is a server and the generated clients of its services.
type client struct {
	pb.KVClient
	watch   pb.WatchClient
	lease   pb.LeaseClient
	maint   pb.MaintenanceClient
	members pb.ClusterClient
	auth    pb.AuthClient
	conn    *grpc.ClientConn
	store   *store.Store
}

// serve starts a server, over connections in memory, for the length of the test.
func serve(t testing.TB, cfg etcdapi.Config) *client {
	t.Helper()
	if cfg.Store == nil {
		s, err := store.Open(store.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		cfg.Store = s
	}
	srv, err := etcdapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := bufconn.Listen(1 << 20)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	conn, err := grpc.NewClient("passthrough:///store", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{
		KVClient: pb.NewKVClient(conn), watch: pb.NewWatchClient(conn), lease: pb.NewLeaseClient(conn),
		maint: pb.NewMaintenanceClient(conn), members: pb.NewClusterClient(conn), auth: pb.NewAuthClient(conn),
		conn: conn, store: cfg.Store,
	}
}

func put(t testing.TB, c *client, key, value string) int64 {
	t.Helper()
	r, err := c.Put(t.Context(), &pb.PutRequest{Key: []byte(key), Value: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}
