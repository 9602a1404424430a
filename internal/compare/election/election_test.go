// Package election has client-go's leader election, which is kube-scheduler's, and ours compete for one Lease.
package election

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/internal/election"
)

const (
	leaseDuration = 8 * time.Second
	renewDeadline = 6 * time.Second
	retryPeriod   = 200 * time.Millisecond
)

// theirs and ours run a candidate until ctx ends.
func theirs(ctx context.Context, t *testing.T, kubeconfig, identity string, lead func(context.Context)) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Error(err)
		return
	}
	e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{LeaseMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "job"},
			Client: kubernetes.NewForConfigOrDie(cfg).CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: identity}},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: lead, OnStoppedLeading: func() {}},
	})
	if err != nil {
		t.Error(err)
		return
	}
	e.Run(ctx)
}

func ours(ctx context.Context, t *testing.T, c client.Interface, identity string, lead func(context.Context)) {
	e, err := election.New(election.Config{Client: c, Namespace: "kube-system", Name: "job", Identity: identity,
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod})
	if err == nil {
		err = e.Run(ctx, func(ctx context.Context) error { lead(ctx); return nil })
	}
	if err != nil {
		t.Error(err)
	}
}

// TestTogether: candidates of both kinds wait for each other, and follow each other at once when one gives the
// Lease back.
func TestTogether(t *testing.T) {
	api := apitest.Open(t)
	kubeconfig := api.Serve(t, "system:kube-scheduler")
	c, err := rest.New(rest.Config{Kubeconfig: kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var wg sync.WaitGroup
	var leaders atomic.Int32
	type term struct {
		identity string
		end      context.CancelFunc
	}
	terms := make(chan term)
	begin := func(i int) {
		ctx, cancel := context.WithCancel(t.Context())
		identity := fmt.Sprint(i)
		lead := func(ctx context.Context) {
			if leaders.Add(1) > 1 {
				t.Error("there are two leaders")
			}
			terms <- term{identity, cancel}
			<-ctx.Done()
		}
		wg.Go(func() {
			defer cancel()
			if i%2 == 0 {
				theirs(ctx, t, kubeconfig, identity, lead)
			} else {
				ours(ctx, t, c, identity, lead)
			}
		})
	}
	const n = 6
	for i := range n {
		begin(i)
	}
	kinds := map[string]int{}
	for range n {
		select {
		case x := <-terms:
			kinds[x.identity]++
			time.Sleep(500 * time.Millisecond) // some renewals
			leaders.Add(-1)
			x.end()
		case <-time.After(time.Minute):
			t.Fatal("nobody leads")
		}
	}
	wg.Wait()
	if len(kinds) != n {
		t.Errorf("terms by candidate: %v", kinds)
	}
}
