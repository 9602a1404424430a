package raft

import (
	"reflect"

	"github.com/hashicorp/raft"
)

// await waits for what raft has been asked for, or until raft has stopped. Raft v1.8.0 leaves committed entries
// that it stops before it has applied, and transfers of leadership that it stops before it has begun, without an
// answer for ever.
func (n *Node) await(f raft.Future) error {
	endWith(f, n.halted)
	return f.Error()
}

// endWith makes a future end when a channel is closed. Raft's futures have a field for that, which only it sets,
// and not in all of them. Nobody but the one who waits reads it. It tells whether the future has it.
func endWith(f raft.Future, halted chan struct{}) bool {
	v := reflect.ValueOf(f)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return false // an error that is there already
	}
	field := v.Elem().FieldByName("ShutdownCh")
	if !field.IsValid() || !field.CanSet() || field.Type() != reflect.TypeFor[chan struct{}]() {
		return false
	}
	field.Set(reflect.ValueOf(halted))
	return true
}

// halt stops raft.
func (n *Node) halt() error {
	err := n.raft.Shutdown().Error()
	n.haltOnce.Do(func() { close(n.halted) })
	return err
}
