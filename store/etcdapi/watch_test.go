package etcdapi_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/etcdapi"
)

type watching struct {
	t      testing.TB
	stream pb.Watch_WatchClient
}

func (c *client) watching(t testing.TB) watching {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	stream, err := c.watch.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return watching{t, stream}
}

func (w watching) create(r *pb.WatchCreateRequest) {
	w.t.Helper()
	w.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
}

func (w watching) cancel(id int64) {
	w.t.Helper()
	w.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}}})
}

func (w watching) progress() {
	w.t.Helper()
	w.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

func (w watching) send(r *pb.WatchRequest) {
	w.t.Helper()
	if err := w.stream.Send(r); err != nil {
		w.t.Fatal(err)
	}
}

// expect reads a response and compares it as text.
func (w watching) expect(want string) {
	w.t.Helper()
	r, err := w.stream.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	if got := watchText(r); got != want {
		w.t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func watchText(r *pb.WatchResponse) string {
	parts := []string{fmt.Sprintf("%d@%d", r.WatchId, r.Header.Revision)}
	add := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(r.Created, "created")
	add(r.Canceled, "canceled")
	add(r.CancelReason != "", "%q", r.CancelReason)
	add(r.CompactRevision != 0, "compacted=%d", r.CompactRevision)
	add(r.Fragment, "fragment")
	for _, ev := range r.Events {
		s := fmt.Sprintf("%s %s=%s@%d", ev.Type, ev.Kv.Key, ev.Kv.Value, ev.Kv.ModRevision)
		if ev.PrevKv != nil {
			s += fmt.Sprintf("(%s@%d)", ev.PrevKv.Value, ev.PrevKv.ModRevision)
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

func TestWatch(t *testing.T) {
	c := serve(t, etcdapi.Config{})
	put(t, c, "a", "1") // 2
	put(t, c, "a", "2") // 3
	w := c.watching(t)
	w.create(&pb.WatchCreateRequest{Key: []byte("a")})
	w.expect("0@3 created")
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), RangeEnd: []byte("c"), WatchId: 7, StartRevision: 2, PrevKv: true})
	w.expect("7@3 created")
	w.expect("7@3 PUT a=1@2 PUT a=2@3(1@2)")
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), WatchId: 7})
	w.expect(`-1@3 created canceled "mvcc: duplicate watch ID provided on the WatchStream"`)
	w.create(&pb.WatchCreateRequest{Key: []byte("b"), RangeEnd: []byte("a")})
	w.expect(`-1@3 created canceled "mvcc: watcher range is empty"`)
	w.cancel(0)
	w.expect("0@3 canceled")
	if _, err := c.DeleteRange(t.Context(), &pb.DeleteRangeRequest{Key: []byte("a")}); err != nil { // 4
		t.Fatal(err)
	}
	w.expect("7@4 DELETE a=@4(2@3)")
	w.create(&pb.WatchCreateRequest{Key: []byte("b"), StartRevision: 6})
	w.expect("1@4 created")
	put(t, c, "b", "1") // 5
	w.expect("7@5 PUT b=1@5")
	w.cancel(7)
	w.expect("7@5 canceled")
	put(t, c, "b", "2") // 6
	w.expect("1@6 PUT b=2@6")
}

func TestWatchCompacted(t *testing.T) {
	c := serve(t, etcdapi.Config{})
	for range 5 {
		put(t, c, "k", "v") // to 6
	}
	if err := c.store.Compact(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	w := c.watching(t)
	w.create(&pb.WatchCreateRequest{Key: []byte("k"), StartRevision: 2})
	w.expect("0@6 created")
	w.expect("0@6 canceled compacted=5")
	w.create(&pb.WatchCreateRequest{Key: []byte("k"), StartRevision: 5})
	w.expect("1@6 created")
	w.expect("1@6 PUT k=v@5 PUT k=v@6")
	w.create(&pb.WatchCreateRequest{Key: []byte("k"), StartRevision: -1})
	w.expect(`-1@6 created canceled "etcdserver: mvcc: required revision has been compacted"`)
}

// TestProgress asks for progress on a stream of several watches: the answer comes after all events up to it.
func TestProgress(t *testing.T) {
	c := serve(t, etcdapi.Config{})
	w := c.watching(t)
	w.progress() // nobody to tell of
	for _, key := range []string{"a", "b"} {
		w.create(&pb.WatchCreateRequest{Key: []byte(key)})
	}
	w.expect("0@1 created")
	w.expect("1@1 created")
	put(t, c, "c", "") // 2: nobody watches it
	w.progress()
	w.expect("-1@2")
	w.create(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 9})
	w.expect("2@2 created")
	w.progress() // not answered while a watch is of the future
	w.cancel(2)
	w.expect("2@2 canceled")
	for i := range 100 {
		put(t, c, string("ab"[i%2]), "v")
		w.progress()
	}
	seen, progress := int64(2), int64(2)
	for progress < 102 {
		r, err := w.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range r.Events {
			if ev.Kv.ModRevision <= progress {
				t.Fatalf("an event of revision %d after progress to %d", ev.Kv.ModRevision, progress)
			}
			seen++
		}
		if r.WatchId == -1 {
			if progress = r.Header.Revision; progress > seen {
				t.Fatalf("progress to %d when events up to %d were sent", progress, seen)
			}
		}
	}
}

