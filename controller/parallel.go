package controller

import (
	"runtime/debug"
	"sync"
)

// maxParallel bounds the requests that one Parallel has under way.
const maxParallel = 16

// Parallel calls f for 0 to n-1, many at once, waits for all, and returns the error of the lowest
// number that had one. A panic becomes a *PanicError.
func Parallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	call := func(i int) {
		defer func() {
			if v := recover(); v != nil {
				errs[i] = &PanicError{Value: v, Stack: debug.Stack()}
			}
		}()
		errs[i] = f(i)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxParallel)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			call(i)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
