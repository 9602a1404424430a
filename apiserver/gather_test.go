package apiserver

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slowConn is a connection whose client takes each write when it is told to.
type slowConn struct {
	net.Conn // nil
	took     chan []byte

	mu       sync.Mutex
	closed   bool
	deadline chan struct{}
	timer    *time.Timer
}

func newSlowConn() *slowConn {
	return &slowConn{took: make(chan []byte), deadline: make(chan struct{})}
}

func (c *slowConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	deadline, closed := c.deadline, c.closed
	c.mu.Unlock()
	if closed {
		return 0, net.ErrClosed
	}
	select {
	case c.took <- bytes.Clone(p):
		return len(p), nil
	case <-deadline:
		return 0, os.ErrDeadlineExceeded
	}
}

func (c *slowConn) SetReadDeadline(time.Time) error { return nil }

func (c *slowConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
	if !t.IsZero() {
		c.timer = time.AfterFunc(time.Until(t), func() { close(c.deadline) })
	}
	return nil
}

func (c *slowConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	return nil
}

func (c *slowConn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func mustWrite(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if n, err := io.WriteString(w, text); err != nil || n != len(text) {
		t.Fatalf("wrote %d bytes of %q: %v", n, text, err)
	}
}

// What is written while a system call is under way is one system call.
func TestGatherConnWritesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := newSlowConn()
		g := newGatherConn(under)
		mustWrite(t, g, "first ")
		synctest.Wait() // it is being written
		for range 10 {
			mustWrite(t, g, "more ")
		}
		if got := string(<-under.took); got != "first " {
			t.Errorf("the first system call has %q", got)
		}
		if got := string(<-under.took); got != "more more more more more more more more more more " {
			t.Errorf("the second system call has %q", got)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !under.isClosed() {
			t.Error("not closed")
		}
	})
}

// A connection that is closed sends what was written, as crypto/tls closes one: with a deadline that has passed.
func TestGatherConnCloseSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := newSlowConn()
		g := newGatherConn(under)
		mustWrite(t, g, "answer ")
		synctest.Wait()
		mustWrite(t, g, "goodbye")
		if err := g.SetWriteDeadline(time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Write([]byte("late")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a write after the deadline: %v", err)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Write([]byte("later")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a write after Close: %v", err)
		}
		time.Sleep(closeGrace / 2)
		if under.isClosed() {
			t.Error("closed before what was written is sent")
		}
		if got := string(<-under.took) + string(<-under.took); got != "answer goodbye" {
			t.Errorf("sent %q", got)
		}
		synctest.Wait()
		if !under.isClosed() {
			t.Error("not closed")
		}
	})
}

// A client that takes nothing holds up those who write to it, and Close for a moment.
func TestGatherConnStuck(t *testing.T) {
	for name, end := range map[string]func(*gatherConn) error{
		"closed":   (*gatherConn).Close,
		"deadline": func(g *gatherConn) error { return g.SetWriteDeadline(time.Unix(1, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				under := newSlowConn()
				g := newGatherConn(under)
				wrote, failed := 0, make(chan error, 1)
				go func() {
					for {
						if _, err := g.Write(make([]byte, 10_000)); err != nil {
							failed <- err
							return
						}
						wrote++
					}
				}()
				synctest.Wait() // the writer waits
				if least, most := maxGathered/10_000, 2*(maxGathered/10_000+1); wrote < least || wrote > most {
					t.Errorf("%d writes were taken, want %d to %d", wrote, least, most)
				}
				if err := end(g); err != nil {
					t.Fatal(err)
				}
				if err := <-failed; !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the waiting write ended with %v", err)
				}
				time.Sleep(2 * closeGrace)
				if err := g.Close(); err != nil && name == "deadline" {
					t.Errorf("closing afterwards: %v", err)
				}
				if !under.isClosed() {
					t.Error("not closed")
				}
			})
		})
	}
}

// An error of the connection shows with a later write.
func TestGatherConnTellsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := newSlowConn()
		g := newGatherConn(under)
		_ = under.Close()
		mustWrite(t, g, "lost")
		synctest.Wait()
		if _, err := g.Write([]byte("more")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a write after an error: %v", err)
		}
		if err := g.Close(); err != nil {
			t.Errorf("closing afterwards: %v", err)
		}
	})
}

// Whatever the sizes and pauses, all bytes arrive, and in order.
func TestGatherConnKeepsOrder(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const seed, size = 7, 8 << 20
	source := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{seed}), size) }
	wrote := make(chan error, 1)
	go func() {
		c, err := gatherListener{ln}.Accept()
		if err != nil {
			wrote <- err
			return
		}
		from, r := source(), rand.New(rand.NewPCG(seed, seed))
		for buf := make([]byte, 40_000); err == nil; {
			n, end := from.Read(buf[:1+r.IntN(len(buf))])
			if end != nil {
				break
			}
			if _, err = c.Write(buf[:n]); r.IntN(8) == 0 {
				time.Sleep(time.Duration(r.IntN(500)) * time.Microsecond)
			}
		}
		wrote <- errors.Join(err, c.Close())
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := io.ReadAll(c)
	if err = errors.Join(err, <-wrote); err != nil {
		t.Fatal(err)
	}
	if want, _ := io.ReadAll(source()); !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived of %d, or others", len(got), len(want))
	}
}
