package iptables_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/proxy"
	"github.com/inboard/inboard/proxy/iptables"
)

// A program that routes the services of its cluster for a minute, and leaves nothing behind. It needs
// root, and so is compiled but not run as a test.
func Example() {
	var api client.Interface // of a server in the same process, or of package rest
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	applier, err := iptables.New(iptables.Config{})
	if errors.Is(err, proxy.ErrNotInstalled) || errors.Is(err, proxy.ErrNotPermitted) {
		fmt.Println("services are not routed:", err) // the error says what to do
		return
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := proxy.New(proxy.Config{Client: api, Applier: applier, NodeName: "node-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Run(ctx))
}
