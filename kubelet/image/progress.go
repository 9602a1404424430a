package image

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/inboard/inboard/kubelet"
)

const reportEvery = 100 * time.Millisecond

// report turns the state of a pull's layers into calls of its progress function.
type report struct {
	ref   string
	call  func(kubelet.PullProgress)
	phase atomic.Value // string
	total atomic.Int64

	mu     sync.Mutex
	layers map[string]func() int64 // compressed bytes got so far, by diff ID

	quit    chan struct{}
	stopped chan struct{}
	last    kubelet.PullProgress
}

func startReport(ref string, call func(kubelet.PullProgress)) *report {
	r := &report{ref: ref, call: call, layers: map[string]func() int64{}, quit: make(chan struct{}), stopped: make(chan struct{})}
	r.phase.Store("resolving")
	if call == nil {
		close(r.stopped)
		return r
	}
	go r.loop()
	return r
}

func (r *report) loop() {
	defer close(r.stopped)
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		r.send()
		select {
		case <-tick.C:
		case <-r.quit:
			return
		}
	}
}

func (r *report) send() {
	p := kubelet.PullProgress{Ref: r.ref, Phase: r.phase.Load().(string), Total: r.total.Load()}
	r.mu.Lock()
	for _, got := range r.layers {
		p.Done += got()
	}
	r.mu.Unlock()
	p.Done = min(p.Done, p.Total)
	if p.Phase == "downloading" && p.Done == p.Total && p.Total > 0 {
		p.Phase = "unpacking"
	}
	if p == r.last {
		return
	}
	r.last = p
	defer func() { _ = recover() }() // a broken callback must not break the pull
	r.call(p)
}

// watch counts a layer by what got returns; the last call for a layer counts.
func (r *report) watch(diffID string, got func() int64) {
	r.mu.Lock()
	r.layers[diffID] = got
	r.mu.Unlock()
}

// finish sends the last call; stop ends the calls without one.
func (r *report) finish() {
	r.stop()
	if r.call != nil {
		r.phase.Store("done")
		r.send()
	}
}

func (r *report) stop() {
	select {
	case <-r.quit:
	default:
		close(r.quit)
	}
	<-r.stopped
}
