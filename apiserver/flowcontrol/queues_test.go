package flowcontrol

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"
)

// TestQueues runs scripts. Commands:
//
//	level [queues=N hand=N length=N] limit=N [exempt]   a new level, or another shape of it
//	arrive NAME flow=F [seats=N] [final=N lingers=D]
//	finish NAME | cancel NAME | release NAME
//	after D                                              time passes
//
// Each answers with what runs, lingers and waits, and how many seats are in use.
func TestQueues(t *testing.T) {
	datadriven.Walk(t, "testdata/queues", func(t *testing.T, path string) {
		w := &world{now: time.Unix(0, 0), tickets: map[string]*ticket{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return w.run(t, d) })
	})
}

type world struct {
	now     time.Time
	qs      *queueSet
	tickets map[string]*ticket
	names   []string
}

func (w *world) run(t *testing.T, d *datadriven.TestData) string {
	number := func(key string, or int) int {
		if d.HasArg(key) {
			d.ScanArgs(t, key, &or)
		}
		return or
	}
	switch d.Cmd {
	case "level":
		s := shape{exempt: d.HasArg("exempt"), queues: number("queues", 0), hand: number("hand", 1), length: number("length", 0)}
		if w.qs == nil {
			w.qs = newQueueSet(s, number("limit", 0), w.now)
		} else {
			w.qs.configure(s, number("limit", 0), w.now)
		}
	case "after":
		d, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(d)
	case "arrive":
		tk := &ticket{cost: cost{seats: number("seats", 1), finalSeats: number("final", 0)}}
		if d.HasArg("lingers") {
			tk.lingers, _ = time.ParseDuration(d.CmdArgs[len(d.CmdArgs)-1].Vals[0])
		}
		var flow string
		d.ScanArgs(t, "flow", &flow)
		hash, err := strconv.ParseUint(flow, 10, 64)
		if err != nil {
			hash = hashFlow("schema", flow)
		}
		w.qs.arrive(tk, hash, w.now)
		if tk.state == refused {
			return "refused\n"
		}
		name := d.CmdArgs[0].Key
		w.tickets[name] = tk
		w.names = append(w.names, name)
	case "finish":
		if l := w.qs.finish(w.tickets[d.CmdArgs[0].Key], w.now); l > 0 {
			return fmt.Sprintf("lingers %s\n%s", l, w)
		}
	case "release":
		w.qs.release(w.tickets[d.CmdArgs[0].Key], w.now)
	case "cancel":
		if !w.qs.cancel(w.tickets[d.CmdArgs[0].Key], w.now) {
			return "too late\n"
		}
	}
	return w.String()
}

func (w *world) String() string {
	by := map[ticketState][]string{}
	for _, n := range w.names {
		by[w.tickets[n].state] = append(by[w.tickets[n].state], n)
	}
	out := fmt.Sprintf("runs [%s] waits [%s]", strings.Join(by[running], " "), strings.Join(by[waiting], " "))
	if l := by[lingering]; len(l) > 0 {
		out += fmt.Sprintf(" lingers [%s]", strings.Join(l, " "))
	}
	return fmt.Sprintf("%s seats %d\n", out, w.qs.seatsInUse)
}

// check finds what must never be.
func (qs *queueSet) check(tickets []*ticket) error {
	count := map[ticketState]int{}
	seats := map[ticketState]int{}
	for _, t := range tickets {
		count[t.state]++
		seats[t.state] += t.most()
	}
	active, queued := 0, 0
	for _, q := range qs.queues {
		n := 0
		for t := q.first; t != nil; t = t.next {
			n++
			if q.nextR < q.first.arrived {
				return fmt.Errorf("a queue begins at %d, before %d, when its oldest ticket arrived", q.nextR, q.first.arrived)
			}
		}
		if n != q.length {
			return fmt.Errorf("a queue of %d tickets says %d", n, q.length)
		}
		if q.active() {
			active++
		}
		queued += q.seatsInUse
	}
	switch {
	case count[running] != qs.executing || count[waiting] != qs.waiting:
		return fmt.Errorf("%d run and %d wait, it says %d and %d", count[running], count[waiting], qs.executing, qs.waiting)
	case seats[running]+seats[lingering] != qs.seatsInUse || seats[waiting] != qs.seatsWaiting:
		return fmt.Errorf("seats are %v, it says %d and %d", seats, qs.seatsInUse, qs.seatsWaiting)
	case active != qs.active || queued != qs.queuedSeats:
		return fmt.Errorf("%d queues are active with %d seats, it says %d and %d", active, queued, qs.active, qs.queuedSeats)
	case qs.seatsInUse > qs.limit && count[running] > 1:
		return fmt.Errorf("%d seats are in use of %d", qs.seatsInUse, qs.limit)
	}
	if i := -1; qs.waiting > 0 && qs.seatsInUse < qs.limit {
		// The one whose turn it is waits only for want of seats.
		if i = qs.next(); qs.fits(qs.queues[i].first.most()) {
			return fmt.Errorf("a ticket waits that could run")
		}
	}
	return nil
}

