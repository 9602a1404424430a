package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/inboard/inboard/kubelet"
)

// report tells the user what happens. Its methods may be called from many goroutines.
type report struct {
	mu    sync.Mutex
	out   io.Writer
	begun time.Time
	pulls map[string]string // by image, what was said last
}

func newReport(out io.Writer, begun time.Time) *report {
	return &report{out: out, begun: begun, pulls: map[string]string{}}
}

// say prints a line.
func (r *report) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, format+"\n", args...)
}

// part prints that a part is up, how long it took since from, and something about it.
func (r *report) part(name string, from time.Time, format string, args ...any) {
	r.say("  %-12s %7s   %s", name, took(from), fmt.Sprintf(format, args...))
}

func took(from time.Time) string {
	if d := time.Since(from); d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	} else {
		return d.Round(100 * time.Millisecond).String()
	}
}

// pull prints the progress of a pull, one line for each tenth of the way. Several pods that wait for one
// image tell the same once.
func (r *report) pull(p kubelet.PullProgress) {
	line := fmt.Sprintf("%s %s", p.Phase, p.Ref)
	if p.Phase == "downloading" && p.Total > 0 {
		tenths := 10 * p.Done / p.Total
		line = fmt.Sprintf("downloading %s: %d of %d MB", p.Ref, tenths*p.Total/10/1e6, p.Total/1e6)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pulls[p.Ref] == line {
		return
	}
	r.pulls[p.Ref] = line
	fmt.Fprintf(r.out, "  image        %s\n", line)
}
