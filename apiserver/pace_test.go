package apiserver

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestPaceIsQuickWhenQuiet has watches that are told little: none waits.
func TestPaceIsQuickWhenQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pacer
		last := make([]time.Time, 10)
		for range 100 { // 10 watches, each told of something every 3 ms
			for i := range last {
				begin := time.Now()
				if last[i] = p.wait(t.Context(), last[i]); last[i] != begin {
					t.Fatalf("a watch waited for %s", last[i].Sub(begin))
				}
			}
			time.Sleep(3 * time.Millisecond)
		}
	})
}

// TestPaceGathers has a hundred watches of something that changes every millisecond.
func TestPaceGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pacer
		bursts, longest := 0, time.Duration(0)
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				var last time.Time
				for end := time.Now().Add(time.Second); time.Now().Before(end); {
					begin := time.Now()
					last = p.wait(t.Context(), last)
					mu.Lock()
					bursts, longest = bursts+1, max(longest, last.Sub(begin))
					mu.Unlock()
					time.Sleep(time.Millisecond) // until the next change
				}
			})
		}
		all.Wait()
		if bursts > 100*120 {
			t.Errorf("%d bursts of 100,000 changes", bursts)
		}
		if longest > paceEvery {
			t.Errorf("a watch waited for %s", longest)
		}
	})
}

// TestPaceTellsTheQuietOnes has a watch that is seldom told something beside many that are told much.
func TestPaceTellsTheQuietOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pacer
		var last time.Time
		for range 20 {
			for range 10 * paceFrom {
				p.enter(time.Now(), time.Now())
			}
			begin := time.Now()
			if last = p.wait(t.Context(), last); last != begin {
				t.Fatalf("it waited for %s", last.Sub(begin))
			}
			time.Sleep(paceEvery)
		}
	})
}

func TestPaceEndsWithTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pacer
		for range 2 * paceFrom {
			p.enter(time.Now(), time.Time{})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		begin := time.Now()
		if waited := p.wait(ctx, begin).Sub(begin); waited != time.Millisecond {
			t.Fatalf("it waited for %s", waited)
		}
	})
}