// Whatever happens, counts are right, no more seats are used than there are, and nobody waits for nothing; in the end
// everybody who was not refused has run, in the order of arrival within a queue.
func TestQueuesProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(0, 0)
		queues := rapid.IntRange(1, 8).Draw(t, "queues")
		s := shape{queues: queues, hand: rapid.IntRange(1, queues).Draw(t, "hand"), length: rapid.IntRange(1, 5).Draw(t, "length")}
		limit := rapid.IntRange(1, 6).Draw(t, "limit")
		qs := newQueueSet(s, limit, now)
		var all []*ticket
		order := map[*queue][]*ticket{}
		of := func(state ticketState) (out []*ticket) {
			for _, tk := range all {
				if tk.state == state {
					out = append(out, tk)
				}
			}
			return out
		}
		arrived := func() {
			tk := &ticket{cost: cost{seats: rapid.IntRange(1, 8).Draw(t, "seats"), finalSeats: rapid.IntRange(0, 3).Draw(t, "final")}}
			if tk.finalSeats > 0 {
				tk.lingers = time.Duration(rapid.IntRange(1, 20).Draw(t, "lingers")) * time.Millisecond
			}
			full := qs.seatsInUse >= qs.limit
			qs.arrive(tk, rapid.Uint64().Draw(t, "hash"), now)
			if tk.state == refused {
				if !full {
					t.Fatal("a ticket was refused while seats were free")
				}
				return
			}
			all = append(all, tk)
			order[tk.queue] = append(order[tk.queue], tk)
		}
		drain := func(state ticketState, do func(*ticket)) {
			if some := of(state); len(some) > 0 {
				do(rapid.SampledFrom(some).Draw(t, "ticket"))
			}
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "ms")) * time.Millisecond)
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0, 1, 2:
				arrived()
			case 3:
				drain(running, func(tk *ticket) { qs.finish(tk, now) })
			case 4:
				drain(lingering, func(tk *ticket) { qs.release(tk, now) })
			case 5:
				drain(waiting, func(tk *ticket) {
					qs.cancel(tk, now)
					order[tk.queue] = slices.DeleteFunc(order[tk.queue], func(x *ticket) bool { return x == tk })
				})
			case 6:
				s.queues = rapid.IntRange(s.hand, 8).Draw(t, "queues")
				qs.configure(s, rapid.IntRange(1, 6).Draw(t, "limit"), now)
				limit = max(limit, qs.limit)
			}
			// Tickets that run already keep their seats when the limit shrinks.
			if err := qs.check(all); err != nil && !strings.Contains(err.Error(), "are in use of") {
				t.Fatal(err)
			}
			if qs.seatsInUse > limit+8 {
				t.Fatalf("%d seats are in use, there were never more than %d", qs.seatsInUse, limit)
			}
		}
		for len(of(running))+len(of(lingering))+len(of(waiting)) > 0 {
			now = now.Add(time.Millisecond)
			before := len(of(gone))
			for _, tk := range of(running) {
				qs.finish(tk, now)
			}
			for _, tk := range of(lingering) {
				qs.release(tk, now)
			}
			if len(of(gone)) == before {
				t.Fatal("nothing goes on")
			}
		}
		for q := range maps.Keys(order) {
			if !slices.IsSortedFunc(order[q], func(a, b *ticket) int { return a.begun.Compare(b.begun) }) {
				t.Fatal("a ticket overtook another in its queue")
			}
		}
	})
}

