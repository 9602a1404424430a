package flowcontrol

import (
	"math"
	"slices"
)

// share is what a level is due of the seats that are divided.
type share struct{ target, low, high float64 }

// leastTarget keeps levels that ask for nothing from being left out.
const leastTarget = 0.001

// divide divides seats among levels so that each has the same multiple of its target, as far as its bounds let it, and
// returns that multiple. It asks that the bounds leave a way: the lows add up to no more than total, the highs to no
// less. Both sums are met within rounding.
func divide(total float64, shares []share) (seats []float64, multiple float64) {
	seats = make([]float64, len(shares))
	at := func(multiple float64) (sum float64) {
		for i, s := range shares {
			seats[i] = max(s.low, min(s.high, multiple*max(s.target, leastTarget)))
			sum += seats[i]
		}
		return sum
	}
	// The sum grows with the multiple, along straight lines between the points where a level meets a bound.
	bounds := make([]float64, 0, 2*len(shares))
	for _, s := range shares {
		target := max(s.target, leastTarget)
		bounds = append(bounds, s.low/target, s.high/target)
	}
	slices.Sort(bounds)
	below, sumBelow := 0.0, at(0)
	if sumBelow >= total {
		return seats, below
	}
	for _, bound := range bounds {
		if bound == below {
			continue
		}
		if sum := at(bound); sum >= total {
			multiple = below + (bound-below)*(total-sumBelow)/(sum-sumBelow)
			at(multiple)
			return seats, multiple
		} else {
			below, sumBelow = bound, sum
		}
	}
	return seats, below
}

// limits are the seats of a level: what it is due, between which bounds that moves by lending and borrowing, and what
// it has for now.
type limits struct {
	Nominal, Lower, Upper, Current int
	// Target is what the level would like to have.
	Target float64
}

// nominal divides the server's seats among levels by their shares. Rounding up may give out a few more than there are.
func nominal(server int, shares, sum float64, lendable, borrowing *int32) limits {
	l := limits{}
	if sum > 0 {
		l.Nominal = int(math.Ceil(float64(server) * shares / sum))
	}
	percent := func(p int32) int { return int(math.Round(float64(l.Nominal) * float64(p) / 100)) }
	l.Lower, l.Upper = l.Nominal, l.Nominal+server
	if lendable != nil {
		l.Lower -= percent(*lendable)
	}
	if borrowing != nil {
		l.Upper = l.Nominal + percent(*borrowing)
	}
	return l
}

// member is a level when seats are lent and borrowed.
type member struct {
	*limits
	exempt bool
	demand demandStats
}

// atLeast is what a level gets before others may borrow: what it used at most lately, but neither more than it is due
// nor less than it may lend.
func (m *member) atLeast() int {
	if m.exempt {
		return max(m.Lower, int(math.Round(m.demand.high)))
	}
	return max(m.Lower, min(m.Nominal, int(math.Round(m.demand.high))))
}

// borrow sets the current limits of all levels by what they asked for lately, and returns the multiple of their
// targets that they have, 0 if there is too little to be fair. Exempt levels take what they need first.
func borrow(levels []member) (multiple float64) {
	total, left, lower, least := 0, 0, 0, 0
	var limited []member
	var shares []share
	for _, m := range levels {
		total += m.Nominal
		if m.exempt {
			m.Current = m.atLeast()
			m.Target = float64(m.Current)
			left -= m.Current
			continue
		}
		low := m.atLeast()
		m.Target = max(float64(low), m.demand.smoothed)
		limited = append(limited, m)
		shares = append(shares, share{m.Target, float64(low), float64(m.Upper)})
		lower += m.Lower
		least += low
	}
	left += total
	switch {
	case left <= lower:
		for _, m := range limited {
			m.Current = m.Lower
		}
	case left <= least:
		part := float64(left-lower) / float64(least-lower)
		for _, m := range limited {
			m.Current = m.Lower + int(math.Round(float64(m.atLeast()-m.Lower)*part))
		}
	default:
		var seats []float64
		seats, multiple = divide(float64(total), shares)
		for i, m := range limited {
			m.Current = int(math.Round(seats[i]))
		}
	}
	return multiple
}
