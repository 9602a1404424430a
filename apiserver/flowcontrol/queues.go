package flowcontrol

import (
	"math"
	"time"
)

// seatSeconds is work: seats times time, in units of 10 ns times seats. It lasts for years at thousands of seats.
type seatSeconds int64

const perSecond = 1e8

func work(seats float64, d time.Duration) seatSeconds {
	return seatSeconds(math.Round(seats * d.Seconds() * perSecond))
}

// perSeat is the time that it takes a number of seats to do the work.
func (s seatSeconds) perSeat(seats int) time.Duration {
	return time.Duration(float64(s) / float64(seats) / perSecond * float64(time.Second))
}

// guess is how long a request is taken to last before it has ended.
const guess = 3 * time.Millisecond

// cost is what a request takes: seats while it is served, and afterwards, while its consequences are dealt with, other
// seats for some time more.
type cost struct {
	seats, finalSeats int
	lingers           time.Duration
}

// most is what has to be free for the request to begin.
func (c *cost) most() int { return max(c.seats, c.finalSeats) }

func (c *cost) work() seatSeconds {
	return work(float64(c.seats), guess) + work(float64(c.finalSeats), c.lingers)
}

// ticket is a request in a queueSet.
type ticket struct {
	cost
	// queue is nil at a level without queues.
	queue   *queue
	arrived seatSeconds
	begun   time.Time
	state   ticketState
	// ready is closed when a ticket that waits may run.
	ready      chan struct{}
	prev, next *ticket
}

type ticketState int

const (
	refused ticketState = iota
	waiting
	running
	lingering
	gone
)

// queue is a line of tickets, oldest first.
type queue struct {
	first, last *ticket
	length      int
	// seatsWaiting and workWaiting are the sums over the tickets that wait, seatsInUse and executing are of those
	// that run.
	seatsWaiting, seatsInUse, executing int
	workWaiting                         seatSeconds
	// nextR is where on the meter of progress the queue's next ticket begins.
	nextR seatSeconds
}

func (q *queue) active() bool { return q.length > 0 || q.executing > 0 }

func (q *queue) push(t *ticket) {
	if t.prev = q.last; t.prev != nil {
		t.prev.next = t
	} else {
		q.first = t
	}
	q.last = t
	q.count(t, 1)
}

func (q *queue) remove(t *ticket) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		q.first = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		q.last = t.prev
	}
	t.prev, t.next = nil, nil
	q.count(t, -1)
}

func (q *queue) count(t *ticket, by int) {
	q.length += by
	q.seatsWaiting += by * t.most()
	q.workWaiting += seatSeconds(by) * t.work()
}

// bound keeps a queue that could not use its share from saving it up: its next ticket begins no earlier than it
// arrived.
func (q *queue) bound() {
	if q.first != nil {
		q.nextR = max(q.nextR, q.first.arrived)
	}
}

// shape tells how a queueSet queues.
type shape struct {
	// exempt lets everything run at once.
	exempt bool
	// queues is 0 for a level that refuses what it has no seats for.
	queues, hand, length int
}

// queueSet shares the seats of a priority level fairly among its queues: fair queuing for server requests, as KEP-1040
// describes it and kube-apiserver does it. It is a function of what happens to it and of the times given, which must
// not go back; it has no lock, no clock and waits for nothing.
//
// The meter of progress R tells how many seat-seconds each queue that has something to do was given so far; it
// advances the slower the more queues there are. A queue's next ticket begins virtually where its last one ended, and
// the queue whose next ticket would end first is served next.
type queueSet struct {
	shape
	limit  int
	queues []*queue

	r      seatSeconds
	at     time.Time
	robin  int
	dealt  int
	active int // queues that have something to do

	waiting, executing       int
	seatsWaiting, seatsInUse int
	// queuedSeats are those of seatsInUse that queues have.
	queuedSeats int
	demand      integrator
}

func newQueueSet(s shape, limit int, now time.Time) *queueSet {
	qs := &queueSet{at: now, demand: integrator{at: now}}
	qs.configure(s, limit, now)
	return qs
}

// configure changes the shape and the limit. Queues that are too many are used up.
func (qs *queueSet) configure(s shape, limit int, now time.Time) {
	qs.advance(now)
	qs.shape, qs.limit = s, limit
	for len(qs.queues) < s.queues {
		qs.queues = append(qs.queues, &queue{})
	}
	qs.trim()
	qs.dispatch(now)
}

// trim drops queues that are too many and empty.
func (qs *queueSet) trim() {
	n := len(qs.queues)
	for n > qs.shape.queues && !qs.queues[n-1].active() && qs.queues[n-1].seatsInUse == 0 {
		n--
	}
	clear(qs.queues[n:])
	qs.queues = qs.queues[:n]
	if qs.robin >= n {
		qs.robin = 0
	}
}

// idle tells that nothing waits or runs.
func (qs *queueSet) idle() bool { return qs.waiting == 0 && qs.executing == 0 }

// advance moves the meter of progress on to now.
func (qs *queueSet) advance(now time.Time) {
	passed := now.Sub(qs.at)
	if passed <= 0 {
		return
	}
	qs.at = now
	if qs.active == 0 {
		return
	}
	seats := min(qs.queuedSeats+qs.seatsWaiting, qs.limit)
	qs.r += work(float64(seats)/float64(qs.active), passed)
}

