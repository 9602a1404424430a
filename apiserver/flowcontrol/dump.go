package flowcontrol

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
)

// ServeHTTP tells what goes on, as text for people: dump_priority_levels and dump_queues, below
// /debug/api_priority_and_fairness/.
func (c *Controller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var dump func(io.Writer)
	switch r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:] {
	case "dump_priority_levels":
		dump = c.dumpLevels
	case "dump_queues":
		dump = c.dumpQueues
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	t := tabwriter.NewWriter(w, 8, 0, 1, ' ', 0)
	dump(t)
	_ = t.Flush() // the client went away
}

func row(w io.Writer, columns ...any) {
	for i, c := range columns {
		if i > 0 {
			fmt.Fprint(w, ",\t")
		}
		fmt.Fprint(w, c)
	}
	fmt.Fprintln(w)
}

func (c *Controller) dumpLevels(w io.Writer) {
	stats := c.Stats()
	row(w, "PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests",
		"DispatchedRequests", "RejectedRequests", "TimedoutRequests", "CancelledRequests")
	for _, l := range stats.Levels {
		active := 0
		for _, q := range l.Queues {
			if q.Waiting > 0 {
				active++
			}
		}
		var dispatched, rejected, late int64
		for _, s := range stats.Schemas {
			if s.Level == l.Name {
				dispatched += s.Dispatched
				late += s.Rejected["time-out"]
				for _, n := range s.Rejected {
					rejected += n
				}
			}
		}
		row(w, l.Name, active, l.Waiting == 0 && l.Executing == 0, l.Leaving, l.Waiting, l.Executing, dispatched, rejected, 0, late)
	}
}

func (c *Controller) dumpQueues(w io.Writer) {
	row(w, "PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR",
		"InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum")
	for _, l := range c.Stats().Levels {
		for i, q := range l.Queues {
			row(w, l.Name, i, q.Waiting, q.Executing, q.SeatsInUse, fmt.Sprintf("%.8fss", q.NextR), q.SeatsWaiting, q.SeatsWaiting,
				fmt.Sprintf("%.8fss", q.WorkWaiting))
		}
	}
}
