package events

import (
	"container/list"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// seriesSize bounds how many events are remembered to be counted up.
const seriesSize = 4096

// key tells which events are the same one again.
type key struct {
	uid                                                  types.UID
	namespace, name, path, kind, eventType, reason, text string
}

func keyOf(e *corev1.Event) key {
	o := e.InvolvedObject
	return key{o.UID, e.Namespace, o.Name, o.FieldPath, o.Kind, e.Type, e.Reason, e.Message}
}

// entry is an event that was written.
type entry struct {
	name  string
	count int32
}

// series remembers the events written last, the least recently used ones are forgotten.
type series struct {
	order *list.List // of *seriesItem, newest first
	byKey map[key]*list.Element
}

type seriesItem struct {
	key   key
	entry entry
}

func newSeries() *series { return &series{order: list.New(), byKey: map[key]*list.Element{}} }

func (s *series) get(k key) (entry, bool) {
	el, ok := s.byKey[k]
	if !ok {
		return entry{}, false
	}
	return el.Value.(*seriesItem).entry, true
}

func (s *series) put(k key, e entry) {
	if el, ok := s.byKey[k]; ok {
		el.Value.(*seriesItem).entry = e
		s.order.MoveToFront(el)
		return
	}
	s.byKey[k] = s.order.PushFront(&seriesItem{k, e})
	if s.order.Len() > seriesSize {
		last := s.order.Back()
		delete(s.byKey, last.Value.(*seriesItem).key)
		s.order.Remove(last)
	}
}

func typeName(obj runtime.Object) string {
	t := reflect.TypeOf(obj)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}
