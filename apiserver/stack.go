package apiserver

// stackSize is about how much of a stack a write needs.
const stackSize = 12 << 10

// growStack lets the goroutine of a request, which net/http makes for each, have a stack that is deep enough at once.
// It would grow step by step, and each step copies all that is on it, which is more the later it is.
//
//go:noinline
func growStack() {
	var frame [stackSize]byte
	touch(&frame)
}

//go:noinline
func touch(frame *[stackSize]byte) { frame[0] = 1 }
