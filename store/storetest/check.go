package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/inboard/inboard/store"
)

// checker does random things to a store and to the model and compares all that can be seen.
type checker struct {
	*rapid.T
	t     *testing.T
	store Store
	model *model
	generator
	// compacted is the highest revision that was compacted, by any run.
	compacted *int64
}

func testModel(t *testing.T, s Store) {
	runs, compacted := 0, int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := newModel(revision(t, s))
		c := checker{T: rt, t: t, store: s, model: m, compacted: &compacted}
		c.generator = generator{T: rt, model: m, prefix: fmt.Sprintf("run%06d/", runs), leases: store.LeaseID(runs * 10)}
		rt.Repeat(map[string]func(*rapid.T){
			"txn":     func(*rapid.T) { c.txn() },
			"range":   func(*rapid.T) { c.read() },
			"watch":   func(*rapid.T) { c.watch() },
			"compact": func(*rapid.T) { c.compact() },
			"lease":   func(*rapid.T) { c.lease() },
		})
	})
}

func (c checker) txn() {
	txn := c.drawTxn(0)
	if ambiguous(txn) {
		c.Skip("etcd and this store see its validity differently")
	}
	res, err := c.store.Txn(c.t.Context(), txn)
	want, wantErr := c.model.txn(txn)
	got := ""
	if err == nil {
		got = fmt.Sprint(show(res, txn), " at ", res.Revision)
	}
	if !errors.Is(err, wantErr) || got != want {
		c.Fatalf("%+v\n got %s, %v\nwant %s, %v", txn, got, err, want, wantErr)
	}
}

func items(entries []*store.Entry) []item {
	var items []item
	for _, e := range entries {
		items = append(items, item{e.Key, string(e.Value), e.CreateRevision, e.ModRevision, e.Version, e.Lease})
	}
	return items
}

// show is what the store answered, as the model's text.
func show(res store.TxnResult, t store.Txn) string {
	ops := t.Then
	if !res.Succeeded {
		ops = t.Else
	}
	text := fmt.Sprint(res.Succeeded)
	for i, r := range res.Results {
		switch ops[i].Type {
		case store.TypeGet:
			text += fmt.Sprint("; get ", r.Count, items(r.Entries))
		case store.TypePut:
			text += fmt.Sprint("; put ", items(r.Prev))
		case store.TypeDelete:
			text += fmt.Sprint("; delete ", r.Count, items(r.Prev))
		case store.TypeTxn:
			text += "; (" + show(*r.Txn, *ops[i].Txn) + ")"
		}
	}
	return text
}

// read asks for any revision: one that is kept, the newest, a compacted one, one that is to come.
func (c checker) read() {
	r := store.Range{Linearizable: true, Limit: rapid.IntRange(0, 4).Draw(c.T, "limit"), SkipCount: rapid.Bool().Draw(c.T, "skip count")}
	r.Key, r.End = c.span()
	r.Revision = rapid.SampledFrom([]int64{0, *c.compacted - 1, c.model.rev() + 1, -1, -1, -1}).Draw(c.T, "special")
	if r.Revision < 0 {
		r.Revision = rapid.Int64Range(c.model.base, c.model.rev()).Draw(c.T, "revision")
	}
	res, err := c.store.Range(c.t.Context(), r)
	at := r.Revision
	switch {
	case at == 0:
		at = c.model.rev()
	case at > c.model.rev():
		c.expect(r, err, store.ErrFutureRevision)
		return
	case at < *c.compacted:
		c.expect(r, err, store.ErrCompacted)
		return
	}
	want := pick(c.model.at(at), r.Key, r.End)
	count := len(want)
	if r.Limit > 0 {
		want = want[:min(r.Limit, count)]
	}
	if err != nil || !slices.Equal(items(res.Entries), want) || res.More != (len(want) < count) {
		c.Fatalf("%+v\n got %v, more %v, %v\nwant %v of %d", r, items(res.Entries), res.More, err, want, count)
	}
	if !r.SkipCount && res.Count != count {
		c.Fatalf("%+v: count %d, want %d", r, res.Count, count)
	}
	// Etcd tells the newest revision instead of the one that was read.
	if res.Revision != at && res.Revision != c.model.rev() {
		c.Fatalf("%+v: read revision %d", r, res.Revision)
	}
}

func (c checker) expect(what any, err, want error) {
	if !errors.Is(err, want) {
		c.Fatalf("%+v: %v, want %v", what, err, want)
	}
}

