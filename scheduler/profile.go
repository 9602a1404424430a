package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// ProfileConfig configures a Profile.
type ProfileConfig struct {
	// Plugins are asked in this order; nil means DefaultPlugins.
	Plugins []WeightedPlugin
	// PercentageOfNodesToScore bounds the search in clusters of 100 nodes and more: it ends when
	// this part of the nodes, and at least 100, were found to fit. 0 adapts to the size of the
	// cluster as kube-scheduler does: 50 less one per 125 nodes, at least 5. 100 looks at all.
	PercentageOfNodesToScore int
}

// WeightedPlugin is a plugin and the factor of its scores; 0 means 1.
type WeightedPlugin struct {
	Plugin
	Weight int64
}

// Profile is a set of plugins that decides where pods go. It is immutable and may be used by many
// goroutines at once.
type Profile struct {
	preEnqueues []stage[PreEnqueuePlugin]
	preFilters  []stage[PreFilterPlugin]
	filters     []stage[FilterPlugin]
	postFilters []stage[PostFilterPlugin]
	// groupPostFilters are asked about whole groups.
	groupPostFilters []stage[PodGroupPostFilterPlugin]
	scorers          []scorer
	reserves         []stage[ReservePlugin]
	permits          []stage[PermitPlugin]
	preBinds         []stage[PreBindPlugin]
	binds            []stage[BindPlugin]
	postBinds        []stage[PostBindPlugin]
	queueSort        QueueSortPlugin
	watches          []client.Object
	plugins          map[string]Plugin
	percentage       int
	// brief tells that no PostFilterPlugin looks at the single nodes of a FitError.
	brief   bool
	scratch sync.Pool
}

// stage is a plugin at one extension point; slot is its place in the states of a cycle.
type stage[P Plugin] struct {
	plugin P
	name   string
	slot   int
	local  bool // it is a localFilter
}

type scorer struct {
	stage[ScorePlugin]
	pre       PreScorePlugin
	normalize ScoreNormalizer
	weight    int64
	byShape   bool
}

// NewProfile returns a profile. SchedulingGates, PrioritySort and DefaultBinder are part of it even if
// they are not named, the latter two unless others take their place. The error names a plugin that has
// no name, the name of another one, a negative weight or is a second QueueSortPlugin.
func NewProfile(cfg ProfileConfig) (*Profile, error) {
	plugins := slices.Clone(cfg.Plugins)
	if cfg.Plugins == nil {
		plugins = DefaultPlugins()
	}
	if cfg.PercentageOfNodesToScore < 0 || cfg.PercentageOfNodesToScore > 100 {
		return nil, fmt.Errorf("scheduler: PercentageOfNodesToScore is %d; it must be from 0 to 100", cfg.PercentageOfNodesToScore)
	}
	p := &Profile{percentage: cfg.PercentageOfNodesToScore, plugins: map[string]Plugin{}}
	for i, w := range plugins {
		if w.Plugin == nil || w.Name() == "" {
			return nil, fmt.Errorf("scheduler: Plugins[%d] is nil or has no name", i)
		}
		if p.plugins[w.Name()] != nil {
			return nil, fmt.Errorf("scheduler: Plugins[%d]: there are two plugins named %q", i, w.Name())
		}
		if w.Weight < 0 {
			return nil, fmt.Errorf("scheduler: Plugins[%d] (%s): Weight is %d; it must not be negative", i, w.Name(), w.Weight)
		}
		if x, ok := w.Plugin.(QueueSortPlugin); ok {
			if p.queueSort != nil {
				return nil, fmt.Errorf("scheduler: Plugins[%d] (%s): pods are sorted by %s already", i, w.Name(), p.queueSort.Name())
			}
			p.queueSort = x
		}
		p.add(i, w)
	}
	p.addMissing(len(plugins))
	p.brief = !slices.ContainsFunc(p.postFilters, func(st stage[PostFilterPlugin]) bool {
		_, ours := st.plugin.(DefaultPreemption)
		return !ours
	})
	slots := len(p.plugins)
	p.scratch.New = func() any { return &scratch{states: make([]any, slots), skip: make([]bool, slots)} }
	return p, nil
}

// addMissing adds what no profile can do without.
func (p *Profile) addMissing(slot int) {
	if p.plugins[NameSchedulingGates] == nil {
		p.add(slot, WeightedPlugin{Plugin: SchedulingGates{}})
		slot++
	}
	if p.queueSort == nil {
		p.queueSort = PrioritySort{}
	}
	if len(p.binds) == 0 {
		p.add(slot, WeightedPlugin{Plugin: DefaultBinder{}})
	}
}

func (p *Profile) add(slot int, w WeightedPlugin) {
	name := w.Name()
	p.plugins[name] = w.Plugin
	addTo(&p.preEnqueues, slot, w.Plugin)
	addTo(&p.preFilters, slot, w.Plugin)
	addTo(&p.filters, slot, w.Plugin)
	addTo(&p.postFilters, slot, w.Plugin)
	addTo(&p.groupPostFilters, slot, w.Plugin)
	addTo(&p.reserves, slot, w.Plugin)
	addTo(&p.permits, slot, w.Plugin)
	addTo(&p.preBinds, slot, w.Plugin)
	addTo(&p.binds, slot, w.Plugin)
	addTo(&p.postBinds, slot, w.Plugin)
	if x, ok := w.Plugin.(ScorePlugin); ok {
		s := scorer{stage: stage[ScorePlugin]{plugin: x, name: name, slot: slot}, weight: max(w.Weight, 1)}
		s.pre, _ = w.Plugin.(PreScorePlugin)
		s.normalize, _ = w.Plugin.(ScoreNormalizer)
		s.byShape = scoresByShape(w.Plugin) && s.weight <= mostWeight
		p.scorers = append(p.scorers, s)
	}
	if x, ok := w.Plugin.(Watcher); ok {
		p.watches = append(p.watches, x.Watches()...)
	}
}

