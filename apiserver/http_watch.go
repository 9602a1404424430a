package apiserver

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/http"
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
	c.stream(ctx, &frames{call: c, table: table}, w)
	return nil
}

// stream sends changes until the watch ends one way or the other.
func (c *call) stream(ctx context.Context, f *frames, w *watcher) {
	c.started = true
	c.w.Header().Set("Content-Type", f.contentType())
	c.w.Header().Set("Cache-Control", "no-cache, private")
	c.w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(c.w)
	_ = rc.Flush() // an error shows again with the first event
	for {
		changes, err := w.next(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
				_ = f.send(watchError(err)) // the last word, heard or not
				_ = rc.Flush()
			}
			return
		}
		_ = rc.SetWriteDeadline(time.Now().Add(watchWriteTimeout)) // not all writers have deadlines
		for i := range changes {
			if err := f.change(&changes[i]); err != nil {
				return
			}
		}
		if err := rc.Flush(); err != nil {
			return
		}
		_ = rc.SetWriteDeadline(time.Time{})
	}
}

// frames writes the events of a watch in the format that the client asked for.
type frames struct {
	call  *call
	table tableOptions
	buf   []byte
}

func (f *frames) contentType() string {
	if f.call.format.media == mediaJSON {
		return mediaJSON
	}
	return f.call.format.media + streamParam
}

// change writes one change.
func (f *frames) change(ch *change) error {
	c := f.call
	obj, at, err := c.server.transform(&c.format, c.rq.served(), ch.obj, ch.place(), f.table)
	if err != nil {
		return err
	}
	f.table.noHeaders = f.table.noHeaders || c.format.as == "Table"
	return f.write(ch.typ, obj, at)
}

// send writes an event that is not about a stored object.
func (f *frames) send(ev watch.Event) error {
	if status, ok := ev.Object.(*metav1.Status); ok {
		status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	}
	return f.write(ev.Type, ev.Object, place{})
}

func (f *frames) write(typ watch.EventType, obj runtime.Object, at place) error {
	media := f.call.format.media
	if media == mediaProto {
		return f.writeProto(typ, obj, at)
	}
	b, err := cachedJSON(obj, at)
	if err != nil {
		return err
	}
	f.buf = append(f.buf[:0], `{"type":"`...)
	f.buf = append(f.buf, typ...)
	f.buf = append(f.buf, `","object":`...)
	f.buf = append(f.buf, b...)
	f.buf = append(f.buf, "}\n"...)
	if media == mediaYAML {
		return f.writeYAML()
	}
	_, err = f.call.w.Write(f.buf)
	return err
}

func (f *frames) writeYAML() error {
	b, err := yaml.JSONToYAML(f.buf)
	if err != nil {
		return err
	}
	_, err = f.call.w.Write(append([]byte("---\n"), b...))
	return err
}

func (f *frames) writeProto(typ watch.EventType, obj runtime.Object, at place) error {
	raw, err := encodeObject(mediaProto, obj, at)
	if err != nil {
		return err
	}
	ev := metav1.WatchEvent{Type: string(typ), Object: runtime.RawExtension{Raw: raw}}
	b, err := ev.Marshal()
	if err != nil {
		return err
	}
	f.buf = binary.BigEndian.AppendUint32(f.buf[:0], uint32(len(b)))
	f.buf = append(f.buf, b...)
	_, err = f.call.w.Write(f.buf)
	return err
}
