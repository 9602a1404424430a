//go:build linux

package process

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/inboard/inboard/kubelet"
)

// outputWait bounds the wait for the last output of a container that has ended: a process that got
// away may hold the pipe open.
const outputWait = time.Second

// output carries a container's output to its log.
type output struct {
	log            *kubelet.LogWriter
	stdout, stderr pipe
	copying        sync.WaitGroup
}

type pipe struct{ r, w *os.File }

func newOutput(log *kubelet.LogWriter) (*output, error) {
	o := &output{log: log}
	var err1, err2 error
	o.stdout.r, o.stdout.w, err1 = os.Pipe()
	o.stderr.r, o.stderr.w, err2 = os.Pipe()
	if err := errors.Join(err1, err2); err != nil {
		for _, p := range []pipe{o.stdout, o.stderr} {
			_ = p.r.Close()
			_ = p.w.Close()
		}
		return nil, err
	}
	o.copying.Go(func() { _ = log.Copy("stdout", o.stdout.r) })
	o.copying.Go(func() { _ = log.Copy("stderr", o.stderr.r) })
	return o, nil
}

// started closes this program's ends for writing.
func (o *output) started() {
	_ = o.stdout.w.Close()
	_ = o.stderr.w.Close()
}

// abandon ends the copying when there is no process.
func (o *output) abandon() {
	o.started()
	o.finish()
}

// finish waits for the last output, then closes the log.
func (o *output) finish() {
	deadline := time.Now().Add(outputWait)
	_ = o.stdout.r.SetReadDeadline(deadline)
	_ = o.stderr.r.SetReadDeadline(deadline)
	o.copying.Wait()
	_ = o.stdout.r.Close()
	_ = o.stderr.r.Close()
	_ = o.log.Close()
}