// addTo adds a plugin to an extension point if it takes part there.
func addTo[P Plugin](stages *[]stage[P], slot int, plugin Plugin) {
	if x, ok := plugin.(P); ok {
		_, local := plugin.(localFilter)
		*stages = append(*stages, stage[P]{x, plugin.Name(), slot, local})
	}
}

// later tells whether a plugin takes part after a node was chosen, and so may want its state.
func (p *Profile) later() bool {
	return len(p.reserves)+len(p.permits)+len(p.preBinds) > 0
}

// preEnqueue returns the name of the plugin that keeps the pod out of the queue, and why.
func (p *Profile) preEnqueue(s *Snapshot, pod *PodInfo) (string, *Status) {
	for i := range p.preEnqueues {
		st := &p.preEnqueues[i]
		if status := step(func() *Status { return st.plugin.PreEnqueue(s, pod) }); status != nil {
			return st.name, status
		}
	}
	return "", nil
}

// Assignment is where a pod goes.
type Assignment struct {
	// Node is the name of the node.
	Node string
	// Score is the weighted sum of the plugins' scores, 0 when only one node was feasible.
	Score int64
	// EvaluatedNodes were filtered, FeasibleNodes of them passed.
	EvaluatedNodes, FeasibleNodes int
}

// Schedule chooses a node for a pod: one of those that pass all filters and, of these, one with the
// highest score. Ties are broken by random, and so is where the search begins in a large cluster;
// without a random source the first node in the snapshot's order wins. The same snapshot, pod
// and random source give the same node.
//
// The error is ErrNoNodes, a *FitError when the pod fits on no node, or a *PluginError.
func (p *Profile) Schedule(s *Snapshot, pod *corev1.Pod, random *rand.Rand) (Assignment, error) {
	return p.Place(s, NewPodInfo(pod), random)
}

// Place is Schedule for a pod that was prepared before.
func (p *Profile) Place(s *Snapshot, pod *PodInfo, random *rand.Rand) (Assignment, error) {
	pl, err := p.place(Cycle{Pod: pod, Snapshot: s.orEmpty(), Random: random}, false)
	return pl.Assignment, err
}

// PlaceOrPreempt is Place for a pod that may take the room of others: with a *FitError comes what the
// PostFilter plugins say, which the error's text tells, too.
func (p *Profile) PlaceOrPreempt(s *Snapshot, pod *PodInfo, random *rand.Rand) (Assignment, PostFilterResult, error) {
	pl, err := p.place(Cycle{Pod: pod, Snapshot: s.orEmpty(), Random: random}, true)
	return pl.Assignment, pl.room, err
}

// placement is all that comes of an attempt.
type placement struct {
	Assignment
	// states are those of the plugins, if any may want them later.
	states []any
	room   PostFilterResult
}

func (p *Profile) place(c Cycle, makeRoom bool) (pl placement, err error) {
	if c.Snapshot.Len() == 0 {
		return placement{}, ErrNoNodes
	}
	x := p.scratch.Get().(*scratch)
	r := run{Profile: p, Cycle: c, scratch: x}
	defer func() {
		if v := recover(); v != nil {
			// The scratch space may be in any state: it is left to the garbage collector.
			err = &PluginError{Plugin: r.at, Point: r.point, Err: fmt.Errorf("panic: %v", v)}
			return
		}
		x.clear()
		p.scratch.Put(x)
	}()
	pl.Assignment, err = r.place()
	if err == nil && p.later() {
		pl.states = slices.Clone(x.states)
	}
	if fit, ok := err.(*FitError); ok && makeRoom {
		pl.room = r.postFilter(fit)
	}
	return pl, err
}

// Outcome is the answer for one of several pods.
type Outcome struct {
	Pod *corev1.Pod
	Assignment
	// Err is nil when the pod has a node.
	Err error
}

// setAside puts what plugins reserve for a pod into the builder. What they reserve elsewhere is taken back: no
// binding follows.
func (p *Profile) setAside(b *Builder, c Cycle, node string, states []any) error {
	var assumed []client.Object
	for i := range p.reserves {
		st := &p.reserves[i]
		state := states[st.slot]
		status := step(func() *Status {
			r, status := st.plugin.Reserve(&c, state, b.s.Node(node))
			assumed = append(assumed, r.Assumed...)
			st.plugin.Unreserve(c.Pod, node, r.State)
			return status
		})
		switch {
		case status.Rejected():
			return &FitError{Pod: c.Pod.Pod, NumAllNodes: 1, Nodes: []Verdict{{Node: node, Plugin: st.name, Status: status}}}
		case status != nil:
			return &PluginError{Plugin: st.name, Point: "Reserve", Err: status.cause()}
		}
	}
	for _, obj := range assumed {
		b.SetObject(obj)
	}
	return nil
}

// Schedule places one pod with the default plugins; see Profile.Schedule.
func Schedule(s *Snapshot, pod *corev1.Pod, random *rand.Rand) (Assignment, error) {
	p, err := NewProfile(ProfileConfig{})
	if err != nil {
		return Assignment{}, err
	}
	return p.Schedule(s, pod, random)
}
