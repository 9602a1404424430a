package flowcontrol

import (
	"cmp"
	"maps"
	"slices"
)

// Stats are the figures of the moment.
type Stats struct {
	// FairFraction is the multiple of what they would like to have that all levels have, as far as their bounds let
	// them; 0 when there are too few seats for that.
	FairFraction float64
	Levels       []LevelStats
	Schemas      []SchemaStats
}

// LevelStats are the figures of a priority level.
type LevelStats struct {
	Name string
	// Exempt tells that nothing waits at the level; Leaving, that its object is gone and it still has requests.
	Exempt, Leaving bool
	// Nominal seats are what the level is due, Lower and Upper bound what is left to it or borrowed by it, Current is
	// what it has. Target is what it would like to have.
	Nominal, Lower, Upper, Current int
	Target                         float64
	// Demand is what was asked for in the last period, in seats: the highest, the average with its deviation, and one
	// that forgets peaks slowly.
	HighDemand, AverageDemand, DemandDeviation, SmoothedDemand float64
	// Waiting and Executing are requests, the others their seats.
	Waiting, Executing       int
	SeatsWaiting, SeatsInUse int
	Queues                   []QueueStats
}

// QueueStats are the figures of a queue.
type QueueStats struct {
	Waiting, Executing       int
	SeatsWaiting, SeatsInUse int
	// WorkWaiting is in seat-seconds, as is NextR, where on the level's meter of progress the queue's next request
	// begins.
	WorkWaiting, NextR float64
}

// SchemaStats are the figures of the requests of a flow schema at a priority level.
type SchemaStats struct {
	Level, Schema            string
	Waiting, Executing       int
	SeatsWaiting, SeatsInUse int
	// Dispatched counts the requests that ran, Rejected those that did not, by reason: concurrency-limit, queue-full,
	// time-out.
	Dispatched int64
	Rejected   map[string]int64
}

type figuresOf struct{ level, schema string }

// figures are kept as long as the controller is, since counters don't go back.
type figures struct{ SchemaStats }

func (c *Controller) figuresOf(level, schema string) *figures {
	key := figuresOf{level, schema}
	f := c.figures[key]
	if f == nil {
		f = &figures{SchemaStats{Level: level, Schema: schema, Rejected: map[string]int64{}}}
		c.figures[key] = f
	}
	return f
}

// note counts a change of a flow's state.
func (c *Controller) note(f *flow, from, to ticketState) {
	s, seats := &f.fs.figures.SchemaStats, f.most()
	count := func(state ticketState, by int) {
		switch state {
		case waiting:
			s.Waiting += by
			s.SeatsWaiting += by * seats
		case running:
			s.Executing += by
			s.SeatsInUse += by * seats
		case lingering:
			s.SeatsInUse += by * seats
		}
	}
	count(from, -1)
	count(to, 1)
	if to == running {
		s.Dispatched++
	}
}

// Stats returns the figures of the moment.
func (c *Controller) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := Stats{FairFraction: c.multiple}
	for _, name := range slices.Sorted(maps.Keys(c.levels)) {
		out.Levels = append(out.Levels, c.levels[name].stats())
	}
	for _, f := range c.figures {
		s := f.SchemaStats
		s.Rejected = maps.Clone(s.Rejected)
		out.Schemas = append(out.Schemas, s)
	}
	slices.SortFunc(out.Schemas, func(a, b SchemaStats) int {
		return cmp.Or(cmp.Compare(a.Level, b.Level), cmp.Compare(a.Schema, b.Schema))
	})
	return out
}

func (l *level) stats() LevelStats {
	q := l.queues
	out := LevelStats{
		Name: l.name, Exempt: q.exempt, Leaving: l.leaving,
		Nominal: l.limits.Nominal, Lower: l.limits.Lower, Upper: l.limits.Upper, Current: l.limits.Current, Target: l.limits.Target,
		HighDemand: l.demand.high, AverageDemand: l.demand.average, DemandDeviation: l.demand.deviation, SmoothedDemand: l.demand.smoothed,
		Waiting: q.waiting, Executing: q.executing, SeatsWaiting: q.seatsWaiting, SeatsInUse: q.seatsInUse,
	}
	for _, one := range q.queues {
		out.Queues = append(out.Queues, QueueStats{
			Waiting: one.length, Executing: one.executing, SeatsWaiting: one.seatsWaiting, SeatsInUse: one.seatsInUse,
			WorkWaiting: float64(one.workWaiting) / perSecond, NextR: float64(one.nextR) / perSecond,
		})
	}
	return out
}
