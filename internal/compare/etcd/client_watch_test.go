package etcd

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	grpcmetadata "google.golang.org/grpc/metadata"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/storetest"
)

// remoteWatcher is a watch of etcd's client on a stream of its own, so that its progress is its own.
type remoteWatcher struct {
	client  *clientv3.Client
	ctx     context.Context
	cancel  context.CancelFunc
	closed  atomic.Bool
	said    clientv3.WatchChan
	batches []store.Batch // received and not returned yet
	up      int64
	asked   time.Time
}

var streams atomic.Int64

func (r remote) Watch(cfg store.WatchConfig) (storetest.Watcher, error) {
	ctx, cancel := context.WithCancel(context.Background())
	ctx = grpcmetadata.AppendToOutgoingContext(ctx, "stream", fmt.Sprint(streams.Add(1)))
	opts := []clientv3.OpOption{clientv3.WithRev(cfg.Revision), clientv3.WithCreatedNotify()}
	if cfg.End != "" {
		opts = append(opts, clientv3.WithRange(cfg.End))
	}
	if cfg.Prev {
		opts = append(opts, clientv3.WithPrevKV())
	}
	if cfg.SkipPuts {
		opts = append(opts, clientv3.WithFilterPut())
	}
	if cfg.SkipDeletes {
		opts = append(opts, clientv3.WithFilterDelete())
	}
	// Nothing before the first revision is asked for; etcd tells no progress before it is reached.
	w := &remoteWatcher{client: r.Client, ctx: ctx, cancel: cancel, up: max(cfg.Revision-1, 0)}
	w.said = r.Client.Watch(ctx, firstKey(cfg.Key, cfg.End), opts...)
	// What is written from now on is to be seen, also from revision 0 on.
	select {
	case resp := <-w.said:
		return w, w.hear(resp)
	case <-time.After(patience):
		cancel()
		return nil, context.DeadlineExceeded
	}
}

// hear takes in what the server said.
func (w *remoteWatcher) hear(resp clientv3.WatchResponse) error {
	switch {
	case resp.CompactRevision != 0:
		return &store.CompactedError{Oldest: resp.CompactRevision}
	case resp.Err() != nil:
		return errorOf(resp.Err())
	case resp.IsProgressNotify():
		w.up = resp.Header.Revision
	}
	for _, ev := range resp.Events {
		rev := ev.Kv.ModRevision
		if n := len(w.batches); n == 0 || w.batches[n-1].Revision != rev {
			w.batches = append(w.batches, store.Batch{Revision: rev})
		}
		e := store.Event{Entry: entries([]*mvccpb.KeyValue{ev.Kv})[0]}
		if ev.Type == mvccpb.DELETE {
			e.Type = store.EventDelete
		}
		if ev.PrevKv != nil {
			e.Prev = entries([]*mvccpb.KeyValue{ev.PrevKv})[0]
		}
		last := &w.batches[len(w.batches)-1]
		last.Events = append(last.Events, e)
	}
	return nil
}

func (w *remoteWatcher) Next(ctx context.Context) (store.Batch, error) {
	for {
		switch {
		case w.closed.Load():
			return store.Batch{}, store.ErrClosed
		case ctx.Err() != nil:
			return store.Batch{}, ctx.Err()
		case len(w.batches) > 0:
			b := w.batches[0]
			w.batches, w.up = w.batches[1:], b.Revision
			return b, nil
		}
		select {
		case resp, ok := <-w.said:
			if !ok {
				return store.Batch{}, store.ErrClosed
			}
			if err := w.hear(resp); err != nil {
				return store.Batch{}, err
			}
		case <-ctx.Done():
		}
	}
}

// Progress asks the server for its progress now and then; the answer comes behind all events.
func (w *remoteWatcher) Progress() int64 {
	if time.Since(w.asked) > 5*time.Millisecond {
		w.asked = time.Now()
		_ = w.client.RequestProgress(w.ctx)
	}
	return w.up
}

func (w *remoteWatcher) Close() {
	w.closed.Store(true)
	w.cancel()
}
