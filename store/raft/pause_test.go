package raft_test

import (
	"bufio"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

var (
	pauseRounds = flag.Int("pause-rounds", 2, "how often TestPause stops a process of a cluster for a while")
	pauseNumber = flag.Int("pause-member", -1, "makes TestPause the member of this number, in -crash-dir, until it is killed")
)

// pauseClients is how many clients each process has.
const pauseClients = 2

// TestPause stops processes of a cluster (SIGSTOP) and lets them go on when the others have had another leader for
// long. A leader that comes back must neither answer linearizable reads with what it knows nor acknowledge what is
// lost. Each process has clients of its own, which put and read one key, and tells when each call began and ended
// on the clock that all processes share. Porcupine judges.
func TestPause(t *testing.T) {
	if *pauseNumber >= 0 {
		callUntilKilled(t, *crashDir, *pauseNumber)
		return
	}
	dir := t.TempDir()
	makeCrashCluster(t, dir)
	c := &pauseCluster{t: t, open: map[string]porcupine.Operation{}}
	defer c.killAll()
	for i := range crashMembers {
		c.start(dir, i)
	}
	c.progress(crashMembers)
	for range *pauseRounds {
		victim := c.leads()
		c.signal(victim, syscall.SIGSTOP)
		time.Sleep(4 * electionTimeout)
		c.progress(crashMembers - 1)
		c.signal(victim, syscall.SIGCONT)
		c.progress(crashMembers)
		if t.Failed() {
			return
		}
	}
	c.killAll()
	c.verify()
}

type pauseCluster struct {
	t       *testing.T
	members [crashMembers]*exec.Cmd
	reading sync.WaitGroup

	mu      sync.Mutex
	leader  int
	served  [crashMembers]int
	leaders int
	open    map[string]porcupine.Operation // calls that have not ended, by client and number
	ops     []porcupine.Operation
}

func (c *pauseCluster) start(dir string, i int) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestPause$", "-test.timeout=0", "-crash-dir="+dir, fmt.Sprint("-pause-member=", i))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.members[i] = cmd
	c.reading.Go(func() { c.read(i, out) })
}

// read takes what a process says: that it leads, or how a call begins or ends.
func (c *pauseCluster) read(i int, out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		var client, n int
		var at int64
		var what string
		c.mu.Lock()
		switch word {
		case "leads":
			c.leader, c.leaders = i, c.leaders+1
		case "begins", "ends":
			if _, err := fmt.Sscanf(rest, "%d %d %d %s", &client, &n, &at, &what); err != nil {
				c.t.Errorf("member %d says %q: %v", i, lines.Text(), err)
			}
			c.note(word == "begins", porcupine.Operation{ClientId: client}, fmt.Sprint(client, ".", n), at, what)
			if word == "ends" && what != "unknown" {
				c.served[i]++
			}
		default:
			c.t.Errorf("member %d says %q", i, lines.Text())
		}
		c.mu.Unlock()
	}
}

// note notes that a call begins or ends; c.mu is held.
func (c *pauseCluster) note(begins bool, op porcupine.Operation, id string, at int64, what string) {
	if begins {
		op.Call, op.Input = at, what
		c.open[id] = op
		return
	}
	op, ok := c.open[id]
	if !ok {
		c.t.Errorf("call %s ends that did not begin", id)
	}
	if what != "unknown" { // or else it may happen at any time, and stays open
		delete(c.open, id)
		op.Return, op.Output = at, what
		c.ops = append(c.ops, op)
	}
}

func (c *pauseCluster) leads() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

func (c *pauseCluster) signal(i int, s syscall.Signal) {
	if err := c.members[i].Process.Signal(s); err != nil {
		c.t.Error(err)
	}
}

// progress waits until so many members have been answered anew.
func (c *pauseCluster) progress(want int) {
	c.mu.Lock()
	before := c.served
	c.mu.Unlock()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		busy := 0
		c.mu.Lock()
		for i := range before {
			if c.served[i] > before[i]+5 {
				busy++
			}
		}
		c.mu.Unlock()
		if busy >= want {
			return
		}
	}
	c.t.Errorf("fewer than %d members are served", want)
}

func (c *pauseCluster) killAll() {
	for i, cmd := range c.members {
		if cmd != nil {
			_ = cmd.Process.Kill()
		}
		c.members[i] = nil
		defer func() {
			if cmd != nil {
				_ = cmd.Wait()
			}
		}()
	}
	c.reading.Wait()
}

// verify lets Porcupine judge: the key is a register, and every value is put once.
func (c *pauseCluster) verify() {
	end := int64(0)
	for _, op := range c.ops {
		end = max(end, op.Return)
	}
	for _, op := range c.open { // one may have begun last of all
		end = max(end, op.Call)
	}
	unknown := 0
	for _, op := range c.open {
		if op.Input != "get" { // a read without an answer says nothing
			op.Return, op.Output = end+1, "put"
			c.ops, unknown = append(c.ops, op), unknown+1
		}
	}
	model := porcupine.Model{
		Init: func() any { return "-" },
		Step: func(state, in, out any) (bool, any) {
			if in == "get" {
				return out == state, state
			}
			return true, in
		},
	}
	switch porcupine.CheckOperationsTimeout(model, c.ops, 2*time.Minute) {
	case porcupine.Illegal:
		c.t.Errorf("%d calls are not linearizable", len(c.ops))
		slices.SortFunc(c.ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		for _, op := range c.ops {
			c.t.Logf("client %d, %d to %d us: %v, %v", op.ClientId, op.Call/1000, op.Return/1000, op.Input, op.Output)
		}
	case porcupine.Unknown:
		c.t.Errorf("%d calls could not be judged in time", len(c.ops))
	}
	if c.leaders < 2 {
		c.t.Error("nobody else came to lead")
	}
	c.t.Logf("%d calls, %d puts of unknown outcome, %d leaders", len(c.ops), unknown, c.leaders)
}

// callUntilKilled is a process of the cluster.
func callUntilKilled(t *testing.T, dir string, member int) {
	cfg := crashMemberConfig(t, dir, member)
	cfg.Events.Leader = func(id string) {
		if id == cfg.ID {
			fmt.Println("leads now")
		}
	}
	n, err := raft.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	for k := range pauseClients {
		clients.Go(func() { callRegister(n.Store(), member*pauseClients+k) })
	}
	clients.Wait()
}

// sharedClock is the same for all processes, and goes on while they are stopped.
func sharedClock() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

func callRegister(s *store.Store, client int) {
	for n := 0; ; n++ {
		what, result := "get", ""
		if n%2 == client%2 {
			what = fmt.Sprint("v", client, ".", n)
		}
		fmt.Printf("begins %d %d %d %s\n", client, n, sharedClock(), what)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		if what == "get" {
			r, err := s.Range(ctx, store.Range{Key: "register", Linearizable: true})
			switch {
			case err != nil:
				result = "unknown"
			case len(r.Entries) == 0:
				result = "-"
			default:
				result = string(r.Entries[0].Value)
			}
		} else {
			_, err := s.Txn(ctx, store.Txn{Then: []store.Op{store.OpPut("register", []byte(what))}})
			if result = "put"; err != nil {
				result = "unknown"
			}
		}
		cancel()
		fmt.Printf("ends %d %d %d %s\n", client, n, sharedClock(), result)
		time.Sleep(2 * time.Millisecond)
	}
}
