package kubelet

import (
	"context"
	"io"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Bounds of a container's termination message, as the API documents them.
const (
	messageLimit     = 4096
	messageLogLimit  = 2048
	messageLogLines  = 80
	messageReadLimit = time.Second
)

// said tells whether it was called with this key before.
func (w *worker) said(key string) bool {
	if _, ok := w.messages[key]; ok {
		return true
	}
	w.messages[key] = ""
	return false
}

// stopBegan returns when the stop of a container began first, so that a stop that is begun again
// with a shorter grace period counts from there.
func (w *worker) stopBegan(id string) time.Time {
	key := "began/" + id
	if t, err := time.Parse(time.RFC3339Nano, w.messages[key]); err == nil {
		return t
	}
	now := time.Now()
	w.messages[key] = now.Format(time.RFC3339Nano)
	return now
}

// readMessages adds the termination messages to the containers that have ended.
func (w *worker) readMessages(sb *Sandbox) {
	for i := range sb.Containers {
		c := &sb.Containers[i]
		spec := findContainer(w.state.Pod, c.Name)
		if c.State != ContainerExited || spec == nil || c.Message != "" {
			continue
		}
		msg, ok := w.messages[c.ID]
		if !ok {
			msg = terminationMessage(spec, c, w.messagePath(c.Name, c.Attempt))
			w.messages[c.ID] = msg
		}
		c.Message = msg
	}
}

// terminationMessage reads what a container left as its last words.
func terminationMessage(spec *corev1.Container, c *Container, path string) string {
	if f, err := os.Open(path); err == nil {
		b, _ := io.ReadAll(io.LimitReader(f, messageLimit))
		_ = f.Close()
		if len(b) > 0 {
			return string(b)
		}
	}
	if spec.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError || c.ExitCode == 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), messageReadLimit)
	defer cancel()
	lines := int64(messageLogLines)
	var tail lastBytes
	_ = ReadLog(ctx, c.LogPath, LogOptions{Tail: &lines}, &tail) // no log, no message
	return string(tail)
}

// lastBytes keeps the end of what is written to it.
type lastBytes []byte

func (l *lastBytes) Write(p []byte) (int, error) {
	*l = append(*l, p...)
	if n := len(*l) - messageLogLimit; n > 0 {
		*l = append((*l)[:0], (*l)[n:]...)
	}
	return len(p), nil
}
