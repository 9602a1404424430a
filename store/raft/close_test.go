package raft_test

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

// Close returns, and so does every call, also when changes are committed that are not applied yet.
func TestCloseAtAnyMoment(t *testing.T) {
	for round := range 30 {
		cfg := raft.Config{Dir: t.TempDir(), SegmentBytes: 64 << 10}
		cfg.SetFiles(newVolatileFiles()) // without syncs, so that there is more to apply
		n, err := raft.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for i := 0; ; i++ {
					op := store.OpPut(fmt.Sprintf("%d-%d", w, i), value(i))
					if _, err := n.Store().Txn(t.Context(), store.Txn{Then: []store.Op{op}}); err != nil {
						return
					}
				}
			})
		}
		time.Sleep(time.Duration(round) * 200 * time.Microsecond)
		closed := make(chan error, 1)
		go func() { closed <- n.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("Close does not return")
		}
		writers.Wait()
	}
}

// Every kind of future that raft gives can be made to end without an answer. If this fails, raft's futures have
// changed.
func TestFuturesEnd(t *testing.T) {
	_, memory := hraft.NewInmemTransport("a")
	rc := hraft.DefaultConfig()
	rc.LocalID, rc.LogOutput = "a", io.Discard
	logs, snapshots := hraft.NewInmemStore(), hraft.NewInmemSnapshotStore()
	err := hraft.BootstrapCluster(rc, logs, logs, snapshots, memory,
		hraft.Configuration{Servers: []hraft.Server{{ID: "a", Address: "a"}}})
	if err != nil {
		t.Fatal(err)
	}
	machine := &heldMachine{hold: make(chan struct{}), holds: make(chan struct{})}
	r, err := hraft.NewRaft(rc, machine, logs, logs, snapshots, memory)
	if err != nil {
		t.Fatal(err)
	}
	if !<-r.LeaderCh() {
		t.Fatal("does not lead")
	}
	r.Apply(nil, 0)
	<-machine.holds // from here on, what is committed waits to be applied
	futures := map[string]hraft.Future{
		"apply": r.Apply(nil, 0), "barrier": r.Barrier(0), "add": r.AddNonvoter("b", "b", 0, 0), "remove": r.RemoveServer("b", 0, 0),
		"snapshot": r.Snapshot(), "transfer": r.LeadershipTransferToServer("b", "b"),
	}
	halted := make(chan struct{})
	for name, f := range futures {
		if !raft.EndWith(f, halted) {
			t.Errorf("%s cannot be ended: %T", name, f)
		}
	}
	close(halted)
	for _, name := range []string{"apply", "barrier"} {
		if err := futures[name].Error(); !errors.Is(err, hraft.ErrRaftShutdown) {
			t.Errorf("%s, not applied: %v", name, err)
		}
	}
	close(machine.hold)
	if err := r.Shutdown().Error(); err != nil {
		t.Fatal(err)
	}
}

// heldMachine applies nothing until hold is closed.
type heldMachine struct {
	hraft.MockFSM
	hold, holds chan struct{}
	once        sync.Once
}

func (m *heldMachine) Apply(*hraft.Log) any {
	m.once.Do(func() { close(m.holds) })
	<-m.hold
	return nil
}

// A leader that closes hands over: the others go on before they could have missed it.
func TestClusterCloseHandsOver(t *testing.T) {
	const missed = 3 * time.Second
	c := &trio{t: t, authority: newAuthority(t), dir: t.TempDir(), configs: map[string]raft.Config{}, nodes: map[string]*raft.Node{}}
	var members []raft.Member
	for _, id := range []string{"a", "b", "c"} {
		members = append(members, raft.Member{ID: id, Address: freeAddress(t)})
	}
	for _, m := range members {
		c.configure(m.ID, m.Address, members)
		cfg := c.configs[m.ID]
		cfg.ElectionTimeout = missed
		c.configs[m.ID] = cfg
		c.open(m.ID)
	}
	for _, m := range members {
		c.ready(m.ID)
	}
	var took time.Duration
	for try := range 3 { // a machine that stands still for long cannot tell
		leader, through := c.leader(), c.follower()
		begun := time.Now()
		c.close(leader)
		c.put(through, "key", fmt.Sprint(try))
		if took = time.Since(begun); took < missed {
			break
		}
		c.open(leader)
		c.ready(leader)
	}
	if took >= missed {
		t.Errorf("a change takes %v after the leader has closed", took)
	}
	for id := range c.nodes {
		c.close(id)
	}
}
