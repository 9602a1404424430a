package apiserver

import (
	"encoding/binary"
	"errors"
	"reflect"
)

// maxProtoDepth bounds how deeply messages lie in each other, as encoding/json bounds JSON. Generated code descends
// without a bound of its own, and a stack that is too deep ends the process.
const maxProtoDepth = 10000

var errProtoDepth = errors.New("proto: exceeded max depth")

// checkProtoDepth refuses a message that is nested too deeply for obj, if its type is one that nests at all. Strings and
// bytes that look like messages count as such.
func checkProtoDepth(message []byte, obj any) error {
	// A level takes two bytes at least.
	if len(message) > 2*maxProtoDepth && isDeeper(message, maxProtoDepth) && isRecursive(reflect.TypeOf(obj), map[reflect.Type]bool{}) {
		return errProtoDepth
	}
	return nil
}

// isDeeper tells whether messages in a message reach so many levels down. It goes down without a stack: last is where
// the message ends that holds the field at hand. What is no message after all ends with the one around it.
func isDeeper(b []byte, levels int) bool {
	var ends []int
	for at := 0; ; {
		for len(ends) > 0 && at >= ends[len(ends)-1] {
			at, ends = ends[len(ends)-1], ends[:len(ends)-1]
		}
		end := len(b)
		if len(ends) > 0 {
			end = ends[len(ends)-1]
		}
		if at >= len(b) {
			return false
		}
		tag, n := binary.Uvarint(b[at:end])
		if n <= 0 {
			at = end
			continue
		}
		at += n
		switch tag & 7 {
		case 0:
			_, n := binary.Uvarint(b[at:end])
			if n <= 0 {
				at = end
				continue
			}
			at += n
		case 1:
			at += 8
		case 2:
			size, n := binary.Uvarint(b[at:end])
			if n <= 0 || size > uint64(end-at-n) {
				at = end
				continue
			}
			at += n
			if ends = append(ends, at+int(size)); len(ends) > levels {
				return true
			}
		case 5:
			at += 4
		default:
			at = end
		}
	}
}

// isRecursive tells whether values of a type may hold others of it, at whatever depth. Above are the types around it;
// false is for those that were left.
func isRecursive(t reflect.Type, above map[reflect.Type]bool) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return isRecursive(t.Elem(), above)
	case reflect.Struct:
	default:
		return false
	}
	if inside, seen := above[t]; seen {
		return inside
	}
	above[t] = true
	for i := range t.NumField() {
		if isRecursive(t.Field(i).Type, above) {
			return true
		}
	}
	above[t] = false
	return false
}