// Flows that always have something waiting get the same work done, however long their requests last: none falls behind
// another by more than a few of the longest. (Wide requests leave seats empty while they wait for more, and what a flow
// could not use it does not get later; so these are of one seat.)
func TestFairness(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(0, 0)
		const flows = 4
		qs := newQueueSet(shape{queues: flows, hand: 1, length: 1000}, rapid.IntRange(1, 12).Draw(t, "limit"), now)
		var lasts [flows]time.Duration
		for i := range lasts {
			lasts[i] = time.Duration(rapid.IntRange(1, 40).Draw(t, "ms")) * time.Millisecond
		}
		var open []*ticket
		var served [flows]float64
		of := map[*ticket]int{}
		add := func(flow int) {
			tk := &ticket{cost: cost{seats: 1}}
			of[tk] = flow
			qs.arrive(tk, uint64(flow), now)
			open = append(open, tk)
		}
		for range 15 { // more than there are seats
			for f := range flows {
				add(f)
			}
		}
		// Half of the time is for the guesses about how long requests last to even out.
		var at [flows]float64
		const period = 1000
		for ms := range period {
			if ms == period/2 {
				at = served
			}
			now = now.Add(time.Millisecond)
			for i, n := 0, len(open); i < n; i++ {
				if tk, f := open[i], of[open[i]]; tk.state == running && now.Sub(tk.begun) >= lasts[f] {
					qs.finish(tk, now)
					served[f] += now.Sub(tk.begun).Seconds()
					add(f)
				}
			}
			open = slices.DeleteFunc(open, func(tk *ticket) bool { return tk.state == gone })
		}
		least, most := served[0]-at[0], served[0]-at[0]
		for f := range flows {
			got := served[f] - at[f]
			least, most = min(least, got), max(most, got)
		}
		// The limit bounds what is under way; each flow may be a round of the largest requests ahead.
		slack := float64(qs.limit+3) * 2 * 0.040
		if most-least > slack {
			t.Fatalf("flows were served from %.3f to %.3f seat-seconds, with requests of %v at %d seats", least, most, lasts, qs.limit)
		}
	})
}

// Each hand is different cards of the deck.
func TestDeal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		deck := rapid.IntRange(1, 512).Draw(t, "deck")
		size := rapid.IntRange(1, min(deck, maxHand)).Draw(t, "size")
		var hand [maxHand]int
		n := deal(rapid.Uint64().Draw(t, "hash"), deck, size, &hand)
		got := slices.Sorted(slices.Values(hand[:n]))
		if n != size || len(slices.Compact(got)) != size || got[0] < 0 || got[size-1] >= deck {
			t.Fatalf("%v", hand[:n])
		}
	})
}

// Seats are divided within the bounds, all of them, by one multiple of the targets.
func TestDivide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var shares []share
		low, high := 0.0, 0.0
		for range rapid.IntRange(1, 8).Draw(t, "levels") {
			s := share{low: float64(rapid.IntRange(0, 50).Draw(t, "low"))}
			s.high = s.low + float64(rapid.IntRange(0, 600).Draw(t, "more"))
			s.target = s.low + float64(rapid.IntRange(0, 300).Draw(t, "target"))/7
			shares = append(shares, s)
			low, high = low+s.low, high+s.high
		}
		total := float64(rapid.IntRange(int(low), int(high)).Draw(t, "total"))
		seats, multiple := divide(total, shares)
		sum := 0.0
		for i, s := range shares {
			sum += seats[i]
			if seats[i] < s.low-1e-6 || seats[i] > s.high+1e-6 {
				t.Fatalf("%v is out of %v", seats[i], s)
			}
			want := max(s.low, min(s.high, multiple*max(s.target, leastTarget)))
			if d := seats[i] - want; d > 1e-6 || d < -1e-6 {
				t.Fatalf("%v is not %v times the target of %v", seats[i], multiple, s)
			}
		}
		if d := sum - total; d > 1e-6*(1+total) || d < -1e-6*(1+total) {
			t.Fatalf("%v of %v are given out: %v", sum, total, seats)
		}
	})
}
