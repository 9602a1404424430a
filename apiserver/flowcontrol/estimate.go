package flowcontrol

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/store"
)

// The figures by which kube-apiserver 1.37 tells how many seats a request takes.
const (
	mostListSeats     = 100
	mostMutatingSeats = 10
	bytesPerSeat      = 100_000
	// listBytes bounds what a list is taken to need at once: lists are streamed from what is in memory anyway.
	listBytes      = 1_000_000
	watchesPerSeat = 10
	eventTime      = 5 * time.Millisecond
)

// mostSeats bounds what one request at a level may take; without queues there is no bound but the general ones.
func mostSeats(nominal, hand int) int {
	if hand == 0 {
		return 0
	}
	return max(1, min(int(math.Ceil(float64(nominal)*0.15)), nominal/hand))
}

func capped(level, general int) int {
	if level == 0 {
		return general
	}
	return min(level, general)
}

// size is how much there is of a resource.
type size struct{ objects, average int64 }

// listCost is that of a list, or of a watch that begins with one. Most is the level's bound.
func listCost(r *apiserver.RequestInfo, most int, sizeOf func() (size, bool)) cost {
	most = capped(most, mostListSeats)
	var opts metav1.ListOptions
	if err := metav1.Convert_url_Values_To_v1_ListOptions(&r.Query, &opts, nil); err != nil {
		return cost{seats: most} // it fails, whatever it costs
	}
	if r.Verb == "watch" {
		initial := opts.SendInitialEvents != nil && *opts.SendInitialEvents
		if !initial && opts.ResourceVersion != "" && opts.ResourceVersion != "0" {
			return cost{seats: 1}
		}
	}
	s, known := sizeOf()
	if !known {
		return cost{seats: 1}
	}
	n := s.objects
	if opts.Limit > 0 {
		n = min(n, opts.Limit)
	}
	if namesOne(r, opts.FieldSelector) {
		n = 1
	}
	bytes := min(n*s.average, listBytes)
	return cost{seats: max(1, min(most, int((bytes+bytesPerSeat-1)/bytesPerSeat)))}
}

// namesOne tells that a list is about the object of one name.
func namesOne(r *apiserver.RequestInfo, selector string) bool {
	if r.Name != "" {
		return true
	}
	_, ok := exactly(selector, "metadata.name")
	return ok
}

// exactly returns the value that a field selector asks of a field.
func exactly(selector, field string) (string, bool) {
	if !strings.Contains(selector, field) {
		return "", false
	}
	s, err := fields.ParseSelector(selector)
	if err != nil {
		return "", false
	}
	return s.RequiresExactMatch(field)
}

// writeCost is that of a write that so many watchers hear of: telling them goes on after the answer.
func writeCost(watchers, most int) cost {
	c := cost{seats: 1}
	if watchers < watchesPerSeat {
		return c
	}
	seats := (watchers + watchesPerSeat - 1) / watchesPerSeat
	c.finalSeats = min(seats, capped(most, mostMutatingSeats))
	c.lingers = work(float64(seats), eventTime).perSeat(c.finalSeats)
	return c
}

// watched tells apart what watches are about.
type watched struct{ group, resource, namespace, name string }

// watches counts those that are open.
type watches struct {
	mu    sync.Mutex
	count map[watched]int
}

// add counts a watch; what it returns forgets it. Watches of one node's pods are not counted: an index finds them.
func (w *watches) add(r *apiserver.RequestInfo) (forget func()) {
	if r.Resource == "pods" {
		if node, ok := exactly(r.Query.Get("fieldSelector"), "spec.nodeName"); ok && node != "" {
			return func() {}
		}
	}
	key := watched{r.APIGroup, r.Resource, r.Namespace, r.Name}
	if name, ok := exactly(r.Query.Get("fieldSelector"), "metadata.name"); ok && key.name == "" {
		key.name = name
	}
	w.change(key, 1)
	return func() { w.change(key, -1) }
}

func (w *watches) change(key watched, by int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == nil {
		w.count = map[watched]int{}
	}
	if w.count[key] += by; w.count[key] == 0 {
		delete(w.count, key)
	}
}

// interested counts the watches that a write may concern.
func (w *watches) interested(r *apiserver.RequestInfo) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.count) == 0 {
		return 0
	}
	n := w.count[watched{r.APIGroup, r.Resource, "", ""}]
	if r.Namespace != "" {
		n += w.count[watched{r.APIGroup, r.Resource, r.Namespace, ""}]
	}
	if r.Name != "" {
		n += w.count[watched{r.APIGroup, r.Resource, r.Namespace, r.Name}]
	}
	return n
}

// sizes remembers for a while how much there is of each resource.
type sizes struct {
	store apiserver.Store
	mu    sync.Mutex
	known map[schema.GroupResource]measured
}

type measured struct {
	size
	until time.Time
}

const (
	sizesLast = 10 * time.Second
	// sampled is how many objects are looked at to tell how large one is.
	sampled = 64
)

// of returns how much there is of a resource, and whether it can be told.
func (s *sizes) of(ctx context.Context, gr schema.GroupResource, now time.Time) (size, bool) {
	s.mu.Lock()
	m, ok := s.known[gr]
	s.mu.Unlock()
	if ok && now.Before(m.until) {
		return m.size, true
	}
	prefix := apiserver.StoredPrefix(gr)
	all, err := s.store.Range(ctx, store.Range{Key: prefix, End: store.PrefixEnd(prefix), Limit: sampled})
	if err != nil {
		return size{}, false
	}
	m = measured{size{objects: int64(all.Count)}, now.Add(sizesLast)}
	for _, e := range all.Entries {
		m.average += int64(len(e.Value))
	}
	if n := int64(len(all.Entries)); n > 0 {
		m.average /= n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[schema.GroupResource]measured{}
	}
	s.known[gr] = m
	return m.size, true
}
