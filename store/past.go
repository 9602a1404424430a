package store

// maxRebuilt is how many trees of revisions in the middle of a command are kept, for the further pages of
// a list. It bounds what readers of the past can make the store hold.
const maxRebuilt = 16

// rebuilt are the records that have such a tree; guarded by history.mu.
type rebuilt struct {
	records [maxRebuilt]*record
	next    int
}

func (b *rebuilt) add(r *record, t tree) {
	if old := b.records[b.next]; old != nil {
		old.rebuilt = tree{}
	}
	r.rebuilt = t
	b.records[b.next] = r
	b.next = (b.next + 1) % maxRebuilt
}

// treeAt returns the key space after revision rev. Only the last revision of a command has a tree of its
// own. One in the middle is made from the nearest later tree, by undoing what happened in between.
func (h *history) treeAt(rev int64) (tree, error) {
	r, later, undo, err := h.around(rev)
	if err != nil || len(undo) == 0 {
		return later, err
	}
	edit := later.edit()
	for i := len(undo) - 1; i >= 0; i-- {
		undo[i].undo(edit)
	}
	made := edit.commit()
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.rebuilt.isZero() {
		h.rebuilt.add(r, made)
	}
	return made, nil
}

// around returns the record of rev, the nearest tree at rev or after it, and the records between the two.
func (h *history) around(rev int64) (r *record, later tree, undo []*record, err error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	newest := h.base.rev + int64(h.count)
	switch {
	case rev < h.base.rev:
		return nil, tree{}, nil, &CompactedError{Oldest: h.base.rev}
	case rev > newest:
		return nil, tree{}, nil, ErrFutureRevision
	}
	r = h.at(rev)
	for later = r.anyTree(); later.isZero(); { // the newest one has a tree
		rev++
		undo = append(undo, h.at(rev))
		later = h.at(rev).anyTree()
	}
	return r, later, undo, nil
}

func (r *record) anyTree() tree {
	if r.tree.isZero() {
		return r.rebuilt
	}
	return r.tree
}

// undo takes back what the record's revision changed.
func (r *record) undo(edit *treeEdit) {
	for i := len(r.events) - 1; i >= 0; i-- {
		if ev := &r.events[i]; ev.Prev != nil {
			edit.put(ev.Prev)
		} else {
			edit.delete(ev.Entry.Key)
		}
	}
}

// window returns the oldest revision with its key space, and all records after it. Nothing is appended
// meanwhile: Store.mu is held.
func (h *history) window() (base *record, records []*record) {
	for {
		oldest := h.oldest()
		t, err := h.treeAt(oldest)
		h.mu.RLock()
		if err == nil && oldest == h.base.rev {
			base = &record{rev: oldest, tree: t}
			break
		}
		h.mu.RUnlock() // it was let go of meanwhile
	}
	defer h.mu.RUnlock()
	records = make([]*record, h.count)
	for i := range records {
		records[i] = h.at(h.base.rev + 1 + int64(i))
	}
	return base, records
}
