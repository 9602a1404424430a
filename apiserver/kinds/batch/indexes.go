package batch

import (
	"fmt"
	"strconv"
	"strings"
)

// interval is a range of indexes, both ends included.
type interval struct{ first, last int32 }

// countIndexes returns how many indexes a text such as "1,3-5" has: ascending numbers below completions.
func countIndexes(text string, completions int32) (int32, error) {
	if text == "" {
		return 0, nil
	}
	total, before := int32(0), int32(-1)
	for i, part := range strings.Split(text, ",") {
		v, err := parseInterval(part, completions)
		if err != nil {
			return 0, err
		}
		if i > 0 && before >= v.first {
			return 0, fmt.Errorf("non-increasing order, previous: %d, current: %d", before, v.first)
		}
		total += v.last - v.first + 1
		before = v.last
	}
	return total, nil
}

func parseInterval(text string, completions int32) (interval, error) {
	parts := strings.Split(text, "-")
	if len(parts) > 2 {
		return interval{}, fmt.Errorf("the fragment %q violates the requirement that an index interval can have at most two parts separated by '-'", text)
	}
	var v [2]int
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil {
			return interval{}, fmt.Errorf("cannot convert string to integer for index: %q", part)
		}
		if n >= int(completions) {
			return interval{}, fmt.Errorf("too large index: %q", part)
		}
		v[i] = n
	}
	if len(parts) == 1 {
		return interval{int32(v[0]), int32(v[0])}, nil
	}
	if v[0] >= v[1] {
		return interval{}, fmt.Errorf("non-increasing order, previous: %d, current: %d", v[0], v[1])
	}
	return interval{int32(v[0]), int32(v[1])}, nil
}

// overlap tells the first index that two texts share. Parts that are no intervals are left out.
func overlap(a, b string, completions int32) (int32, bool) {
	x, y := intervals(a, completions), intervals(b, completions)
	for len(x) > 0 && len(y) > 0 {
		if x[0].first <= y[0].last && y[0].first <= x[0].last {
			return max(x[0].first, y[0].first), true
		}
		if x[0].first <= y[0].first {
			x = x[1:]
		} else {
			y = y[1:]
		}
	}
	return 0, false
}

func intervals(text string, completions int32) []interval {
	var out []interval
	for part := range strings.SplitSeq(text, ",") {
		if v, err := parseInterval(part, completions); err == nil {
			out = append(out, v)
		}
	}
	return out
}
