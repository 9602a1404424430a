package raft_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/anishathalye/porcupine"
)

// verify checks all that was seen against each other and returns a line about it.
func (w *workload) verify() string {
	log := w.changes()
	w.history.checkWritten(w.t, log)
	w.checkStale(log)
	w.history.resolve(log)
	res, model, info := w.history.check(w.first)
	known, unknown := w.history.count()
	if res != porcupine.Ok {
		file := w.picture(model, info)
		w.t.Errorf("seed %d: %d calls, %d with an unknown outcome: Porcupine says %s; see %s", w.seed, known+unknown, unknown, res, file)
	}
	return fmt.Sprintf("%d calls, %d of unknown outcome, %d refused; revision %d; %d watch segments, %d reconnects, %d lists",
		known+unknown, unknown, w.refused, w.last, len(w.segments), w.reconnect, w.relists)
}

// picture writes Porcupine's picture of a history where it is kept.
func (w *workload) picture(model porcupine.Model, info porcupine.LinearizationInfo) string {
	file := filepath.Join(os.TempDir(), fmt.Sprintf("inboard-chaos-%d.html", w.seed))
	if err := porcupine.VisualizePath(model, info, file); err != nil {
		return err.Error()
	}
	return file
}

// checkStale compares serializable reads with the state that there was at their revision, as far as the
// watchers saw everything up to it. No client may see a member go back in time.
func (w *workload) checkStale(log changeLog) {
	states := map[int64][chaosKeys]string{w.first.revision: w.first.values}
	state := w.first.values
	for rev := w.first.revision + 1; log[rev] != nil; rev++ {
		for _, ch := range log[rev] {
			for k := range chaosKeys {
				if ch.key == chaosKey(k) {
					state[k] = ch.value
				}
			}
		}
		states[rev] = state
	}
	for _, r := range w.stale {
		if want, ok := states[r.revision]; ok && want != r.values {
			w.t.Errorf("member %d showed %q at revision %d, there was %q", r.member, r.values, r.revision, want)
		}
	}
	if len(states) < len(log) {
		w.t.Logf("watchers saw %d revisions, without a gap the first %d", len(log), len(states)-1)
	}
}
