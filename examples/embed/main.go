// Command embed is an API server and a scheduler inside a program of your own.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/scheduler"
	"github.com/inboard/inboard/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	st := must(store.Open(store.Config{})) // in memory; store/raft has a durable one
	defer st.Close()
	api := must(apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All(),
		// What only controllers undo: the taint of new nodes, the finalizers of volumes. Leave this line out when
		// your program runs those of package controller/builtin too.
		DisableAdmission: []string{"TaintNodesByCondition", "StorageObjectInUseProtection"}}))
	sched := must(scheduler.New(scheduler.Config{
		Client: api.Client(apiserver.Identity{User: "system:kube-scheduler"})})) // no socket between them
	ca := must(pki.New("example"))
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	go api.Run(ctx)
	go sched.Run(ctx)
	config := pki.Kubeconfig{Server: "https://" + ln.Addr().String(), Authority: ca.CertificatePEM(),
		Client: must(ca.Client("me", apiserver.GroupMasters))}
	check(config.Write("embed.kubeconfig"))
	fmt.Println("try: kubectl --kubeconfig embed.kubeconfig get namespaces")
	check(api.Serve(ctx, ln, ca.ServerTLS(must(ca.Server("127.0.0.1")))))
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