// TestProgressNotify waits for notices that nobody asks for.
func TestProgressNotify(t *testing.T) {
	c := serve(t, etcdapi.Config{ProgressInterval: 50 * time.Millisecond})
	w := c.watching(t)
	w.create(&pb.WatchCreateRequest{Key: []byte("a")}) // does not want them
	w.expect("0@1 created")
	w.create(&pb.WatchCreateRequest{Key: []byte("z"), ProgressNotify: true})
	w.expect("1@1 created")
	w.expect("1@1")
	put(t, c, "y", "")
	for at := int64(1); at < 2; {
		r, err := w.stream.Recv()
		if err != nil || r.WatchId != 1 || len(r.Events) > 0 {
			t.Fatal(r, err)
		}
		at = r.Header.Revision
	}
}

// TestManyWatches has a thousand watches of one key on one stream.
func TestManyWatches(t *testing.T) {
	c := serve(t, etcdapi.Config{})
	w := c.watching(t)
	const watches, puts = 1000, 20
	for range watches {
		w.create(&pb.WatchCreateRequest{Key: []byte("k")})
	}
	for i := range watches {
		w.expect(fmt.Sprintf("%d@1 created", i))
	}
	for range puts {
		put(t, c, "k", "v")
	}
	next := map[int64]int64{}
	for n := 0; n < watches*puts; {
		r, err := w.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range r.Events {
			if want := next[r.WatchId] + 2; ev.Kv.ModRevision != want {
				t.Fatalf("watch %d got revision %d, want %d", r.WatchId, ev.Kv.ModRevision, want)
			}
			next[r.WatchId]++
			n++
		}
	}
}

// TestSlowClient reads nothing while more is written than the history keeps: the writer is not held up, a
// client beside it gets everything, and the slow one is told that it lost its place.
func TestSlowClient(t *testing.T) {
	s, err := store.Open(store.Config{HistoryBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := serve(t, etcdapi.Config{Store: s})
	slow, quick := c.watching(t), c.watching(t)
	for _, w := range []watching{slow, quick} {
		w.create(&pb.WatchCreateRequest{Key: []byte("k")})
		w.expect("0@1 created")
	}
	value := strings.Repeat("v", 100_000)
	for i := range int64(300) {
		put(t, c, "k", value)
		r, err := quick.stream.Recv()
		if err != nil || len(r.Events) != 1 || r.Events[0].Kv.ModRevision != i+2 {
			t.Fatal(watchText(r), err)
		}
	}
	for {
		r, err := slow.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if r.Canceled {
			if r.CompactRevision == 0 {
				t.Fatal(watchText(r))
			}
			return
		}
	}
}

// TestFragment lets one revision be sent in several messages.
func TestFragment(t *testing.T) {
	c := serve(t, etcdapi.Config{MaxRequestBytes: 1000})
	w := c.watching(t)
	w.create(&pb.WatchCreateRequest{Key: []byte("k"), RangeEnd: []byte("l"), Fragment: true})
	w.expect("0@1 created")
	txn := store.Txn{}
	for i := range 4 {
		txn.Then = append(txn.Then, store.OpPut(fmt.Sprint("k", i), make([]byte, 300_000)))
	}
	if _, err := c.store.Txn(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
	events := 0
	for fragment := true; fragment; {
		r, err := w.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		events += len(r.Events)
		fragment = r.Fragment
		if len(r.Events) > 2 || (events < 4) != fragment {
			t.Fatalf("%d events at once, %d in all, fragment=%v", len(r.Events), events, fragment)
		}
	}
}
