package store

import (
	"sync"
	"sync/atomic"
	"unsafe"

	iradix "github.com/hashicorp/go-immutable-radix"
)

// watchers finds whom a change concerns without asking each: watchers of one key and of a prefix are
// found by the key, whatever their number; only those of other ranges are compared one by one.
type watchers struct {
	store *Store
	// announced is the newest revision that all watchers have been told of.
	announced atomic.Int64

	mu       sync.Mutex
	byKey    map[string]*watcherSet
	prefixes *iradix.Tree // of *watcherSet
	ranges   *watcherSet
	// touched are the sets that the command that is being announced concerns.
	touched []*watcherSet
}

// keyBytes is a key as a radix tree wants it, without a copy: the tree does not write to keys.
func keyBytes(key string) []byte { return unsafe.Slice(unsafe.StringData(key), len(key)) }

// watcherSet are the watchers of one key or prefix. A command's changes are gathered by set, so that a watcher
// is told once of all that a command holds for it.
type watcherSet struct {
	members map[*Watcher]struct{}
	news    news // of the command that is being announced
}

func newWatcherSet() *watcherSet { return &watcherSet{members: map[*Watcher]struct{}{}} }

// news are the first and the last revision with an event of each type, 0 when there is none.
type news [2]struct{ first, last int64 }

func (c *news) add(typ EventType, rev int64) {
	if c[typ].first == 0 {
		c[typ].first = rev
	}
	c[typ].last = rev
}

func (ws *watchers) init(s *Store) {
	ws.store = s
	ws.byKey = map[string]*watcherSet{}
	ws.prefixes = iradix.New()
	ws.ranges = newWatcherSet()
	ws.announced.Store(s.Revision())
}

// add registers a watcher from revision rev on, or from the next one when it is 0.
func (ws *watchers) add(w *Watcher, rev int64) error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	// Revisions that are published but not announced yet lie below next: notify passes them over.
	current := ws.store.Revision()
	w.next = rev
	if rev == 0 {
		w.next = current + 1
	}
	if oldest := ws.store.history.oldest(); w.next <= oldest {
		return &CompactedError{Oldest: oldest}
	}
	if w.next <= current {
		w.first, w.last = w.next, current
	}
	ws.set(w, true).members[w] = struct{}{}
	return nil
}

func (ws *watchers) remove(w *Watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	set := ws.set(w, false)
	if set == nil {
		return
	}
	if delete(set.members, w); len(set.members) > 0 {
		return
	}
	switch {
	case w.cfg.End == "":
		delete(ws.byKey, w.cfg.Key)
	case isPrefix(w.cfg.Key, w.cfg.End):
		ws.prefixes, _, _ = ws.prefixes.Delete(keyBytes(w.cfg.Key))
	}
}

// set returns the set that a watcher belongs to; with add, it is made when missing.
func (ws *watchers) set(w *Watcher, add bool) *watcherSet {
	key := w.cfg.Key
	switch {
	case w.cfg.End == "":
		set := ws.byKey[key]
		if set == nil && add {
			set = newWatcherSet()
			ws.byKey[key] = set
		}
		return set
	case isPrefix(key, w.cfg.End):
		if v, ok := ws.prefixes.Get(keyBytes(key)); ok {
			return v.(*watcherSet)
		}
		if !add {
			return nil
		}
		set := newWatcherSet()
		ws.prefixes, _, _ = ws.prefixes.Insert(keyBytes(key), set)
		return set
	}
	return ws.ranges
}

// announce tells the watchers that the records concern. Revisions come in order.
func (ws *watchers) announce(records []*record) {
	ws.mu.Lock()
	for _, r := range records {
		for i := range r.events {
			ws.note(&r.events[i], r.rev)
		}
	}
	for i, set := range ws.touched {
		for w := range set.members {
			w.notify(&set.news)
		}
		set.news, ws.touched[i] = news{}, nil
	}
	ws.touched = ws.touched[:0]
	ws.mu.Unlock()
	ws.announced.Store(records[len(records)-1].rev)
}

// note gathers a change for the sets that it concerns. Watchers of other ranges are told at once.
func (ws *watchers) note(ev *Event, rev int64) {
	key := ev.Entry.Key
	if set := ws.byKey[key]; set != nil {
		ws.touch(set, ev, rev)
	}
	if ws.prefixes.Len() > 0 {
		ws.prefixes.Root().WalkPath(keyBytes(key), func(_ []byte, v any) bool {
			ws.touch(v.(*watcherSet), ev, rev)
			return false
		})
	}
	for w := range ws.ranges.members {
		if w.wants(ev) {
			var one news
			one.add(ev.Type, rev)
			w.notify(&one)
		}
	}
}

func (ws *watchers) touch(set *watcherSet, ev *Event, rev int64) {
	if set.news == (news{}) {
		ws.touched = append(ws.touched, set)
	}
	set.news.add(ev.Type, rev)
}

// announceReset tells all watchers that state and history were replaced by those of revision rev: they look
// for what they have not seen in the new history. A state older than what they saw has none for them.
func (ws *watchers) announceReset(rev int64) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	from := ws.announced.Load() + 1
	if rev < from-1 {
		from = 0
	}
	ws.eachLocked(func(w *Watcher) { w.reset(from, rev) })
	ws.announced.Store(rev)
}

// each calls f with every watcher.
func (ws *watchers) each(f func(*Watcher)) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.eachLocked(f)
}

func (ws *watchers) eachLocked(f func(*Watcher)) {
	all := func(set *watcherSet) {
		for w := range set.members {
			f(w)
		}
	}
	for _, set := range ws.byKey {
		all(set)
	}
	ws.prefixes.Root().Walk(func(_ []byte, v any) bool {
		all(v.(*watcherSet))
		return false
	})
	all(ws.ranges)
}