// watch asks for all that a range saw since any revision that is kept.
func (c checker) watch() {
	cfg := store.WatchConfig{
		Prev:     rapid.Bool().Draw(c.T, "prev"),
		Revision: rapid.Int64Range(c.model.base+1, c.model.rev()+1).Draw(c.T, "revision"),
		SkipPuts: rapid.IntRange(0, 4).Draw(c.T, "puts") == 0, SkipDeletes: rapid.IntRange(0, 4).Draw(c.T, "deletes") == 0,
	}
	for cfg.Key, cfg.End = c.span(); cfg.End != "" && cfg.End <= cfg.Key; {
		cfg.Key, cfg.End = c.span() // etcd takes no watch of an empty range
	}
	w, err := c.store.Watch(cfg)
	if err != nil {
		c.Fatalf("%+v: %v", cfg, err)
	}
	defer w.Close()
	var got []change
	for began := time.Now(); w.Progress() < c.model.rev(); {
		if time.Since(began) > watchPatience {
			c.Fatalf("%+v: progress %d, at revision %d", cfg, w.Progress(), c.model.rev())
		}
		b, err := nextOrNothing(c.t, w)
		if err != nil {
			c.Fatalf("%+v: %v", cfg, err)
		}
		for _, ev := range b.Events {
			got = append(got, change{b.Revision, ev.Type == store.EventDelete, items([]*store.Entry{ev.Entry})[0], before(ev)})
		}
	}
	if want := c.model.changes(cfg); fmt.Sprint(got) != fmt.Sprint(want) {
		c.Fatalf("%+v\n got %v\nwant %v", cfg, got, want)
	}
}

// watchPatience is how long a watcher may take to say that it has nothing more to say.
const watchPatience = 30 * time.Second

func before(ev store.Event) []item {
	if ev.Prev == nil {
		return nil
	}
	return items([]*store.Entry{ev.Prev})
}

// changes is what a watcher should see.
func (m *model) changes(cfg store.WatchConfig) []change {
	var seen []change
	for rev := cfg.Revision; rev <= m.rev(); rev++ {
		for _, ch := range m.events[rev-m.base] {
			if !within(ch.item.key, cfg.Key, cfg.End) || (ch.deleted && cfg.SkipDeletes) || (!ch.deleted && cfg.SkipPuts) {
				continue
			}
			if !cfg.Prev {
				ch.prev = nil
			}
			seen = append(seen, ch)
		}
	}
	return seen
}

func (c checker) compact() {
	rev := rapid.Int64Range(c.model.base, c.model.rev()+1).Draw(c.T, "revision")
	err := c.store.Compact(c.t.Context(), rev)
	switch {
	case rev > c.model.rev():
		c.expect("compact", err, store.ErrFutureRevision)
	case rev <= *c.compacted:
		c.expect("compact", err, store.ErrCompacted)
	default:
		c.expect("compact", err, nil)
		*c.compacted = rev
		c.model.compact(rev)
	}
}

// leaseTTL is long enough that no lease expires during a test.
const leaseTTL = time.Hour

func (c checker) lease() {
	ctx, id := c.t.Context(), c.leaseID()
	missing := store.ErrLeaseNotFound
	if c.model.leases[id] {
		missing = nil
	}
	switch rapid.IntRange(0, 5).Draw(c.T, "lease action") {
	case 0:
		c.expect("revoke", c.store.Revoke(ctx, id), missing)
		c.model.revoke(id)
	case 1:
		ttl, err := c.store.KeepAlive(ctx, id)
		c.expect("keep alive", err, missing)
		if err == nil && ttl != leaseTTL {
			c.Fatalf("kept alive for %s", ttl)
		}
	case 2:
		info, err := c.store.Lease(ctx, id)
		c.expect("lease", err, missing)
		if err == nil && (info.ID != id || info.TTL != leaseTTL || info.Remaining > leaseTTL || info.Remaining < leaseTTL/2 ||
			!slices.Equal(info.Keys, c.model.keysOf(id))) {
			c.Fatalf("lease %d is %+v, want the keys %q", id, info, c.model.keysOf(id))
		}
	case 3:
		c.leasesAreThere()
	default:
		got, err := c.store.Grant(ctx, id, leaseTTL)
		if missing == nil {
			c.expect("grant", err, store.ErrLeaseExists)
			return
		}
		if err != nil || got != id {
			c.Fatalf("granted %d: got %d, %v", id, got, err)
		}
		c.model.leases[id] = true
	}
}

func (c checker) leasesAreThere() {
	got, err := c.store.Leases(c.t.Context())
	if err != nil || !slices.IsSorted(got) {
		c.Fatalf("leases %v, %v", got, err)
	}
	for id := c.leases; id < c.leases+leasesOfARun; id++ {
		if slices.Contains(got, id) != c.model.leases[id] {
			c.Fatalf("leases %v, want %v", got, c.model.leases)
		}
	}
}
