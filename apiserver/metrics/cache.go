package metrics

import (
	"maps"
	"sync"
	"sync/atomic"
)

// cache finds series by a comparable key. Prometheus' own vectors hash all label values and take a lock each time, at
// several times the cost; here a hit is one look-up in a map that nobody writes.
type cache[K comparable, V any] struct {
	mu   sync.Mutex
	made atomic.Pointer[map[K]V]
}

// get returns the value of a key, which it makes when it is first asked for.
func (c *cache[K, V]) get(key K, produce func(K) V) V {
	if m := c.made.Load(); m != nil {
		if v, ok := (*m)[key]; ok {
			return v
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.made.Load()
	m := map[K]V{}
	if old != nil {
		if v, ok := (*old)[key]; ok {
			return v
		}
		m = maps.Clone(*old)
	}
	v := produce(key)
	m[key] = v
	c.made.Store(&m)
	return v
}
