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
	byKey    map[string]watcherSet
	prefixes *iradix.Tree // of watcherSet; nil when there are none
	ranges   watcherSet
}

// keyBytes is a key as a radix tree wants it, without a copy: the tree does not write to keys.
func keyBytes(key string) []byte { return unsafe.Slice(unsafe.StringData(key), len(key)) }

type watcherSet map[*Watcher]struct{}

func (ws *watchers) init(s *Store) {
	ws.store = s
	ws.byKey = map[string]watcherSet{}
	ws.prefixes = iradix.New()
	ws.ranges = watcherSet{}
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
	ws.set(w, true)[w] = struct{}{}
	return nil
}

func (ws *watchers) remove(w *Watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	set := ws.set(w, false)
	delete(set, w)
	if len(set) > 0 {
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
func (ws *watchers) set(w *Watcher, add bool) watcherSet {
	key := w.cfg.Key
	switch {
	case w.cfg.End == "":
		set := ws.byKey[key]
		if set == nil && add {
			set = watcherSet{}
			ws.byKey[key] = set
		}
		return set
	case isPrefix(key, w.cfg.End):
		if v, ok := ws.prefixes.Get(keyBytes(key)); ok {
			return v.(watcherSet)
		}
		set := watcherSet{}
		if add {
			ws.prefixes, _, _ = ws.prefixes.Insert(keyBytes(key), set)
		}
		return set
	}
	return ws.ranges
}

// announce tells the watchers that the records concern. Revisions come in order.
func (ws *watchers) announce(records []*record) {
	ws.mu.Lock()
	for _, r := range records {
		for i := range r.events {
			ws.tell(&r.events[i], r.rev)
		}
	}
	ws.mu.Unlock()
	ws.announced.Store(records[len(records)-1].rev)
}

func (ws *watchers) tell(ev *Event, rev int64) {
	key := ev.Entry.Key
	ws.byKey[key].notify(ev.Type, rev)
	if ws.prefixes.Len() > 0 {
		ws.prefixes.Root().WalkPath(keyBytes(key), func(_ []byte, v any) bool {
			v.(watcherSet).notify(ev.Type, rev)
			return false
		})
	}
	for w := range ws.ranges {
		if w.wants(ev) {
			w.notify(ev.Type, rev)
		}
	}
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
	all := func(set watcherSet) {
		for w := range set {
			f(w)
		}
	}
	for _, set := range ws.byKey {
		all(set)
	}
	ws.prefixes.Root().Walk(func(_ []byte, v any) bool {
		all(v.(watcherSet))
		return false
	})
	all(ws.ranges)
}

func (set watcherSet) notify(typ EventType, rev int64) {
	for w := range set {
		w.notify(typ, rev)
	}
}
