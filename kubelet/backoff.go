package kubelet

import "time"

// Delays between attempts, as the kubelet has them: 10 s, doubled up to 5 minutes, and forgotten
// when the last attempt is more than twice the longest delay ago.
const (
	backoffFirst = 10 * time.Second
	backoffMax   = 5 * time.Minute
)

// backoff counts the delay of one container's restarts, or of one image's pulls. Zero is fresh.
type backoff struct {
	delay time.Duration
	last  time.Time // when next was called last
}

func (b backoff) expired(at time.Time) bool { return at.Sub(b.last) > 2*backoffMax }

// until returns when the next attempt may begin after one that ended at the given time. The first
// attempt after a success of 10 minutes, or after nothing, may begin at once.
func (b backoff) until(ended time.Time) time.Time {
	if b.delay == 0 || b.expired(ended) {
		return ended
	}
	return ended.Add(b.delay)
}

// next notes that an attempt begins after one that ended at the given time.
func (b *backoff) next(ended, now time.Time) {
	switch {
	case b.delay == 0 || b.expired(ended):
		b.delay = backoffFirst
	default:
		b.delay = min(2*b.delay, backoffMax)
	}
	b.last = now
}
