package store

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// A tree is a sorted map, and an edit changes nothing but what it makes.
func TestTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		trees, models := []tree{newTree()}, []map[string]*Entry{{}}
		for range rapid.IntRange(1, 10).Draw(t, "edits") {
			from := rapid.IntRange(0, len(trees)-1).Draw(t, "from")
			edit, model := trees[from].edit(), maps.Clone(models[from])
			for range rapid.IntRange(0, 100).Draw(t, "changes") {
				key := treeKey(t)
				if rapid.IntRange(0, 2).Draw(t, "delete") == 0 {
					edit.delete(key)
					delete(model, key)
					continue
				}
				e := &Entry{Key: key}
				edit.put(e)
				model[key] = e
			}
			trees, models = append(trees, edit.commit()), append(models, model)
		}
		for i := range trees {
			checkTree(t, trees[i], models[i])
		}
	})
}

func treeKey(t *rapid.T) string {
	return rapid.StringMatching(`[a-c\xff]{1,4}`).Draw(t, "key")
}

func checkTree(t *rapid.T, tr tree, model map[string]*Entry) {
	v, keys := tr.view(), slices.Sorted(maps.Keys(model))
	if tr.len() != len(keys) {
		t.Fatalf("%d keys, want %d", tr.len(), len(keys))
	}
	for range 10 {
		start, limit := treeKey(t), rapid.IntRange(0, 5).Draw(t, "limit")
		end := rapid.SampledFrom([]string{"", toEnd, PrefixEnd(start), treeKey(t)}).Draw(t, "end")
		var want []*Entry
		for _, key := range keys {
			if inRange(key, start, end) {
				want = append(want, model[key])
			}
		}
		first := want
		if limit > 0 && limit < len(want) {
			first = want[:limit]
		}
		if got, n := v.collect(start, end, limit); n != len(want) || !slices.Equal(got, first) {
			t.Fatalf("[%q, %q) limit %d: %d and %v, want %d and %v", start, end, limit, n, got, len(want), first)
		}
		if got, more := v.page(start, end, limit); more != (len(first) < len(want)) || !slices.Equal(got, first) {
			t.Fatalf("[%q, %q) limit %d: %v and more: %v, want %v", start, end, limit, got, more, first)
		}
		if n := v.count(start, end); n != len(want) {
			t.Fatalf("[%q, %q): %d, want %d", start, end, n, len(want))
		}
		if e := v.get(start); e != model[start] {
			t.Fatalf("%q: %v", start, e)
		}
	}
}

// Trees made of one tree at the same time, while it is read, have nothing to do with each other; for the
// race detector.
func TestEditsAtTheSameTime(t *testing.T) {
	edit := newTree().edit()
	for i := range 1000 {
		edit.load(&Entry{Key: fmt.Sprintf("%04d", i)})
	}
	tr := edit.commit()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			edit := tr.edit()
			for j := range 1000 {
				key := fmt.Sprintf("%04d", j)
				if j%4 == i {
					edit.delete(key)
				}
				if tr.view().get(key) == nil {
					t.Errorf("%s is gone", key)
				}
			}
			if n := edit.commit().len(); n != 750 {
				t.Errorf("%d keys are left", n)
			}
		})
	}
	wg.Wait()
	if tr.len() != 1000 {
		t.Errorf("%d keys", tr.len())
	}
}
