package flowcontrol

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/follow"
	kinds "github.com/inboard/inboard/apiserver/kinds/flowcontrol"
)

// settings are what the stored objects say, in the form in which requests meet it. They don't change.
type settings struct {
	// schemas are in the order in which they are tried; the last one is about everything.
	schemas []*flowSchema
	// dangling are the names of schemas whose level is not there.
	dangling map[string]bool
}

// flowSchema is a FlowSchema that is in use.
type flowSchema struct {
	name                      string
	spec                      *flowcontrolv1.FlowSchemaSpec
	level                     *level
	figures                   *figures
	levelHeader, schemaHeader []string
}

// classify returns the schema that a request is of.
func (s *settings) classify(r *apiserver.RequestInfo) *flowSchema {
	var last *flowSchema
	for _, fs := range s.schemas {
		if matches(fs.spec, r) {
			return fs
		}
		if fs.name == flowcontrolv1.FlowSchemaNameCatchAll {
			last = fs
		}
	}
	return last
}

// hash tells the flow of a request, where there are queues to choose from.
func (fs *flowSchema) hash(r *apiserver.RequestInfo) uint64 {
	if fs.level.several.Load() {
		return hashFlow(fs.name, distinguisher(fs.spec, r))
	}
	return 0
}

// level is a priority level at work. Its name does not change; the rest is guarded by Controller.mu.
type level struct {
	name string
	spec *flowcontrolv1.PriorityLevelConfigurationSpec
	// leaving tells that its object is gone: it stays until its queues are empty.
	leaving bool
	queues  *queueSet
	limits  limits
	demand  demandStats
	retries retries
	// most bounds the seats of one request, several tells of more than one queue.
	most    atomic.Int64
	several atomic.Bool
}

func (l *level) exempt() bool { return l.name == flowcontrolv1.PriorityLevelConfigurationNameExempt }

// view gathers the stored objects.
type view struct {
	c       *Controller
	schemas map[string]*flowcontrolv1.FlowSchema
	levels  map[string]*flowcontrolv1.PriorityLevelConfiguration

	building sync.Mutex
	built    atomic.Pointer[settings]
}

func newView(c *Controller) *view {
	v := &view{c: c}
	v.Reset()
	return v
}

// sources are what the view is made of, in the order of Put's source.
func (v *view) sources() ([]follow.Source, error) {
	var out []follow.Source
	for _, k := range kinds.Kinds() {
		s, err := apiserver.StoredAs(k)
		if err != nil {
			return nil, err
		}
		out = append(out, follow.Source{Prefix: s.Prefix(), Object: s.Object})
	}
	return out, nil
}

// Reset implements follow.View.
func (v *view) Reset() {
	v.schemas = map[string]*flowcontrolv1.FlowSchema{}
	v.levels = map[string]*flowcontrolv1.PriorityLevelConfiguration{}
	v.built.Store(nil)
}

// Put implements follow.View.
func (v *view) Put(_ int, obj client.Object) {
	switch o := obj.(type) {
	case *flowcontrolv1.FlowSchema:
		v.schemas[o.Name] = o
	case *flowcontrolv1.PriorityLevelConfiguration:
		v.levels[o.Name] = o
	}
	v.built.Store(nil)
}

// Remove implements follow.View.
func (v *view) Remove(source int, _, name string) {
	if source == 0 {
		delete(v.schemas, name)
	} else {
		delete(v.levels, name)
	}
	v.built.Store(nil)
}

// settings returns what the objects say. They must not change meanwhile.
func (v *view) settings() *settings {
	if s := v.built.Load(); s != nil {
		return s
	}
	v.building.Lock()
	defer v.building.Unlock()
	if s := v.built.Load(); s != nil {
		return s
	}
	s := v.c.apply(v.schemas, v.levels)
	v.built.Store(s)
	return s
}

// apply puts the objects into effect. What is mandatory and missing is added, what is broken is as if it were not
// there.
func (c *Controller) apply(schemas map[string]*flowcontrolv1.FlowSchema, levels map[string]*flowcontrolv1.PriorityLevelConfiguration) *settings {
	c.mu.Lock()
	defer c.mu.Unlock()
	levels = maps.Clone(levels)
	maps.DeleteFunc(levels, func(name string, l *flowcontrolv1.PriorityLevelConfiguration) bool {
		err := broken(l)
		if err != nil {
			c.cfg.Logger.Warn("a priority level is not used", "name", name, "error", err)
		}
		return err != nil
	})
	out := &settings{dangling: map[string]bool{}}
	used := map[string]*flowcontrolv1.FlowSchema{}
	for name, fs := range schemas {
		if levels[fs.Spec.PriorityLevelConfiguration.Name] == nil {
			out.dangling[name] = true
			continue
		}
		used[name] = fs
	}
	for _, obj := range DefaultObjects() {
		switch o := obj.(type) {
		case *flowcontrolv1.PriorityLevelConfiguration:
			if levels[o.Name] == nil && mandatory(o) {
				levels[o.Name] = o
			}
		case *flowcontrolv1.FlowSchema:
			if used[o.Name] == nil && mandatory(o) {
				used[o.Name] = o
			}
		}
	}
	c.setLevels(levels, time.Now())
	for _, fs := range used {
		name := fs.Spec.PriorityLevelConfiguration.Name
		out.schemas = append(out.schemas, &flowSchema{
			name: fs.Name, spec: &fs.Spec, level: c.levels[name], figures: c.figuresOf(name, fs.Name),
			levelHeader: []string{string(levels[name].UID)}, schemaHeader: []string{string(fs.UID)},
		})
	}
	slices.SortFunc(out.schemas, func(a, b *flowSchema) int {
		return cmp.Or(cmp.Compare(a.spec.MatchingPrecedence, b.spec.MatchingPrecedence), cmp.Compare(a.name, b.name))
	})
	return out
}

