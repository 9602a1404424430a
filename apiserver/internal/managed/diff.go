package managed

import (
	"errors"
	"reflect"
	"slices"
	"sync"

	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// errPlain tells that two objects have to be compared by the library.
var errPlain = errors.New("this takes the library")

// difference is what a write did to an object, as sets of fields in the form of FieldsV1; nil is none.
type difference struct {
	// changed holds the fields that were added or modified.
	changed []byte
	removed []byte
}

// compare tells what differs between two objects of the plan's type. Either value may be a pointer.
func (p *plan) compare(old, new reflect.Value) (difference, error) {
	w := walkers.Get().(*walker)
	defer w.release()
	l, r := indirect(old), indirect(new)
	if err := w.walk(p, operand{l, true}, operand{r, true}); err != nil {
		return difference{}, err
	}
	return difference{w.changed.done(), w.removed.done()}, nil
}

// operand is a value on one side of a comparison; there tells whether its JSON has it at all.
type operand struct {
	reflect.Value
	there bool
}

func indirect(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	return v
}

// null tells that a value stands for JSON's null, or is not there.
func (o operand) null() bool {
	if !o.there {
		return true
	}
	switch o.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		return o.IsNil()
	}
	return false
}

// walker compares two values, field by field in the order in which sets of fields are written.
type walker struct {
	changed, removed writer
	path             []step
}

// walkers are kept for the next comparison with the memory that they have grown.
var walkers = sync.Pool{New: func() any { return &walker{path: make([]step, 0, 16)} }}

// maxKept bounds what a walker keeps of a buffer.
const maxKept = 16 << 10

func (w *walker) release() {
	clear(w.path[:cap(w.path)]) // they refer to what was compared
	w.path = w.path[:0]
	w.changed.reset()
	w.removed.reset()
	walkers.Put(w)
}

// walk compares the values at the walker's path.
func (w *walker) walk(p *plan, l, r operand) error {
	if p.kind == leafPlan || empty(p, l) && empty(p, r) {
		// What is empty on both sides is managed as one, to tell empty from null.
		return w.leaf(p, l, r)
	}
	switch {
	case p.unnamed:
	case !l.there:
		w.changed.add(w.path)
	case !r.there:
		w.removed.add(w.path)
	}
	switch p.kind {
	case structPlan:
		return w.structs(p, l, r)
	case mapPlan:
		return w.maps(p, l, r)
	default:
		return w.lists(p, l, r)
	}
}

// leaf compares what is managed as one.
func (w *walker) leaf(p *plan, l, r operand) error {
	switch {
	case p.unnamed:
	case !l.there:
		w.changed.add(w.path)
	case !r.there:
		w.removed.add(w.path)
	default:
		same, err := p.equal(l.Value, r.Value)
		if err != nil {
			return err
		}
		if !same {
			w.changed.add(w.path)
		}
	}
	return nil
}

func (w *walker) push(s step) { w.path = append(w.path, s) }

// pop leaves a field. What was written about it is complete.
func (w *walker) pop() {
	w.path = w.path[:len(w.path)-1]
	w.changed.leave(len(w.path))
	w.removed.leave(len(w.path))
}

func (w *walker) structs(p *plan, l, r operand) error {
	for i := range p.fields {
		f := &p.fields[i]
		lf, rf := f.of(l), f.of(r)
		if !lf.there && !rf.there {
			continue
		}
		w.push(step{field: f.name})
		if err := w.walk(f.plan, lf, rf); err != nil {
			return err
		}
		w.pop()
	}
	return nil
}

// of returns a field of a struct that may not be there.
func (f *fieldPlan) of(o operand) operand {
	if o.null() {
		return operand{}
	}
	v := f.reader.of(o.Value)
	if f.reader.omits(v) {
		return operand{}
	}
	return operand{indirect(v), true}
}

// empty tells that there is nothing in a struct, map or list that could be managed.
func empty(p *plan, o operand) bool {
	if o.null() {
		return true
	}
	if p.kind != structPlan {
		return o.Len() == 0
	}
	for i := range p.all {
		if f := &p.all[i]; !f.omits(f.of(o.Value)) {
			return false
		}
	}
	return true
}

func (w *walker) maps(p *plan, l, r operand) error {
	if sameStrings(l, r) {
		return nil
	}
	var keys []string
	for _, o := range []operand{l, r} {
		if o.null() {
			continue
		}
		for it := o.MapRange(); it.Next(); {
			keys = append(keys, it.Key().String())
		}
	}
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		if !plain(key) {
			return errPlain
		}
		w.push(step{kind: keyStep, key: key})
		if err := w.walk(p.elem, entry(l, key), entry(r, key)); err != nil {
			return err
		}
		w.pop()
	}
	return nil
}

func entry(o operand, key string) operand {
	if o.null() {
		return operand{}
	}
	v := o.MapIndex(reflect.ValueOf(key).Convert(o.Type().Key()))
	if !v.IsValid() {
		return operand{}
	}
	return operand{indirect(v), true}
}

// sameStrings tells that two maps of strings, labels for instance, are known to be the same.
func sameStrings(l, r operand) bool {
	if l.null() || r.null() || l.Len() != r.Len() {
		return false
	}
	ml, ok := l.Interface().(map[string]string)
	if !ok {
		return false
	}
	mr := r.Interface().(map[string]string)
	for k, v := range ml {
		if other, ok := mr[k]; !ok || other != v {
			return false
		}
	}
	return true
}

// equal compares two leaves by their JSON.
func (p *plan) equal(l, r reflect.Value) (bool, error) {
	if p.kind != leafPlan {
		return operand{l, true}.null() == operand{r, true}.null(), nil // both are empty
	}
	if l.Kind() == r.Kind() && !p.marshals {
		switch l.Kind() {
		case reflect.Slice:
			return reflect.DeepEqual(l.Interface(), r.Interface()), nil
		case reflect.String:
			return l.String() == r.String(), nil
		case reflect.Bool:
			return l.Bool() == r.Bool(), nil
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			return l.Int() == r.Int(), nil
		}
	}
	if l.Type() == r.Type() && l.Comparable() && r.Comparable() && l.Equal(r) {
		return true, nil
	}
	lv, err := valueOf(l)
	if err != nil {
		return false, err
	}
	rv, err := valueOf(r)
	if err != nil {
		return false, err
	}
	return value.Equals(lv, rv), nil
}

func valueOf(v reflect.Value) (value.Value, error) {
	if v.Kind() == reflect.Pointer {
		return value.NewValueReflect(v.Interface())
	}
	if !v.CanAddr() {
		c := reflect.New(v.Type())
		c.Elem().Set(v)
		v = c.Elem()
	}
	return value.NewValueReflect(v.Addr().Interface())
}
