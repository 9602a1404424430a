package serviceaccount

import "time"

// SetClock replaces the clock that tokens are issued and checked by.
func (t *Tokens) SetClock(now func() time.Time) { t.now = now }
