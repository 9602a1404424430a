package index_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/inboard/inboard/apiserver/internal/index"
	"github.com/inboard/inboard/store"
)

// attribute is the n-th of the words of an entry's value; an entry may have fewer.
func attribute(n int) index.Attribute {
	return index.Attribute{Name: fmt.Sprint("word ", n), Value: func(e *store.Entry) (string, bool, error) {
		words := strings.Fields(string(e.Value))
		if n%3 >= len(words) {
			return "", false, nil
		}
		return words[n%3], true, nil
	}}
}

// An index finds what a scan finds, whatever was put and deleted in between, and however many attributes there are.
func TestFindIsScan(t *testing.T) {
	word := rapid.SampledFrom([]string{"a", "b", "c"})
	key := rapid.StringMatching(`(x|y)/[a-f]`)
	rapid.Check(t, func(t *rapid.T) {
		model := map[string]*store.Entry{}
		put := func() *store.Entry {
			e := &store.Entry{Key: key.Draw(t, "key"), Value: []byte(strings.Join(rapid.SliceOfN(word, 0, 3).Draw(t, "words"), " "))}
			model[e.Key] = e
			return e
		}
		for range rapid.IntRange(0, 5).Draw(t, "first") {
			put()
		}
		x := index.New(sorted(model))
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				k := key.Draw(t, "key")
				delete(model, k)
				x.Delete(k)
			case 1:
				if err := x.Put(put()); err != nil {
					t.Fatal(err)
				}
			default:
				compare(t, x, model, word)
			}
		}
		compare(t, x, model, word)
	})
}

func compare(t *rapid.T, x *index.Index, model map[string]*store.Entry, word *rapid.Generator[string]) {
	a := attribute(rapid.IntRange(0, 40).Draw(t, "attribute"))
	values := rapid.SliceOfNDistinct(word, 1, 2, rapid.ID).Draw(t, "values")
	scope := rapid.SampledFrom([][2]string{{"", "z"}, {"x/", "x0"}, {"y/", "y0"}, {"x/c", "y/c"}}).Draw(t, "range")
	n := 0
	want := slices.DeleteFunc(sorted(model), func(e *store.Entry) bool {
		v, ok, _ := a.Value(e)
		if ok = ok && slices.Contains(values, v); ok {
			n++
		}
		return !ok || e.Key < scope[0] || e.Key >= scope[1]
	})
	got, err := x.Find(a, values, scope[0], scope[1])
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%s in %v: found %v, error %v; want %v", a.Name, values, keys(got), err, keys(want))
	}
	if count, err := x.Count(a, values); err != nil || count != n {
		t.Fatalf("%s in %v: counted %d, error %v; want %d", a.Name, values, count, err, n)
	}
	if x.Len() != len(model) {
		t.Fatalf("%d entries, want %d", x.Len(), len(model))
	}
}

func sorted(model map[string]*store.Entry) []*store.Entry {
	var out []*store.Entry
	for _, e := range model {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *store.Entry) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func keys(entries []*store.Entry) []string {
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Key)
	}
	return out
}

// An entry whose value can't be told is an error to who asks, not a missing entry.
func TestDamagedEntry(t *testing.T) {
	damaged := errors.New("damaged")
	a := index.Attribute{Name: "a", Value: func(e *store.Entry) (string, bool, error) {
		if len(e.Value) == 0 {
			return "", false, damaged
		}
		return "v", true, nil
	}}
	x := index.New([]*store.Entry{{Key: "k"}})
	if _, err := x.Find(a, []string{"v"}, "", "z"); !errors.Is(err, damaged) {
		t.Errorf("finding: %v", err)
	}
	x = index.New([]*store.Entry{{Key: "k", Value: []byte("x")}})
	if _, err := x.Count(a, []string{"v"}); err != nil {
		t.Fatal(err)
	}
	if err := x.Put(&store.Entry{Key: "l"}); !errors.Is(err, damaged) {
		t.Errorf("putting: %v", err)
	}
}
