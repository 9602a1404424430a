package raft_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

var crashNumber = flag.Int("crash-member", -1, "makes TestCrashCluster the member of this number, in -crash-dir, until it is killed")

const crashMembers, crashMemberWriters = 3, 2

// TestCrashCluster kills members of a cluster of three processes, which talk over TLS, at random points:
// one, or all at once, the leader as likely as others. Every write that a member acknowledged is there.
func TestCrashCluster(t *testing.T) {
	if *crashNumber >= 0 {
		writeAsMember(t, *crashDir, *crashNumber)
		return
	}
	dir := t.TempDir()
	makeCrashCluster(t, dir)
	c := &crashCluster{t: t, dir: dir, acked: map[int]int{}, served: map[int]int{}, lives: map[int]int{}}
	defer c.killAll()
	for i := range crashMembers {
		c.start(i)
	}
	for round := range *crashRounds {
		c.progress(round)
		time.Sleep(time.Duration(rand.IntN(100_000)) * time.Microsecond)
		victims := []int{rand.IntN(crashMembers)}
		switch rand.IntN(5) {
		case 0:
			victims = []int{0, 1, 2}
		case 1:
			victims = append(victims, (victims[0]+1)%crashMembers)
		}
		for _, i := range victims {
			c.kill(i)
		}
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		for _, i := range victims {
			c.start(i)
		}
		if t.Failed() {
			return
		}
	}
	c.progress(*crashRounds)
	c.killAll()
	c.verify()
}

// crashCluster is the processes, and what they said.
type crashCluster struct {
	t       *testing.T
	dir     string
	mu      sync.Mutex
	acked   map[int]int // for each writer, the last write
	served  map[int]int // for each member, its acknowledgements since it started
	lives   map[int]int // for each writer, how often it was started since its last acknowledgement, and once
	members [crashMembers]*exec.Cmd
	reading [crashMembers]sync.WaitGroup
}

func (c *crashCluster) start(i int) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashCluster$", "-test.timeout=0", "-crash-dir="+c.dir, fmt.Sprint("-crash-member=", i))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.members[i] = cmd
	c.mu.Lock()
	c.served[i] = 0
	for w := i * crashMemberWriters; w < (i+1)*crashMemberWriters; w++ {
		c.lives[w]++
	}
	c.mu.Unlock()
	c.reading[i].Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var w, n int
			if k, _ := fmt.Sscanf(lines.Text(), "acked %d %d", &w, &n); k != 2 {
				c.t.Errorf("member %d says: %s", i, lines.Text())
				continue
			}
			c.mu.Lock()
			c.acked[w], c.lives[w] = max(c.acked[w], n), 1
			c.served[i]++
			c.mu.Unlock()
		}
	})
}

func (c *crashCluster) kill(i int) {
	if cmd := c.members[i]; cmd != nil {
		_ = cmd.Process.Kill()
		c.reading[i].Wait() // all that it said
		_ = cmd.Wait()
		c.members[i] = nil
	}
}

func (c *crashCluster) killAll() {
	for i := range c.members {
		c.kill(i)
	}
}

// progress waits until some member has acknowledged something since it was started, so that no round is idle.
// Now and then it waits for all of them.
func (c *crashCluster) progress(round int) {
	want := 1 + 2*(round%3/2)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		busy := 0
		c.mu.Lock()
		for _, n := range c.served {
			if n > 0 {
				busy++
			}
		}
		c.mu.Unlock()
		if busy >= want {
			return
		}
	}
	c.t.Errorf("round %d: %d members of %d do not come to write", round, want, crashMembers)
}

// verify opens what the killed processes left, and looks for all that they acknowledged.
func (c *crashCluster) verify() {
	var nodes [crashMembers]*raft.Node
	var opening sync.WaitGroup
	for i := range nodes {
		opening.Go(func() { nodes[i] = open(c.t, crashMemberConfig(c.t, c.dir, i)) })
	}
	opening.Wait()
	total := 0
	for i, n := range nodes {
		if n == nil {
			return
		}
		for w := range crashMembers * crashMemberWriters {
			r := readWriter(c.t, n.Store(), w)
			// One write of each life may have happened without having been acknowledged, and then was counted by
			// the next one, which went on behind it and may have been killed in turn.
			if r.Count < c.acked[w] || r.Count > c.acked[w]+c.lives[w] {
				c.t.Errorf("member %d: writer %d has %d keys, %d were acknowledged", i, w, r.Count, c.acked[w])
			}
			for j, e := range r.Entries {
				if e.Key != crashKey(w, j+1) || string(e.Value) != crashValue(j+1) {
					c.t.Fatalf("member %d: writer %d: entry %d is %+v", i, w, j+1, e)
				}
			}
			total += r.Count
		}
	}
	c.t.Logf("%d rounds of kills, %d writes, none lost", *crashRounds, total/crashMembers)
}

func crashValue(i int) string { return strings.Repeat(fmt.Sprint(i), 20) }

// readWriter reads all that a writer wrote; it tries until it can.
func readWriter(t *testing.T, s *store.Store, w int) store.RangeResult {
	prefix := crashPrefix(w)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		r, err := s.Range(ctx, store.Range{Key: prefix, End: store.PrefixEnd(prefix), Linearizable: true})
		cancel()
		if err == nil {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("read: %v", err)
		}
	}
}

// writeAsMember is a process of the cluster: it writes keys 1, 2, 3, ... for each of its writers.
func writeAsMember(t *testing.T, dir string, member int) {
	n, err := raft.Open(crashMemberConfig(t, dir, member))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := member * crashMemberWriters; w < (member+1)*crashMemberWriters; w++ {
		wg.Go(func() {
			for i := readWriter(t, n.Store(), w).Count + 1; ; {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				key := crashKey(w, i)
				_, err := n.Store().Txn(ctx, store.Txn{If: []store.Compare{store.IfMissing(key)}, Then: []store.Op{store.OpPut(key, []byte(crashValue(i)))}})
				cancel()
				switch {
				case errors.Is(err, store.ErrClosed):
					t.Errorf("the store closed itself: %v", err)
					return
				case err != nil: // it may have happened or not: the condition sees to it that it does once
					time.Sleep(5 * time.Millisecond)
					continue
				}
				fmt.Printf("acked %d %d\n", w, i)
				i++
			}
		})
	}
	wg.Wait()
}

// makeCrashCluster writes what the processes share: addresses, chosen once, and a certificate.
func makeCrashCluster(t *testing.T, dir string) {
	var addresses []string
	for range crashMembers {
		addresses = append(addresses, freeAddress(t))
	}
	if err := os.WriteFile(filepath.Join(dir, "addresses"), []byte(strings.Join(addresses, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	newAuthority(t).write(dir, "member")
}

func crashMemberConfig(t *testing.T, dir string, member int) raft.Config {
	b, err := os.ReadFile(filepath.Join(dir, "addresses"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := crashConfig(filepath.Join(dir, fmt.Sprint("member", member)))
	for i, a := range strings.Fields(string(b)) {
		cfg.Members = append(cfg.Members, raft.Member{ID: fmt.Sprint("n", i), Address: a})
	}
	cfg.Logger = nil // they complain of each other's deaths
	cfg.ID, cfg.Address = cfg.Members[member].ID, cfg.Members[member].Address
	cfg.ElectionTimeout = electionTimeout
	cfg.Network, err = raft.TLS(raft.TLSConfig{
		CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"), CAFile: filepath.Join(dir, "ca.pem"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
