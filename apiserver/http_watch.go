package apiserver

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/store"
)

// minWatch is how long a watch that names no timeout lasts at least; the end is random, so that not
// all begin anew at once.
const minWatch = 30 * time.Minute

// watchWriteTimeout is how long a client may take to accept what a watch sends it at once. A slower
// one is cut off; it can go on from the last version it saw.
const watchWriteTimeout = 30 * time.Second

func (c *call) watch() error {
	if err := c.negotiated(); err != nil {
		return err
	}
	opts, err := c.listOptions()
	if err != nil {
		return err
	}
	table, err := c.tableOptions()
	if err != nil {
		return err
	}
	w, err := c.server.watch(c.r.Context(), c.rq, &opts)
	if err != nil {
		return err
	}
	defer w.close()
	timeout := minWatch + rand.N(minWatch)
	if s := opts.TimeoutSeconds; s != nil && *s > 0 {
		timeout = time.Duration(*s) * time.Second
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), timeout)
	defer cancel()
	if stop, ok := c.r.Context().Value(servingKey{}).(context.Context); ok {
		defer context.AfterFunc(stop, cancel)()
	}
	defer c.rq.served().whenGone(cancel)()
	c.stream(ctx, &frames{call: c, table: table}, w)
	return nil
}

// stream sends changes until the watch ends one way or the other.
func (c *call) stream(ctx context.Context, f *frames, w *watcher) {
	c.started, c.code = true, http.StatusOK
	c.w.Header().Set("Content-Type", f.contentType())
	c.w.Header().Set("Cache-Control", "no-cache, private")
	c.w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(c.w)
	_ = rc.Flush() // an error shows again with the first event
	slow := deadline{expire: rc.SetWriteDeadline}
	var sent time.Time
	for {
		if len(w.pending) == 0 {
			c.initialized()
		}
		changes, err := w.next(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
				_ = f.send(watchError(err)) // the last word, heard or not
				_ = rc.Flush()
			}
			return
		}
		sent = c.server.pace.wait(ctx, sent)
		slow.start(watchWriteTimeout)
		err = f.burst(changes, w)
		if err == nil {
			err = rc.Flush()
		}
		if slow.stop(); err != nil {
			return
		}
	}
}

// maxBurst bounds what is sent at once, in bytes.
const maxBurst = 64 << 10

// watchBuffers are for what watches are about to send. Those that wait hold none.
var watchBuffers = sync.Pool{New: func() any { return new([]byte) }}

// burst writes changes, and those that have come meanwhile: each write is a frame, a record of TLS and a system call,
// which cost more than the changes in it do.
func (f *frames) burst(changes []change, w *watcher) error {
	kept := watchBuffers.Get().(*[]byte)
	f.buf = (*kept)[:0]
	defer func() {
		*kept, f.buf = f.buf, nil
		if cap(*kept) <= 2*maxBurst {
			watchBuffers.Put(kept)
		}
	}()
	for len(changes) > 0 {
		for i := range changes {
			at := len(f.buf)
			if err := f.change(&changes[i]); err != nil {
				return err
			}
			f.measure(len(f.buf) - at)
			if len(f.buf) >= maxBurst {
				if err := f.flush(); err != nil {
					return err
				}
			}
		}
		if changes = nil; f.sent < maxBurst {
			changes = w.ready()
		}
	}
	err := f.flush()
	f.sent = 0
	return err
}

// flush writes what was gathered.
func (f *frames) flush() error {
	f.sent += len(f.buf)
	_, err := f.call.w.Write(f.buf)
	f.buf = f.buf[:0]
	if len(f.sizes) > 0 {
		f.call.server.cfg.Metrics.Watched(&f.call.info, f.sizes)
		f.sizes = f.sizes[:0]
	}
	return err
}

// measure notes the size of an event for the metrics.
func (f *frames) measure(size int) {
	if f.call.server.cfg.Metrics != nil {
		f.sizes = append(f.sizes, size)
	}
}

// frames writes the events of a watch in the format that the client asked for.
type frames struct {
	call  *call
	table tableOptions
	// buf are events that are not written yet, sent is how many bytes of the burst are.
	buf  []byte
	sent int
	// sizes are those of the events in buf, for the metrics.
	sizes []int
}

func (f *frames) contentType() string {
	if f.call.format.media == mediaJSON {
		return mediaJSON
	}
	return f.call.format.media + streamParam
}

// change adds one change.
func (f *frames) change(ch *change) error {
	c := f.call
	if c.format.as == "" {
		return f.found(ch)
	}
	obj, err := ch.object()
	if err != nil {
		return err
	}
	out, err := c.server.transform(&c.format, c.rq.served(), obj, f.table)
	if err != nil {
		return err
	}
	f.table.noHeaders = f.table.noHeaders || c.format.as == "Table"
	return f.event(ch.typ, out)
}

// found adds a change of a stored object, as it is.
func (f *frames) found(ch *change) error {
	as := f.call.rq.served()
	if f.call.format.media != mediaProto {
		b, err := ch.encodeJSON(as)
		if err != nil {
			return err
		}
		return f.writeJSON(ch.typ, b)
	}
	m, err := ch.encodeProto(as)
	if err != nil {
		return err
	}
	return f.writeProto(ch.typ, as.envelope, &m)
}

// send writes an event that is not about a stored object.
func (f *frames) send(ev watch.Event) error {
	if status, ok := ev.Object.(*metav1.Status); ok {
		status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	}
	if err := f.event(ev.Type, ev.Object); err != nil {
		return err
	}
	return f.flush()
}

// event adds an event with an object that is encoded for it.
func (f *frames) event(typ watch.EventType, obj runtime.Object) error {
	if f.call.format.media == mediaProto {
		b, err := marshalProto(obj)
		if err != nil {
			return err
		}
		return f.writeProto(typ, newEnvelope(typeOf(obj)), &encoded{made: b})
	}
	b, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	return f.writeJSON(typ, b)
}

func (f *frames) writeJSON(typ watch.EventType, object []byte) error {
	at := len(f.buf)
	f.buf = append(f.buf, `{"type":"`...)
	f.buf = append(f.buf, typ...)
	f.buf = append(f.buf, `","object":`...)
	f.buf = append(f.buf, object...)
	f.buf = append(f.buf, "}\n"...)
	if f.call.format.media != mediaYAML {
		return nil
	}
	b, err := yaml.JSONToYAML(f.buf[at:])
	f.buf = append(append(f.buf[:at], "---\n"...), b...)
	return err
}

// writeProto adds a metav1.WatchEvent after its length: field 1 is the type, field 2 a RawExtension, whose field 1
// is the object in its envelope.
func (f *frames) writeProto(typ watch.EventType, e envelope, m *encoded) error {
	size := m.size()
	object := e.size(size)
	at := len(f.buf)
	b := append(f.buf, 0, 0, 0, 0)
	b = appendMessage(b, 1, []byte(typ))
	b = binary.AppendUvarint(append(b, 2<<3|2), uint64(messageSize(object)))
	b = binary.AppendUvarint(append(b, 1<<3|2), uint64(object))
	b = e.end(m.append(e.begin(b, size)))
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	f.buf = b
	return nil
}