// arrive takes a request in: it runs, waits, or is refused, by its state. The hash tells its flow.
func (qs *queueSet) arrive(t *ticket, hash uint64, now time.Time) {
	qs.advance(now)
	if qs.exempt || qs.shape.queues == 0 {
		if !qs.fits(t.most()) {
			return
		}
		qs.begin(t, now)
		return
	}
	q := qs.choose(hash)
	if qs.seatsInUse >= qs.limit && q.length >= qs.length {
		return
	}
	if !q.active() {
		q.nextR = qs.r
		qs.active++
	}
	t.queue, t.arrived, t.state = q, qs.r, waiting
	q.push(t)
	q.bound()
	qs.waiting++
	qs.seatsWaiting += t.most()
	qs.measure(now)
	qs.dispatch(now)
	if t.state == waiting {
		t.ready = make(chan struct{})
	}
}

// choose deals the flow a hand of queues and returns the one with the least work waiting.
func (qs *queueSet) choose(hash uint64) *queue {
	var hand [maxHand]int
	n := deal(hash, qs.shape.queues, qs.hand, &hand)
	from := qs.dealt % n
	qs.dealt++
	var best *queue
	for i := range n {
		if q := qs.queues[hand[(from+i)%n]]; best == nil || q.workWaiting < best.workWaiting {
			best = q
		}
	}
	return best
}

// fits tells whether a request may take that many seats now. One that takes more than there are runs alone.
func (qs *queueSet) fits(seats int) bool {
	switch {
	case qs.exempt:
		return true
	case seats > qs.limit:
		return qs.executing == 0
	}
	return qs.seatsInUse+seats <= qs.limit
}

// dispatch begins what may run, in the order that is fair.
func (qs *queueSet) dispatch(now time.Time) {
	for qs.waiting > 0 && (qs.exempt || qs.seatsInUse < qs.limit) {
		i := qs.next()
		q := qs.queues[i]
		t := q.first
		if !qs.fits(t.most()) {
			return
		}
		qs.robin = i
		qs.leave(t)
		if t.finalSeats > qs.limit && qs.limit > 0 {
			// The same work, by fewer seats for longer.
			t.lingers = work(float64(t.finalSeats), t.lingers).perSeat(qs.limit)
			t.finalSeats = qs.limit
		}
		qs.begin(t, now)
		q.nextR += t.work()
		q.bound()
	}
}

// next returns the queue whose oldest ticket would virtually end first; of equals the first after the last one served.
func (qs *queueSet) next() int {
	best, bestEnd := -1, seatSeconds(0)
	for n := range qs.queues {
		i := (qs.robin + 1 + n) % len(qs.queues)
		q := qs.queues[i]
		if q.first == nil {
			continue
		}
		if end := q.nextR + q.first.work(); best < 0 || end < bestEnd {
			best, bestEnd = i, end
		}
		if q.length == qs.waiting {
			break // nobody waits elsewhere
		}
	}
	return best
}

// leave takes a ticket that waits out of its queue.
func (qs *queueSet) leave(t *ticket) {
	t.queue.remove(t)
	qs.waiting--
	qs.seatsWaiting -= t.most()
}

func (qs *queueSet) begin(t *ticket, now time.Time) {
	t.state, t.begun = running, now
	qs.executing++
	qs.seatsInUse += t.most()
	if t.queue != nil {
		t.queue.executing++
		t.queue.seatsInUse += t.most()
		qs.queuedSeats += t.most()
	}
	qs.measure(now)
	if t.ready != nil {
		close(t.ready)
	}
}

// cancel gives up on a ticket that waits, and tells whether it did wait still.
func (qs *queueSet) cancel(t *ticket, now time.Time) bool {
	if t.state != waiting {
		return false
	}
	qs.advance(now)
	qs.leave(t)
	t.state = gone
	t.queue.bound()
	qs.settle(t.queue)
	qs.measure(now)
	qs.dispatch(now)
	return true
}

// finish ends a ticket that ran. One that lingers keeps its seats, until release is called after that time.
func (qs *queueSet) finish(t *ticket, now time.Time) (lingers time.Duration) {
	qs.advance(now)
	qs.executing--
	if q := t.queue; q != nil {
		q.executing--
		// It was charged for a guess.
		q.nextR -= work(float64(t.seats), guess-now.Sub(t.begun))
		q.bound()
		qs.settle(q)
	}
	t.state = lingering
	if t.lingers <= 0 || t.finalSeats == 0 {
		qs.release(t, now)
		return 0
	}
	qs.dispatch(now)
	return t.lingers
}

// release gives back the seats of a ticket that was finished.
func (qs *queueSet) release(t *ticket, now time.Time) {
	qs.advance(now)
	t.state = gone
	qs.seatsInUse -= t.most()
	if q := t.queue; q != nil {
		q.seatsInUse -= t.most()
		qs.queuedSeats -= t.most()
	}
	qs.measure(now)
	qs.dispatch(now)
	if len(qs.queues) > qs.shape.queues {
		qs.trim()
	}
}

// settle notes that a queue may have nothing to do any more.
func (qs *queueSet) settle(q *queue) {
	if q.active() {
		return
	}
	if qs.active--; qs.active == 0 {
		qs.r = 0 // nobody remembers an earlier reading, so the meter never overflows
	}
}

func (qs *queueSet) measure(now time.Time) {
	qs.demand.set(float64(qs.seatsInUse+qs.seatsWaiting), now)
}
