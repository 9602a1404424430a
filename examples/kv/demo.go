package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// How long the demo writes before and after the leader is gone, and how many write at once.
const (
	demoBefore  = 2 * time.Second
	demoAfter   = 2 * time.Second
	demoWriters = 20
	// demoPatience bounds each wait for the nodes.
	demoPatience = time.Minute
)

// demo runs the nodes as processes of their own, so that a kill is a kill, and writes while the leader dies.
func demo(ctx context.Context, o *options, out io.Writer) error {
	d := &demonstration{options: o, out: out, processes: map[int]*exec.Cmd{}}
	defer d.stop()
	if err := d.startAll(ctx); err != nil {
		return err
	}
	clients, err := dialAll(o)
	if err != nil {
		return err
	}
	defer clients.close()
	leader, err := clients.leader(ctx, demoPatience)
	if err != nil {
		return err
	}
	d.say("%s leads (process %d)", nodeName(leader), d.processes[leader].Process.Pid)

	writing, stopWriting := context.WithCancel(ctx)
	defer stopWriting()
	w := newWriters(clients)
	var wg sync.WaitGroup
	for i := range demoWriters {
		wg.Go(func() { w.write(writing, i) })
	}
	if err := sleep(ctx, demoBefore); err != nil {
		return err
	}
	d.say("%d writes acknowledged; now kill -9 %d: %s, the leader, is gone", w.count(), d.processes[leader].Process.Pid, nodeName(leader))
	before := w.count()
	d.kill(leader)
	next, err := clients.leader(ctx, demoPatience)
	if err != nil {
		return err
	}
	if err := w.waitFor(ctx, before+demoWriters+1, demoPatience); err != nil {
		return err
	}
	d.say("%s leads now; nobody waited longer than %s for a write", nodeName(next), w.longest().Round(time.Millisecond))
	if err := sleep(ctx, demoAfter); err != nil {
		return err
	}
	if err := d.start(ctx, leader); err != nil {
		return err
	}
	stopWriting()
	wg.Wait()
	if err := w.failure(); err != nil {
		return err
	}
	d.say("%s is back; %d writes were acknowledged in all", nodeName(leader), w.count())
	return d.verify(ctx, clients, w)
}

// demonstration are the nodes' processes.
type demonstration struct {
	*options
	out       io.Writer
	processes map[int]*exec.Cmd
}

func (d *demonstration) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

func (d *demonstration) startAll(ctx context.Context) error {
	for i := 1; i <= d.nodes; i++ {
		if err := d.start(ctx, i); err != nil {
			return err
		}
		d.say("%s: process %d, etcd API on %s", nodeName(i), d.processes[i].Process.Pid, d.etcdAddress(i))
	}
	return nil
}

// start starts a node as a process; one that is told to stop by Ctrl-C stops with this one.
func (d *demonstration) start(ctx context.Context, i int) error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, own, "-nodes", strconv.Itoa(d.nodes), "-node", strconv.Itoa(i), "-dir", d.dir,
		"-etcd", d.etcd, "-peers", d.peers, "-v="+strconv.FormatBool(d.verbose))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = os.Stderr
	endWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", nodeName(i), err)
	}
	d.processes[i] = cmd
	return nil
}

func (d *demonstration) kill(i int) {
	_ = d.processes[i].Process.Kill()
	_ = d.processes[i].Wait()
	delete(d.processes, i)
}

func (d *demonstration) stop() {
	for _, p := range d.processes {
		_ = p.Process.Signal(os.Interrupt)
	}
	for _, p := range d.processes {
		_ = p.Wait()
	}
}

// verify reads every acknowledged write from every node, each from its own data.
func (d *demonstration) verify(ctx context.Context, clients *clients, w *writers) error {
	for i := 1; i <= d.nodes; i++ {
		lost, revision, err := clients.missing(ctx, i, w.acknowledged(), demoPatience)
		switch {
		case err != nil:
			return fmt.Errorf("read %s: %w", nodeName(i), err)
		case lost > 0:
			return fmt.Errorf("%s has lost %d acknowledged writes", nodeName(i), lost)
		}
		d.say("%s has every one of them, at revision %d", nodeName(i), revision)
	}
	d.say("nothing is lost")
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return errors.New("stopped")
	}
}
