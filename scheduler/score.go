package scheduler

import (
	"fmt"
	"time"
)

// score adds what the scorers say that do not go by shapes, whose scores are in the totals already.
func (r *run) score() error {
	for i := range r.scorers {
		if r.scorers[i].byShape {
			continue
		}
		if _, err := r.scoreWith(&r.scorers[i]); err != nil {
			return err
		}
	}
	return nil
}

// scoreInTime is score, and tells how long it took. The plugins' PreScore and Score run in turn, and are told of as
// if they had not.
func (r *run) scoreInTime() error {
	began := r.Handle.begin()
	err := r.score()
	if !began.IsZero() {
		r.Handle.took("PreScore", r.Pod, codeOf(nil, err), r.preScored)
		r.Handle.took("Score", r.Pod, codeOf(nil, err), time.Since(began)-r.preScored)
	}
	return err
}

// scoreWith adds a plugin's weighted scores to the totals, unless the plugin has no preference.
func (r *run) scoreWith(s *scorer) (scored bool, _ error) {
	r.at = s.name
	var state any
	if s.pre != nil {
		r.point = "PreScore"
		began := r.Handle.begin()
		st, skip, err := s.pre.PreScore(&r.Cycle, r.feasible)
		if !began.IsZero() {
			r.preScored += time.Since(began)
		}
		if err != nil {
			return false, &PluginError{Plugin: s.name, Point: r.point, Err: err}
		}
		if skip {
			return false, nil
		}
		state = st
	}
	r.point = "Score"
	r.scores = grown(r.scores, len(r.feasible))
	for i, n := range r.feasible {
		v, err := s.plugin.Score(&r.Cycle, state, n)
		if err != nil {
			return false, &PluginError{Plugin: s.name, Point: r.point, Err: err}
		}
		r.scores[i] = v
	}
	if s.normalize != nil {
		r.point = "NormalizeScore"
		if err := s.normalize.NormalizeScores(&r.Cycle, state, r.feasible, r.scores); err != nil {
			return false, &PluginError{Plugin: s.name, Point: r.point, Err: err}
		}
	}
	for i, v := range r.scores {
		if v < 0 || v > MaxNodeScore {
			return false, &PluginError{Plugin: s.name, Point: r.point,
				Err: fmt.Errorf("the score of node %q is %d; it must be from 0 to %d", r.feasible[i].Node.Name, v, MaxNodeScore)}
		}
		r.totals[i] += v * s.weight
	}
	return true, nil
}

// best returns the index of a node with the highest total, each of them with the same chance.
func (r *run) best() int {
	best, ties := 0, 1
	for i := 1; i < len(r.totals); i++ {
		switch {
		case r.totals[i] > r.totals[best]:
			best, ties = i, 1
		case r.totals[i] == r.totals[best]:
			ties++
			if r.Random != nil && r.Random.IntN(ties) == 0 {
				best = i
			}
		}
	}
	return best
}

func grown(s []int64, n int) []int64 {
	if cap(s) < n {
		return make([]int64, n, n+n/2)
	}
	return s[:n]
}
