package etcdapi

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/status"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/inboard/inboard/store"
)

type watchServer struct {
	*Server
	stop <-chan struct{}
	pb.UnimplementedWatchServer
}

// watchStream is a client's stream of watches. One goroutine, run's, owns it: it takes the client's
// requests and sends all responses, so that what it says of a watch's progress is true of what it sent.
// Watches cost no goroutine; see readyList.
type watchStream struct {
	*watchServer
	stream   pb.Watch_WatchServer
	requests chan *pb.WatchRequest
	ready    readyList
	watches  map[int64]*watch
	nextID   int64
	// asked is the revision that the client's request for progress is to be answered with at least; 0 when
	// there is none.
	asked int64
	// sent is the newest revision that the client was sent an event or a notice of.
	sent int64
}

// Watch serves one stream until the client or the server ends it.
func (s *watchServer) Watch(stream pb.Watch_WatchServer) error {
	if err := s.begin(stream.Context()); err != nil {
		return err
	}
	ws := &watchStream{
		watchServer: s, stream: stream,
		requests: make(chan *pb.WatchRequest), watches: map[int64]*watch{},
	}
	ws.ready.signal = make(chan struct{}, 1)
	ended := make(chan error, 1)
	s.recv.Go(func() { ended <- ws.receive() })
	defer ws.close()
	return ws.run(ended)
}

// receive hands the client's requests on. gRPC ends it when run has returned.
func (ws *watchStream) receive() error {
	for {
		r, err := ws.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case ws.requests <- r:
		case <-ws.stream.Context().Done():
			return nil
		}
	}
}

func (ws *watchStream) run(ended <-chan error) error {
	ctx := ws.stream.Context()
	leader := ws.leaderCheck(ctx)
	defer leader.stop()
	// Spread out, as in etcd, for the many streams of clients that began at the same time.
	interval := ws.cfg.ProgressInterval + rand.N(ws.cfg.ProgressInterval/10+1)
	progress := time.NewTicker(interval)
	defer progress.Stop()
	for {
		var err error
		select {
		case r := <-ws.requests:
			err = ws.handle(r)
		case <-ws.ready.signal:
			err = ws.serve()
		case <-progress.C:
			err = ws.notifyQuiet()
		case <-leader.tick():
			err = leader.check()
		case err := <-ended:
			return watchEnd(err)
		case <-ctx.Done():
			return watchEnd(ctx.Err())
		case <-ws.stop:
			return rpctypes.ErrGRPCStopped
		case <-ws.cfg.Store.Done():
			return rpctypes.ErrGRPCStopped
		}
		if err == nil {
			err = ws.answerProgress()
		}
		if err != nil {
			return err
		}
	}
}

// watchEnd is what the client is told when its stream ends.
func watchEnd(err error) error {
	if err == nil {
		return nil
	}
	if status.FromContextError(err).Code() == status.Code(rpctypes.ErrGRPCWatchCanceled) {
		return rpctypes.ErrGRPCWatchCanceled
	}
	return err
}

func (ws *watchStream) close() {
	for _, w := range ws.watches {
		w.watcher.Close()
	}
}

// serve gives each watch that has something its turn: one response. What has more comes last.
func (ws *watchStream) serve() error {
	turns := ws.ready.len()
	for range turns {
		w := ws.ready.pop()
		if w == nil {
			return nil
		}
		if w.closed {
			continue
		}
		if err := ws.send(w); err != nil {
			return err
		}
	}
	ws.ready.resignal()
	return nil
}

func (ws *watchStream) handle(r *pb.WatchRequest) error {
	switch r := r.RequestUnion.(type) {
	case *pb.WatchRequest_CreateRequest:
		return ws.create(r.CreateRequest)
	case *pb.WatchRequest_CancelRequest:
		return ws.cancel(r.CancelRequest)
	case *pb.WatchRequest_ProgressRequest:
		ws.asked = max(ws.asked, ws.cfg.Store.Revision())
	}
	return nil // etcd passes over what it does not know
}

// noWatch is the id in a response that is of no one watch.
const noWatch = -1

func (ws *watchStream) create(r *pb.WatchCreateRequest) error {
	if r == nil {
		return nil
	}
	if r.StartRevision < 0 {
		return ws.refuse(rpctypes.ErrCompacted.Error())
	}
	w, reason := ws.open(r)
	if w == nil {
		return ws.refuse(reason.Error())
	}
	var compacted *store.CompactedError
	if errors.As(reason, &compacted) {
		// As etcd does: the watch is there, and is gone at once.
		if err := ws.stream.Send(&pb.WatchResponse{Header: ws.nowHeader(), WatchId: w.id, Created: true}); err != nil {
			return err
		}
		return ws.stream.Send(ws.compacted(w.id, compacted))
	}
	ws.watches[w.id] = w
	return ws.stream.Send(&pb.WatchResponse{Header: ws.nowHeader(), WatchId: w.id, Created: true})
}

// refuse tells that a watch was not made.
func (ws *watchStream) refuse(reason string) error {
	return ws.stream.Send(&pb.WatchResponse{
		Header: ws.nowHeader(), WatchId: noWatch, Created: true, Canceled: true, CancelReason: reason,
	})
}

var (
	errEmptyRange  = errors.New("mvcc: watcher range is empty")
	errDuplicateID = errors.New("mvcc: duplicate watch ID provided on the WatchStream")
)

// open makes a watch. With a CompactedError the watch has no watcher.
func (ws *watchStream) open(r *pb.WatchCreateRequest) (*watch, error) {
	id := r.WatchId
	if _, taken := ws.watches[id]; taken && id != 0 {
		return nil, errDuplicateID
	}
	key, end := string(r.Key), string(r.RangeEnd)
	if key == "" {
		key = "\x00"
	}
	if end != "" && end != "\x00" && key >= end {
		return nil, errEmptyRange
	}
	w := newWatch(r)
	if w.id = id; id == 0 {
		w.id = ws.freeID()
	}
	watcher, err := ws.cfg.Store.Watch(store.WatchConfig{
		Key: key, End: end, Revision: r.StartRevision, Prev: r.PrevKv,
		SkipPuts: w.skipPuts, SkipDeletes: w.skipDeletes,
		Notify: func() { ws.ready.push(w) },
	})
	switch {
	case errors.Is(err, store.ErrCompacted):
		return w, err
	case err != nil:
		return nil, fmt.Errorf("etcdserver: %w", err)
	}
	w.watcher = watcher
	return w, nil
}

func (ws *watchStream) freeID() int64 {
	for {
		id := ws.nextID
		ws.nextID++
		if _, taken := ws.watches[id]; !taken {
			return id
		}
	}
}

func (ws *watchStream) cancel(r *pb.WatchCancelRequest) error {
	w, ok := ws.watches[r.GetWatchId()]
	if !ok {
		return nil
	}
	ws.drop(w)
	return ws.stream.Send(&pb.WatchResponse{Header: ws.nowHeader(), WatchId: w.id, Canceled: true})
}

func (ws *watchStream) drop(w *watch) {
	w.closed = true
	w.watcher.Close()
	delete(ws.watches, w.id)
}
