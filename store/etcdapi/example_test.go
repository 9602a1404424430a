package etcdapi_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/etcdapi"
)

// A program serves its store to any etcd client.
func Example() {
	s, err := store.Open(store.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	server, err := etcdapi.New(etcdapi.Config{Store: s})
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- server.Serve(ctx, l) }()

	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if _, err := pb.NewKVClient(conn).Put(ctx, &pb.PutRequest{Key: []byte("colour"), Value: []byte("blue")}); err != nil {
		log.Fatal(err)
	}
	e, rev, err := s.Get(ctx, "colour")
	fmt.Println(string(e.Value), rev, err)

	cancel()
	fmt.Println(<-served)
	// Output:
	// blue 2 <nil>
	// <nil>
}
