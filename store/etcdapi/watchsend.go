package etcdapi

import (
	"errors"
	"slices"

	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/inboard/inboard/store"
)

// watch is one watch of a stream.
type watch struct {
	id      int64
	watcher *store.Watcher
	// start is the first revision that the client wants; 0 when it is the next.
	start                 int64
	skipPuts, skipDeletes bool
	fragment              bool
	// notify asks for notices of progress; quiet tells that nothing was sent since the last time that one
	// was due.
	notify, quiet bool

	queued bool // guarded by readyList.mu
	closed bool
}

func newWatch(r *pb.WatchCreateRequest) *watch {
	return &watch{
		start: r.StartRevision, fragment: r.Fragment, notify: r.ProgressNotify, quiet: true,
		skipPuts:    slices.Contains(r.Filters, pb.WatchCreateRequest_NOPUT),
		skipDeletes: slices.Contains(r.Filters, pb.WatchCreateRequest_NODELETE),
	}
}

// How much goes into one response to a watch that is behind. A revision is not divided, unless the client
// can put the parts together.
const (
	batchEvents = 1000
	batchBytes  = 1 << 20
)

// send sends what a watch has, up to a bound, and puts the watch back into the queue when there is more.
func (ws *watchStream) send(w *watch) error {
	var events []*mvccpb.Event
	revision, size, more := int64(0), 0, true
	for len(events) < batchEvents && size < batchBytes {
		b, ok, err := w.watcher.TryNext()
		if err != nil {
			if len(events) > 0 {
				break // first what there is; it will be found again
			}
			return ws.lose(w, err)
		}
		if more = ok; !ok {
			break
		}
		for i := range b.Events {
			size += len(b.Events[i].Entry.Key) + len(b.Events[i].Entry.Value)
		}
		events = appendEvents(events, b.Events)
		revision = b.Revision
	}
	if more {
		ws.ready.push(w)
	}
	if len(events) == 0 {
		return nil
	}
	w.quiet = false
	ws.sent = max(ws.sent, revision)
	return ws.sendEvents(w, &pb.WatchResponse{Header: ws.header(revision), WatchId: w.id, Events: events})
}

// lose ends a watch that cannot go on.
func (ws *watchStream) lose(w *watch, err error) error {
	var compacted *store.CompactedError
	if !errors.As(err, &compacted) {
		return toStatus(err) // the store is closed
	}
	ws.drop(w)
	return ws.stream.Send(ws.compacted(w.id, compacted))
}

// compacted tells that what a watch asks for is gone. compact_revision is the first that can be watched.
func (ws *watchStream) compacted(id int64, err *store.CompactedError) *pb.WatchResponse {
	return &pb.WatchResponse{Header: ws.nowHeader(), WatchId: id, Canceled: true, CompactRevision: err.Oldest + 1}
}

// appendEvents makes messages of events, several in one allocation.
func appendEvents(to []*mvccpb.Event, events []store.Event) []*mvccpb.Event {
	type message struct {
		event mvccpb.Event
		kv    mvccpb.KeyValue
	}
	slab := make([]message, len(events))
	to = slices.Grow(to, len(events))
	for i := range events {
		m, e := &slab[i], &events[i]
		fill(&m.kv, e.Entry)
		m.event.Kv = &m.kv
		if e.Type == store.EventDelete {
			m.event.Type = mvccpb.Event_DELETE
		}
		if e.Prev != nil {
			m.event.PrevKv = keyValue(e.Prev)
		}
		to = append(to, &m.event)
	}
	return to
}

// sendEvents divides a response that is too long for one message, when the client can take that.
func (ws *watchStream) sendEvents(w *watch, r *pb.WatchResponse) error {
	limit := ws.cfg.MaxRequestBytes + overheadBytes
	if !w.fragment || len(r.Events) < 2 || proto.Size(r) < limit {
		return ws.stream.Send(r)
	}
	const fields = 16 // an event's own bytes in a response
	for rest := r.Events; len(rest) > 0; {
		n, size := 0, 64
		for n < len(rest) {
			if size += proto.Size(rest[n]) + fields; n > 0 && size >= limit {
				break
			}
			n++
		}
		part := &pb.WatchResponse{Header: r.Header, WatchId: r.WatchId, Events: rest[:n:n], Fragment: n < len(rest)}
		if err := ws.stream.Send(part); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// notifyQuiet tells watches that asked for it how far they have come, when they have heard nothing since
// the last time.
func (ws *watchStream) notifyQuiet() error {
	for _, w := range ws.watches {
		if !w.notify {
			continue
		}
		at := w.watcher.Progress()
		if w.quiet && !ws.ready.has(w) && at >= w.start {
			if err := ws.stream.Send(&pb.WatchResponse{Header: ws.header(at), WatchId: w.id}); err != nil {
				return err
			}
		}
		w.quiet = true
	}
	return nil
}

// answerProgress answers the client's request for progress with one response for all watches, when all of
// them have been sent everything up to one revision: not below what the client has seen or was there when it
// asked. Until then it waits; watches that begin in the future leave it unanswered, as in etcd.
func (ws *watchStream) answerProgress() error {
	if ws.asked == 0 || !ws.ready.empty() {
		return nil
	}
	if len(ws.watches) == 0 {
		ws.asked = 0
		return nil
	}
	at := int64(-1)
	for _, w := range ws.watches {
		p := w.watcher.Progress()
		if p < w.start {
			ws.asked = 0
			return nil
		}
		if at < 0 || p < at {
			at = p
		}
	}
	if at < max(ws.asked, ws.sent) {
		return nil
	}
	ws.asked, ws.sent = 0, at
	return ws.stream.Send(&pb.WatchResponse{Header: ws.header(at), WatchId: noWatch})
}
