package apiserver

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/selection"

	"github.com/inboard/inboard/apiserver/internal/index"
	"github.com/inboard/inboard/store"
)

// indexFrom is how many objects a list must be about for an index to be used. Fewer are looked at one by one.
const indexFrom = 128

// objectIndex finds the objects of a resource by labels and fields. It is the state at one revision, and brought up
// to date from the store's history when a list needs it: writers do nothing for it, and what nobody selects by is
// not in it.
type objectIndex struct {
	mu      sync.Mutex
	entries *index.Index // nil until it is needed
	rev     int64
	// asked are the names of attributes that were asked for once: an index pays from the second time on.
	asked map[string]bool
	// used tells that it was used since release was called.
	used bool
}

// maxAsked bounds objectIndex.asked.
const maxAsked = 256

// term is a condition of a selector that an index can answer: the attribute has one of the values.
type term struct {
	index.Attribute
	values []string
}

// terms returns what an index can answer of a selector, and whether that is all of it when there is one term.
func (sel *selector) terms() (terms []term, whole bool) {
	requirements, _ := sel.labels.Requirements()
	for i := range requirements {
		switch r := &requirements[i]; r.Operator() {
		case selection.Equals, selection.DoubleEquals, selection.In:
			terms = append(terms, term{sel.res.labelAttribute(r.Key()), r.Values().UnsortedList()})
		}
	}
	for i := range sel.fields {
		if f := &sel.fields[i]; !f.not && !f.scope {
			terms = append(terms, term{sel.res.fieldAttribute(f), []string{f.value}})
		}
	}
	return terms, len(requirements)+len(sel.fields) == 1
}

func (r *resource) labelAttribute(key string) index.Attribute {
	return index.Attribute{Name: "label " + key, Value: func(e *store.Entry) (string, bool, error) {
		l, err := r.labelsOf(e)
		if err != nil {
			return "", false, err
		}
		v, ok := l.Lookup(key)
		return v, ok, nil
	}}
}

// fieldAttribute reads a field. An object that is decoded for it alone is not kept.
func (r *resource) fieldAttribute(f *fieldCondition) index.Attribute {
	get := f.get
	return index.Attribute{Name: f.name, Value: func(e *store.Entry) (string, bool, error) {
		obj, err := r.passing(e)
		if err != nil {
			return "", false, err
		}
		return get(obj), true, nil
	}}
}

// indexed returns the entries that an index finds for a selector, at the newest revision. They are all that the
// selector selects, and with whole nothing else. Ok is false when there is no index for it, or a scan is better.
func (s *Server) indexed(ctx context.Context, sel *selector) (entries []*store.Entry, rev int64, whole, ok bool) {
	if sel.end == "" || sel.all() {
		return nil, 0, false, false
	}
	terms, whole := sel.terms()
	if len(terms) == 0 {
		return nil, 0, false, false
	}
	size, err := s.store.Range(ctx, store.Range{Key: sel.key, End: sel.end, Limit: 1})
	if err != nil || size.Count < indexFrom {
		return nil, 0, false, false
	}
	x := &sel.res.index
	x.mu.Lock()
	defer x.mu.Unlock()
	terms = x.worthwhile(terms)
	if len(terms) == 0 {
		return nil, 0, false, false
	}
	entries, err = x.find(ctx, s.store, sel, terms, size.Count)
	if err != nil { // a scan may find out more
		x.entries = nil
		return nil, 0, false, false
	}
	return entries, x.rev, whole, entries != nil
}

// worthwhile returns the terms whose attribute is asked for again.
func (x *objectIndex) worthwhile(terms []term) []term {
	var out []term
	for _, t := range terms {
		if x.asked[t.Name] {
			out = append(out, t)
			continue
		}
		if x.asked == nil || len(x.asked) == maxAsked {
			x.asked = map[string]bool{}
		}
		x.asked[t.Name] = true
	}
	return out
}

// find returns the entries of the term that has the fewest, nil when those are many of the size that a scan has.
func (x *objectIndex) find(ctx context.Context, st Store, sel *selector, terms []term, size int) ([]*store.Entry, error) {
	if err := x.refresh(ctx, st, sel.res.prefix); err != nil {
		return nil, err
	}
	x.used = true
	best, fewest := -1, size/2
	for i, t := range terms {
		n, err := x.entries.Count(t.Attribute, t.values)
		if err != nil {
			return nil, err
		}
		if n <= fewest {
			best, fewest = i, n
		}
	}
	if best < 0 {
		return nil, nil
	}
	found, err := x.entries.Find(terms[best].Attribute, terms[best].values, sel.key, sel.end)
	if found == nil {
		found = []*store.Entry{}
	}
	return found, err
}

// releaseIndexes lets go of the indexes that no list has used since the last time: they hold entries that may be gone.
func (s *Server) releaseIndexes(context.Context) error {
	for _, r := range s.catalog.Load().table.ordered {
		if r.hub == nil {
			r.index.release()
		}
	}
	return nil
}

func (x *objectIndex) release() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.used {
		x.entries, x.asked = nil, nil
	}
	x.used = false
}

// refresh brings the index to the store's newest revision.
func (x *objectIndex) refresh(ctx context.Context, st Store, prefix string) error {
	end := store.PrefixEnd(prefix)
	if x.entries != nil {
		err := x.follow(ctx, st, prefix, end)
		if !errors.Is(err, store.ErrCompacted) {
			return err
		}
	}
	all, err := st.Range(ctx, store.Range{Key: prefix, End: end, SkipCount: true})
	if err != nil {
		return err
	}
	x.entries, x.rev = index.New(all.Entries), all.Revision
	return nil
}

// follow applies what happened since x.rev. The watcher lives for that only: there is nothing to close later.
func (x *objectIndex) follow(ctx context.Context, st Store, prefix, end string) error {
	newest := st.Revision()
	if newest == x.rev {
		return nil
	}
	w, err := st.Watch(store.WatchConfig{Key: prefix, End: end, Revision: x.rev + 1})
	if err != nil {
		return err
	}
	defer w.Close()
	for idle := 0; ; {
		batch, ok, err := w.TryNext()
		if err != nil {
			return err
		}
		if ok {
			if err := x.apply(batch); err != nil {
				return err
			}
			continue
		}
		if at := w.Progress(); at >= newest {
			x.rev = at
			return nil
		}
		// A revision is to be seen a moment before watchers are told of it.
		if idle++; idle > 100 {
			time.Sleep(50 * time.Microsecond)
		}
		runtime.Gosched()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (x *objectIndex) apply(b store.Batch) error {
	x.rev = b.Revision
	for i := range b.Events {
		e := b.Events[i].Entry
		if b.Events[i].Type == store.EventDelete {
			x.entries.Delete(e.Key)
		} else if err := x.entries.Put(e); err != nil {
			return err
		}
	}
	return nil
}

// collectIndexed is collect from what an index found.
func (sel *selector) collectIndexed(entries []*store.Entry, rev int64, whole bool, limit int) (*listed, error) {
	out := &listed{revision: rev, items: []found{}}
	if whole && limit == 0 {
		out.items = make([]found, 0, len(entries))
	}
	for i, e := range entries {
		f := sel.res.found(e)
		ok := whole
		if !ok {
			var err error
			if ok, err = sel.selects(&f); err != nil {
				return nil, err
			}
		}
		if ok {
			out.items = append(out.items, f)
		}
		if limit > 0 && len(out.items) == limit && i+1 < len(entries) {
			return out, out.more(sel, e.Key, 0)
		}
	}
	return out, nil
}
