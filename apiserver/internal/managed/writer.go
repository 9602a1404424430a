package managed

import "bytes"

// step is one step of a path: a field of a struct, a key of a map or an item of a list.
type step struct {
	kind  stepKind
	field string // quoted
	key   string
	plan  *plan
	id    []any
}

type stepKind int

const (
	fieldStep stepKind = iota
	keyStep
	itemStep
)

func (s *step) append(b []byte) []byte {
	switch s.kind {
	case keyStep:
		b = append(b, `"f:`...)
		b = append(b, s.key...)
		return append(b, '"')
	case itemStep:
		return s.plan.appendItem(b, s.id)
	}
	return append(b, s.field...)
}

// plain tells that a string needs no escapes in JSON, however careful the writer.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c >= 0x7f, c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// writer writes a set of paths as FieldsV1: {"f:spec":{"f:replicas":{}}}. Paths come in their order, a
// path before the longer ones that it begins.
type writer struct {
	buf []byte
	// open is the number of steps whose object is begun and not ended.
	open int
	// self tells that the last path added is the open one, so that "." is due if more comes below.
	self bool
	// filled tells that the innermost open object has content.
	filled bool
}

// add adds a path.
func (w *writer) add(path []step) {
	if len(path) == 0 {
		return
	}
	if len(w.buf) == 0 {
		w.buf = append(w.buf, '{')
	}
	for i := w.open; i < len(path); i++ {
		if w.self {
			w.buf = append(w.buf, `".":{}`...)
			w.self, w.filled = false, true
		}
		if w.filled {
			w.buf = append(w.buf, ',')
		}
		w.buf = append(path[i].append(w.buf), ":{"...)
		w.filled = false
	}
	w.open, w.self = len(path), true
}

// leave ends what is open beyond the first n steps.
func (w *writer) leave(n int) {
	for ; w.open > n; w.open-- {
		w.buf = append(w.buf, '}')
		w.self, w.filled = false, true
	}
}

// done returns what was written, nil when no path was added.
func (w *writer) done() []byte {
	if len(w.buf) == 0 {
		return nil
	}
	w.leave(0)
	w.buf = append(w.buf, '}')
	return bytes.Clone(w.buf)
}

// reset readies the writer for another set.
func (w *writer) reset() {
	if cap(w.buf) > maxKept {
		w.buf = nil
	}
	*w = writer{buf: w.buf[:0]}
}
