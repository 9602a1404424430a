// Package index finds entries of a store by the values of attributes, such as labels and fields of the objects in
// them. An Index is a plain value: it reads no store, and its user locks it and feeds it all changes.
package index

import (
	"slices"
	"strings"

	"github.com/tidwall/btree"

	"github.com/inboard/inboard/store"
)

// MaxAttributes bounds how many attributes an Index has; the one that was used least recently makes room.
const MaxAttributes = 16

// Attribute is something that an entry has a value of, or none. Value is pure.
type Attribute struct {
	Name  string
	Value func(e *store.Entry) (value string, ok bool, err error)
}

// Index holds entries, one for each key, by the values of its attributes. Attributes are added when they are first
// used. After an error of an attribute's Value it is of no use any more.
type Index struct {
	objects    map[string]*object
	attributes []*attribute
	clock      uint64
}

// object is the newest entry of a key with its values, in the order of the attributes.
type object struct {
	entry  *store.Entry
	values []value
}

type value struct {
	text string
	ok   bool
}

type attribute struct {
	Attribute
	values map[string]*posting
	used   uint64
}

// posting are the objects that have one value of an attribute, by key.
type posting = btree.BTreeG[*object]

func newPosting() *posting {
	return btree.NewBTreeGOptions(func(a, b *object) bool { return a.entry.Key < b.entry.Key }, btree.Options{Degree: 8, NoLocks: true})
}

// New returns an index of entries with different keys, without attributes yet.
func New(entries []*store.Entry) *Index {
	x := &Index{objects: make(map[string]*object, len(entries))}
	for _, e := range entries {
		x.objects[e.Key] = &object{entry: e}
	}
	return x
}

// Len is the number of entries.
func (x *Index) Len() int { return len(x.objects) }

// Put makes e the entry of its key.
func (x *Index) Put(e *store.Entry) error {
	values := make([]value, len(x.attributes))
	for i, a := range x.attributes {
		var err error
		if values[i], err = a.of(e); err != nil {
			return err
		}
	}
	o := x.objects[e.Key]
	if o == nil {
		o = &object{entry: e, values: make([]value, len(values))}
		x.objects[e.Key] = o
	}
	o.entry = e // of the same key, so the order is not disturbed
	for i, a := range x.attributes {
		if o.values[i] != values[i] {
			a.remove(o, o.values[i])
			a.add(o, values[i])
		}
	}
	o.values = values
	return nil
}

// Delete removes the entry of a key, if there is one.
func (x *Index) Delete(key string) {
	o := x.objects[key]
	if o == nil {
		return
	}
	for i, a := range x.attributes {
		a.remove(o, o.values[i])
	}
	delete(x.objects, key)
}

// Count is how many entries have one of the values of an attribute.
func (x *Index) Count(a Attribute, values []string) (int, error) {
	i, err := x.attribute(a)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, v := range values {
		if p := x.attributes[i].values[v]; p != nil {
			n += p.Len()
		}
	}
	return n, nil
}

// Find returns the entries in the range [start, end) that have one of some different values of an attribute, in the
// order of their keys.
func (x *Index) Find(a Attribute, values []string, start, end string) ([]*store.Entry, error) {
	i, err := x.attribute(a)
	if err != nil {
		return nil, err
	}
	var out []*store.Entry
	from := &object{entry: &store.Entry{Key: start}}
	for _, v := range values {
		if p := x.attributes[i].values[v]; p != nil {
			p.Ascend(from, func(o *object) bool {
				if o.entry.Key >= end {
					return false
				}
				out = append(out, o.entry)
				return true
			})
		}
	}
	if len(values) > 1 {
		slices.SortFunc(out, func(a, b *store.Entry) int { return strings.Compare(a.Key, b.Key) })
	}
	return out, nil
}

// attribute returns the place of an attribute, which is added when it is missing.
func (x *Index) attribute(a Attribute) (int, error) {
	x.clock++
	for i, have := range x.attributes {
		if have.Name == a.Name {
			have.used = x.clock
			return i, nil
		}
	}
	if len(x.attributes) == MaxAttributes {
		x.dropAttribute()
	}
	added := &attribute{Attribute: a, values: map[string]*posting{}, used: x.clock}
	for _, o := range x.objects {
		v, err := added.of(o.entry)
		if err != nil {
			return 0, err
		}
		o.values = append(o.values, v)
		added.add(o, v)
	}
	x.attributes = append(x.attributes, added)
	return len(x.attributes) - 1, nil
}

// dropAttribute removes the attribute that was used least recently.
func (x *Index) dropAttribute() {
	oldest := 0
	for i, a := range x.attributes {
		if a.used < x.attributes[oldest].used {
			oldest = i
		}
	}
	x.attributes = slices.Delete(x.attributes, oldest, oldest+1)
	for _, o := range x.objects {
		o.values = slices.Delete(o.values, oldest, oldest+1)
	}
}

func (a *attribute) of(e *store.Entry) (value, error) {
	text, ok, err := a.Value(e)
	return value{text, ok}, err
}

func (a *attribute) add(o *object, v value) {
	if !v.ok {
		return
	}
	p := a.values[v.text]
	if p == nil {
		p = newPosting()
		// The key must not keep a whole object's bytes alive, which the value may be a part of.
		a.values[strings.Clone(v.text)] = p
	}
	p.Set(o)
}

func (a *attribute) remove(o *object, v value) {
	p := a.values[v.text]
	if !v.ok || p == nil {
		return
	}
	if p.Delete(o); p.Len() == 0 {
		delete(a.values, v.text)
	}
}
