package apiserver

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// TestCustomSharesAttempts asks for an object while it is being converted, which fails, panics and then succeeds: all
// who ask meanwhile get what comes of that, and none waits for more than one conversion.
func TestCustomSharesAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, e, failed := &resource{}, &store.Entry{}, errors.New("no answer")
		for _, c := range []struct {
			name   string
			obj    client.Object
			err    error
			panics bool
		}{
			{name: "an error", err: failed}, {name: "a panic", err: errBrokenOff, panics: true}, {name: "an object", obj: &customType{}},
		} {
			calls, hang := 0, make(chan struct{})
			produce := func() (client.Object, error) {
				calls++
				<-hang
				if c.panics {
					panic("broken")
				}
				return c.obj, c.err
			}
			var wg sync.WaitGroup
			ask := func(first bool) {
				wg.Go(func() {
					defer func() {
						if p := recover(); (p != nil) != (first && c.panics) {
							t.Errorf("%s: panic %v", c.name, p)
						}
					}()
					if obj, err := r.custom(e, customKey{r: r}, produce); obj != c.obj || !errors.Is(err, c.err) {
						t.Errorf("%s: %v, %v", c.name, obj, err)
					}
				})
				synctest.Wait()
			}
			ask(true)
			for range 9 {
				ask(false)
			}
			close(hang)
			wg.Wait()
			if calls != 1 {
				t.Errorf("%s: %d conversions", c.name, calls)
			}
		}
		if obj, err := r.custom(e, customKey{r: r}, nil); obj == nil || err != nil {
			t.Errorf("it is not kept: %v, %v", obj, err)
		}
	})
}