// broken tells what makes a priority level impossible to use; validation lets none be stored.
func broken(l *flowcontrolv1.PriorityLevelConfiguration) error {
	spec := &l.Spec
	limited, exempt := spec.Type == flowcontrolv1.PriorityLevelEnablementLimited, spec.Type == flowcontrolv1.PriorityLevelEnablementExempt
	switch {
	case limited != (spec.Limited != nil) || exempt != (spec.Exempt != nil) || !limited && !exempt:
		return errors.New("the type does not fit the fields")
	case exempt != (l.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt):
		return errors.New("only the level exempt may be exempt")
	case limited && (spec.Limited.LimitResponse.Type == flowcontrolv1.LimitResponseTypeQueue) != (spec.Limited.LimitResponse.Queuing != nil):
		return errors.New("the limitResponse's type does not fit its fields")
	case limited && spec.Limited.LimitResponse.Queuing != nil && !fine(spec.Limited.LimitResponse.Queuing):
		return errors.New("the queues can't be dealt")
	}
	return nil
}

func fine(q *flowcontrolv1.QueuingConfiguration) bool {
	return q.Queues > 0 && q.HandSize > 0 && q.HandSize <= q.Queues && q.HandSize < maxHand && q.QueueLengthLimit > 0
}

// setLevels puts priority levels into effect. Those that are gone stay until their queues are empty, and have their
// share until then.
func (c *Controller) setLevels(levels map[string]*flowcontrolv1.PriorityLevelConfiguration, now time.Time) {
	for name, l := range c.levels {
		if l.leaving = levels[name] == nil; l.leaving && l.queues.idle() && l.queues.seatsInUse == 0 {
			delete(c.levels, name)
		}
	}
	for name, obj := range levels {
		l := c.levels[name]
		if l == nil {
			l = &level{name: name}
			c.levels[name] = l
		}
		l.spec = &obj.Spec
	}
	sum := 0.0
	for _, l := range c.levels {
		shares, _, _ := sharesOf(l.spec)
		sum += shares
	}
	for _, l := range c.levels {
		shares, lendable, borrowing := sharesOf(l.spec)
		current := l.limits.Current
		l.limits = nominal(c.cfg.Seats, shares, sum, lendable, borrowing)
		l.limits.Current = current
		s := shapeOf(l)
		l.most.Store(int64(mostSeats(l.limits.Nominal, s.hand)))
		l.several.Store(s.queues > 1)
		if l.queues == nil {
			// Half of what may be lent is, until it is known what is asked for.
			l.limits.Current = l.limits.Nominal - (l.limits.Nominal-l.limits.Lower)/2
			l.queues = newQueueSet(s, l.limits.Current, now)
		} else {
			l.queues.configure(s, l.limits.Current, now)
		}
	}
	c.adjust(now)
}

func sharesOf(spec *flowcontrolv1.PriorityLevelConfigurationSpec) (shares float64, lendable, borrowing *int32) {
	n := (*int32)(nil)
	if l := spec.Limited; l != nil {
		n, lendable, borrowing = l.NominalConcurrencyShares, l.LendablePercent, l.BorrowingLimitPercent
	} else {
		n, lendable = spec.Exempt.NominalConcurrencyShares, spec.Exempt.LendablePercent
	}
	if n != nil {
		shares = float64(*n)
	}
	return shares, lendable, borrowing
}

func shapeOf(l *level) shape {
	if l.spec.Limited == nil {
		return shape{exempt: true}
	}
	q := l.spec.Limited.LimitResponse.Queuing
	if q == nil {
		return shape{}
	}
	return shape{queues: int(q.Queues), hand: int(q.HandSize), length: int(q.QueueLengthLimit)}
}

// adjust moves seats from levels that don't use them to those that do. It is called whenever the levels change, and
// every adjustEvery.
func (c *Controller) adjust(now time.Time) {
	names := slices.Sorted(maps.Keys(c.levels))
	members := make([]member, len(names))
	for i, name := range names {
		l := c.levels[name]
		l.demand.take(&l.queues.demand, now)
		members[i] = member{&l.limits, l.exempt(), l.demand}
	}
	c.multiple = borrow(members)
	for _, name := range names {
		l := c.levels[name]
		l.queues.configure(l.queues.shape, l.limits.Current, now)
		if l.leaving && l.queues.idle() && l.queues.seatsInUse == 0 {
			delete(c.levels, name)
		}
	}
}
