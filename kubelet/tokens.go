package kubelet

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// tokenCache keeps service account tokens until 80% of their life is over, as the kubelet does, so
// that bringing volumes up to date does not ask for a token each time.
type tokenCache struct {
	mu     sync.Mutex
	tokens map[tokenKey]cachedToken
}

type tokenKey struct {
	pod      types.UID
	audience string
	seconds  int64
}

type cachedToken struct {
	token string
	until time.Time // when to ask for another
}

func (c *tokenCache) get(k tokenKey, now time.Time) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.tokens[k]
	return t.token, ok && now.Before(t.until)
}

// put keeps a token that expires at the given time.
func (c *tokenCache) put(k tokenKey, token string, now, expires time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens == nil {
		c.tokens = map[tokenKey]cachedToken{}
	}
	c.tokens[k] = cachedToken{token, now.Add(expires.Sub(now) * 8 / 10)}
}

// forget drops the tokens of a pod.
func (c *tokenCache) forget(pod types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.tokens {
		if k.pod == pod {
			delete(c.tokens, k)
		}
	}
}
