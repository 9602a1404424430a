package h2_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// within waits for something to become true.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}

const waiting = "headers %d end :method=GET :scheme=https :path=/wait"

func wait(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestTooManyStreams(t *testing.T) {
	p, _ := connect(t, wait, 0)
	p.greet(t)
	for i := range 250 {
		if err := p.do(fmt.Sprintf(waiting, 1+2*i)); err != nil {
			t.Fatal(err)
		}
	}
	_ = p.do(fmt.Sprintf(waiting, 501))
	if got := p.next(); got != "RST_STREAM 501 REFUSED_STREAM" {
		t.Fatal(got)
	}
	_ = p.do("reset 1")
	_ = p.do(fmt.Sprintf(waiting, 503))
	_ = p.do("ping 12345678")
	if got := p.next(); got != "PING ack=true 12345678" {
		t.Fatal(got)
	}
}

// TestResetsDoNotPileUp resets requests as soon as they are made, while their handlers go on
// (https://nvd.nist.gov/vuln/detail/CVE-2023-44487).
func TestResetsDoNotPileUp(t *testing.T) {
	release := make(chan struct{})
	var running, most atomic.Int64
	p, _ := connect(t, func(http.ResponseWriter, *http.Request) {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		running.Add(-1)
	}, 0)
	p.greet(t)
	go func() {
		for id := 1; ; id += 2 {
			if p.do(fmt.Sprintf(waiting, id)) != nil || p.do(fmt.Sprintf("reset %d", id)) != nil {
				return
			}
		}
	}()
	for {
		got := p.next()
		if strings.HasPrefix(got, "GOAWAY") {
			if !strings.Contains(got, "ENHANCE_YOUR_CALM") {
				t.Error(got)
			}
			break
		}
		if got == "closed" {
			break
		}
	}
	close(release)
	within(t, "all handlers are back", func() bool { return running.Load() == 0 })
	if most.Load() > 1000 {
		t.Errorf("%d handlers ran at once", most.Load())
	}
}

func TestHeadersWithoutEnd(t *testing.T) {
	p, _ := connect(t, wait, 0)
	p.greet(t)
	go func() {
		_ = p.do("headers 1 part get")
		for p.do("continuation 1 part a=b") == nil {
		}
	}()
	if got := p.next(); got != "GOAWAY last=0 ENHANCE_YOUR_CALM" && got != "closed" {
		t.Fatal(got)
	}
}

// TestPingsDoNotPileUp sends pings and takes no answers: the server stops to read.
func TestPingsDoNotPileUp(t *testing.T) {
	p, _ := connect(t, wait, 0)
	p.greet(t)
	_ = p.nc.SetWriteDeadline(time.Now().Add(2 * time.Second))
	sent := 0
	for p.do("ping 12345678") == nil {
		if sent += 17; sent > 64<<20 {
			t.Fatal("the server takes pings without an end")
		}
	}
}

// TestWindowsOfBodies sends more than the windows have while nobody reads, and as much as there is when somebody does.
func TestWindowsOfBodies(t *testing.T) {
	read := make(chan struct{})
	p, _ := connect(t, func(w http.ResponseWriter, r *http.Request) {
		<-read
		n, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n, err)
	}, 0)
	p.greet(t)
	_ = p.do("headers 1 post")
	for range 64 {
		_ = p.do("data 1 *16384")
	}
	close(read)
	for opened := map[string]int{}; opened["0"] < 1<<19 || opened["1"] < 1<<19; {
		var id string
		var n int
		got := p.next()
		if _, err := fmt.Sscanf(got, "WINDOW_UPDATE %s +%d", &id, &n); err != nil {
			t.Fatal(got)
		}
		opened[id] += n
	}
	_ = p.do("data 1 end *100")
	for {
		switch got := p.next(); {
		case strings.HasPrefix(got, "WINDOW_UPDATE"), strings.HasPrefix(got, "HEADERS 1"):
		case got == `DATA 1 end=true "1048676 <nil>"`:
			return
		default:
			t.Fatal(got)
		}
	}
}

