package managed

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
)

// item is an element of a list with what tells it apart from others: the values of its keys, or itself.
type item struct {
	operand
	id []any // strings and int64s
}

// lists compares lists item by item, in the order of what tells them apart.
func (w *walker) lists(p *plan, l, r operand) error {
	ls, err := p.items(l)
	if err != nil {
		return err
	}
	rs, err := p.items(r)
	if err != nil {
		return err
	}
	for len(ls) > 0 || len(rs) > 0 {
		var a, b operand
		var id []any
		c := order(ls, rs)
		if c <= 0 {
			a, id, ls = ls[0].operand, ls[0].id, ls[1:]
		}
		if c >= 0 {
			b, id, rs = rs[0].operand, rs[0].id, rs[1:]
		}
		w.push(step{kind: itemStep, plan: p, id: id})
		if err := w.walk(p.elem, a, b); err != nil {
			return err
		}
		w.pop()
	}
	return nil
}

// order tells which of two sorted lists has the next item, negative for the left one.
func order(l, r []item) int {
	switch {
	case len(l) == 0:
		return 1
	case len(r) == 0:
		return -1
	}
	return compareIDs(l[0].id, r[0].id)
}

func compareIDs(a, b []any) int {
	for i := range a {
		var c int
		switch x := a[i].(type) {
		case string:
			y, ok := b[i].(string)
			if !ok {
				return 1 // numbers come first
			}
			c = cmp.Compare(x, y)
		case int64:
			y, ok := b[i].(int64)
			if !ok {
				return -1
			}
			c = cmp.Compare(x, y)
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

// items returns the items of a list, sorted. Lists with duplicates are the library's.
func (p *plan) items(o operand) ([]item, error) {
	if o.null() {
		return nil, nil
	}
	n := o.Len()
	items := make([]item, n)
	ids := make([]any, 0, n*max(1, len(p.keys)))
	for i := range n {
		v := o.Index(i)
		start := len(ids)
		if p.kind == setPlan {
			if !plain(v.String()) {
				return nil, errPlain
			}
			ids = append(ids, v.String())
		}
		for k := range p.keys {
			id, err := p.keys[k].of(v)
			if err != nil {
				return nil, err
			}
			ids = append(ids, id)
		}
		items[i] = item{operand{v, true}, ids[start:len(ids):len(ids)]}
	}
	less := func(a, b item) int { return compareIDs(a.id, b.id) }
	if !slices.IsSortedFunc(items, less) {
		slices.SortFunc(items, less)
	}
	for i := 1; i < n; i++ {
		if less(items[i-1], items[i]) == 0 {
			return nil, errPlain
		}
	}
	return items, nil
}

// of returns the value of an item's key.
func (k *keyPlan) of(v reflect.Value) (any, error) {
	f := k.reader.of(v)
	if k.reader.omits(f) {
		switch d := k.def.(type) {
		case string:
			return d, nil
		case int:
			return int64(d), nil
		}
		return nil, errPlain
	}
	switch f = indirect(f); f.Kind() {
	case reflect.String:
		if s := f.String(); plain(s) {
			return s, nil
		}
	case reflect.Int32, reflect.Int64, reflect.Int:
		return f.Int(), nil
	}
	return nil, errPlain
}

// appendItem writes what tells an item apart as a key of FieldsV1, as in "k:{\"name\":\"web\"}" and
// "v:\"x\"", with the outer quotes.
func (p *plan) appendItem(b []byte, id []any) []byte {
	if p.kind == setPlan {
		b = append(b, `"v:`...)
		return append(appendInner(b, id[0]), '"')
	}
	b = append(b, `"k:{`...)
	for i := range p.keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `\"`...)
		b = append(b, p.keys[i].name...)
		b = append(b, `\":`...)
		b = appendInner(b, id[i])
	}
	return append(b, `}"`...)
}

// appendInner writes a value in JSON that stands in a JSON string.
func appendInner(b []byte, v any) []byte {
	if n, ok := v.(int64); ok {
		return strconv.AppendInt(b, n, 10)
	}
	b = append(b, `\"`...)
	b = append(b, v.(string)...)
	return append(b, `\"`...)
}
