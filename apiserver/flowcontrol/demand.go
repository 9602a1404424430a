package flowcontrol

import (
	"math"
	"time"
)

// integrator keeps what a figure was over time: its average, deviation and highest value.
type integrator struct {
	at             time.Time
	x, high        float64
	seconds        float64
	sum, sumSquare float64
}

func (g *integrator) set(x float64, now time.Time) {
	g.advance(now)
	g.x = x
	g.high = max(g.high, x)
}

func (g *integrator) advance(now time.Time) {
	if d := now.Sub(g.at).Seconds(); d > 0 {
		g.at = now
		g.seconds += d
		g.sum += d * g.x
		g.sumSquare += d * g.x * g.x
	}
}

// demandStats is what a level asked for, in seats.
type demandStats struct{ high, average, deviation, smoothed float64 }

// smoothing makes the smoothed demand forget half of a peak in five minutes of periods of ten seconds.
const smoothing = 0.977

// take adds what an integrator kept since the last time to the statistics, and lets it begin anew.
func (s *demandStats) take(g *integrator, now time.Time) {
	g.advance(now)
	s.high = g.high
	if g.seconds > 0 {
		s.average = g.sum / g.seconds
		s.deviation = math.Sqrt(max(0, g.sumSquare/g.seconds-s.average*s.average))
		envelope := s.average + s.deviation
		s.smoothed = max(envelope, smoothing*s.smoothed+(1-smoothing)*envelope)
	}
	*g = integrator{at: g.at, x: g.x, high: g.x}
}
