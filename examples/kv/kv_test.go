package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	for args, want := range map[string]string{
		"":                              "",
		"-nodes 5 -etcd 127.0.0.1:2379": "",
		"-nodes 2":                      "-nodes: 2",
		"-node 4":                       "-node",
		"-demo -nodes 1":                "-demo",
		"-demo -node 1":                 "-demo",
		"-etcd 127.0.0.1":               "-etcd",
		"-etcd 127.0.0.1:65534":         "-etcd",
		"-peers 127.0.0.1:0":            "-peers",
		"something":                     "something",
	} {
		_, err := parse(strings.Fields(args), &bytes.Buffer{})
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", args, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v does not speak of %s", args, err, want)
		}
	}
}

// freePorts is an address from which so many ports are free.
func freePorts(t *testing.T, n int) string {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		first := l.Addr().String()
		free := true
		var held []net.Listener
		for i := 1; i < n; i++ {
			address, err := port(first, i)
			if err != nil {
				free = false
				break
			}
			next, err := net.Listen("tcp", address)
			if err != nil {
				free = false
				break
			}
			held = append(held, next)
		}
		for _, h := range append(held, l) {
			h.Close()
		}
		if free {
			return first
		}
	}
	t.Fatal("no free ports")
	return ""
}

// Three nodes in this process: what one takes, another has; after a restart it is still there.
func TestNodes(t *testing.T) {
	o := &options{nodes: 3, dir: t.TempDir(), etcd: freePorts(t, 3), peers: freePorts(t, 3)}
	up := grpc.WaitForReady(true) // two nodes make a leader: the third may not serve yet
	for life := range 2 {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, o, &bytes.Buffer{}) }()
		c, err := dialAll(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.leader(ctx, time.Minute); err != nil {
			t.Fatal(err)
		}
		call, cancel := context.WithTimeout(ctx, time.Minute)
		if life == 0 {
			if _, err := pb.NewKVClient(c.conns[0]).Put(call, &pb.PutRequest{Key: []byte("k"), Value: []byte("v")}, up); err != nil {
				t.Fatal(err)
			}
		}
		r, err := pb.NewKVClient(c.conns[2]).Range(call, &pb.RangeRequest{Key: []byte("k")}, up)
		if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != "v" {
			t.Errorf("life %d: node3 reads %v, %v", life, r, err)
		}
		list, err := pb.NewClusterClient(c.conns[1]).MemberList(call, &pb.MemberListRequest{}, up)
		if err != nil || len(list.Members) != 3 || len(list.Members[0].ClientURLs) != 1 {
			t.Errorf("life %d: members %v, %v", life, list, err)
		}
		moveLeader(call, t, c, list.GetMembers())
		cancel()
		c.close()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("life %d: %v", life, err)
		}
	}
}

// moveLeader hands leadership to another member, and sees it there.
func moveLeader(ctx context.Context, t *testing.T, c *clients, members []*pb.Member) {
	from, err := c.leader(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if m.Name == nodeName(from%3+1) {
			_, err = pb.NewMaintenanceClient(c.conns[from-1]).MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: m.ID}, grpc.WaitForReady(true))
		}
	}
	to, failed := c.leader(ctx, time.Minute)
	if err != nil || failed != nil || to != from%3+1 {
		t.Errorf("leadership went from node%d to node%d: %v, %v", from, to, err, failed)
	}
}

// The demo kills a process, finds everything, and leaves nothing.
func TestDemo(t *testing.T) {
	program := filepath.Join(t.TempDir(), "kv")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	temp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "-demo", "-etcd", freePorts(t, 3), "-peers", freePorts(t, 3))
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "nothing is lost\n") || !strings.Contains(string(out), "kill -9") {
		t.Errorf("%v\n%s", err, out)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
