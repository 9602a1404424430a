package flowcontrol

import "slices"

// longestRetry bounds the seconds after which refused clients are asked to come again.
const longestRetry = 32

// retries tells after how many seconds clients that a level refuses should come again: the time doubles while many are
// refused, and shrinks by a second when few are.
type retries struct {
	seconds int64
	// raised is when it was doubled last.
	raised int64
	recent []refusals
}

// refusals are those of one second.
type refusals struct{ at, count int64 }

// refuse counts a refusal and returns after how many seconds to come again.
func (r *retries) refuse(second int64) int64 {
	r.seconds = max(r.seconds, 1)
	if n := len(r.recent); n > 0 && r.recent[n-1].at == second {
		r.recent[n-1].count++
		return r.seconds
	}
	r.recent = slices.DeleteFunc(r.recent, func(x refusals) bool { return second-x.at > min(2*r.seconds, longestRetry) })
	count := int64(0)
	for _, x := range r.recent {
		if second-x.at <= r.seconds {
			count += x.count
		}
	}
	switch {
	case second-r.raised >= r.seconds && count >= 3*r.seconds:
		r.seconds, r.raised = min(2*r.seconds, longestRetry), second
	case count < r.seconds && r.seconds > 1:
		r.seconds--
	}
	r.recent = append(r.recent, refusals{second, 1})
	return r.seconds
}