func TestWindowOverrun(t *testing.T) {
	p, _ := connect(t, wait, 0)
	p.greet(t)
	_ = p.do("headers 1 post")
	for range 64 {
		_ = p.do("data 1 *16384")
	}
	_ = p.do("data 1 *1")
	if got := p.next(); got != "GOAWAY last=1 FLOW_CONTROL_ERROR" {
		t.Fatal(got)
	}
}

// TestDeadlines has handlers that wait for a client that does nothing.
func TestDeadlines(t *testing.T) {
	errs := make(chan error, 2)
	p, _ := connect(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		_, err := r.Body.Read(make([]byte, 1))
		errs <- err
		_ = rc.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		for err = nil; err == nil; {
			_, err = w.Write(make([]byte, 10_000))
		}
		errs <- err
	}, 0)
	p.greet(t)
	_ = p.do("headers 1 post")
	for range 2 {
		if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
	for got := ""; got != "RST_STREAM 1 INTERNAL_ERROR"; {
		if got = p.next(); got == "closed" {
			t.Fatal("not reset")
		}
	}
	_ = p.do("ping 12345678") // the others' streams go on
	if got := p.next(); got != "PING ack=true 12345678" {
		t.Fatal(got)
	}
}

// TestMoreThanTheLength has a handler that writes more than it said.
func TestMoreThanTheLength(t *testing.T) {
	p, _ := connect(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3")
		_, _ = io.WriteString(w, "abc")
		if _, err := io.WriteString(w, "d"); !errors.Is(err, http.ErrContentLength) {
			t.Errorf("got %v", err)
		}
	}, 0)
	p.greet(t)
	_ = p.do("headers 1 end get")
	for _, want := range []string{"HEADERS 1 end=false 200", `DATA 1 end=true "abc"`} {
		if got := p.next(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestIdle(t *testing.T) {
	release := make(chan struct{})
	p, _ := connect(t, func(http.ResponseWriter, *http.Request) { <-release }, 50*time.Millisecond)
	p.greet(t)
	_ = p.do("headers 1 end get")
	time.Sleep(120 * time.Millisecond) // a request holds it
	close(release)
	for _, want := range []string{"HEADERS 1 end=true 200", "GOAWAY last=1 NO_ERROR", "closed"} {
		if got := p.next(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	<-p.done
}

func TestShutdown(t *testing.T) {
	release, begun := make(chan struct{}), make(chan struct{})
	p, s := connect(t, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-release
		_, _ = io.WriteString(w, "in time")
	}, 0)
	p.greet(t)
	_ = p.do("headers 1 end get")
	<-begun
	s.Shutdown()
	if got := p.next(); got != "GOAWAY last=1 NO_ERROR" {
		t.Fatal(got)
	}
	_ = p.do("headers 3 end get") // too late; nobody answers
	_ = p.do("ping 12345678")
	if got := p.next(); got != "PING ack=true 12345678" {
		t.Fatal(got)
	}
	close(release)
	for _, want := range []string{"HEADERS 1 end=false 200", `DATA 1 end=true "in time"`, "closed"} {
		if got := p.next(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	<-p.done
}

// TestGone has a client that goes away: requests end.
func TestGone(t *testing.T) {
	ended := make(chan struct{}, 2)
	p, _ := connect(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		<-r.Context().Done()
		if _, err := w.Write(make([]byte, 1<<20)); err == nil {
			t.Error("what nobody takes was written")
		}
		ended <- struct{}{}
	}, 0)
	p.greet(t)
	_ = p.do("headers 1 end get")
	_ = p.do("headers 3 post")
	_ = p.do("ping 12345678")
	p.next()
	_ = p.nc.Close()
	<-ended
	<-ended
	<-p.done
}

func TestNotHTTP2(t *testing.T) {
	p, _ := connect(t, wait, 0)
	_, _ = io.WriteString(p.nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := p.next(); got != "GOAWAY last=0 PROTOCOL_ERROR" && got != "closed" {
		t.Fatal(got)
	}
}

func TestSettingsComeFirst(t *testing.T) {
	p, _ := connect(t, wait, 0)
	_, _ = io.WriteString(p.nc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	_ = p.do("ping 12345678")
	for _, want := range []string{"SETTINGS", "WINDOW_UPDATE 0 +983041", "GOAWAY last=0 PROTOCOL_ERROR"} {
		if got := p.next(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
