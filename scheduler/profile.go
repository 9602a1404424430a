package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
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
	preFilters []stage[PreFilterPlugin]
	filters    []stage[FilterPlugin]
	scorers    []scorer
	plugins    map[string]Plugin
	percentage int
	scratch    sync.Pool
}

// stage is a plugin at one extension point; slot is its place in the states of a cycle.
type stage[P Plugin] struct {
	plugin P
	name   string
	slot   int
}

type scorer struct {
	stage[ScorePlugin]
	pre       PreScorePlugin
	normalize ScoreNormalizer
	weight    int64
}

// NewProfile returns a profile. The error names a plugin that has no name, the name of another one or
// a negative weight.
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
		p.add(i, w)
	}
	p.scratch.New = func() any { return &scratch{states: make([]any, len(plugins)), skip: make([]bool, len(plugins))} }
	return p, nil
}

func (p *Profile) add(slot int, w WeightedPlugin) {
	name := w.Name()
	p.plugins[name] = w.Plugin
	if x, ok := w.Plugin.(PreFilterPlugin); ok {
		p.preFilters = append(p.preFilters, stage[PreFilterPlugin]{x, name, slot})
	}
	if x, ok := w.Plugin.(FilterPlugin); ok {
		p.filters = append(p.filters, stage[FilterPlugin]{x, name, slot})
	}
	if x, ok := w.Plugin.(ScorePlugin); ok {
		s := scorer{stage: stage[ScorePlugin]{x, name, slot}, weight: max(w.Weight, 1)}
		s.pre, _ = w.Plugin.(PreScorePlugin)
		s.normalize, _ = w.Plugin.(ScoreNormalizer)
		p.scorers = append(p.scorers, s)
	}
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
func (p *Profile) Place(s *Snapshot, pod *PodInfo, random *rand.Rand) (_ Assignment, err error) {
	s = s.orEmpty()
	if s.Len() == 0 {
		return Assignment{}, ErrNoNodes
	}
	x := p.scratch.Get().(*scratch)
	r := run{Profile: p, Cycle: Cycle{Pod: pod, Snapshot: s}, random: random, scratch: x}
	defer func() {
		if v := recover(); v != nil {
			// The scratch space may be in any state: it is left to the garbage collector.
			err = &PluginError{Plugin: r.at, Point: r.point, Err: fmt.Errorf("panic: %v", v)}
			return
		}
		x.clear()
		p.scratch.Put(x)
	}()
	return r.place()
}

// Outcome is the answer for one of several pods.
type Outcome struct {
	Pod *corev1.Pod
	Assignment
	// Err is nil when the pod has a node.
	Err error
}

// ScheduleAll places pods one after the other, each with the earlier ones counted in, and returns the
// snapshot in which all that fit are on their nodes. The pods are taken in the given order.
func (p *Profile) ScheduleAll(s *Snapshot, pods []*corev1.Pod, random *rand.Rand) ([]Outcome, *Snapshot) {
	out := make([]Outcome, len(pods))
	b := s.Edit()
	for i, pod := range pods {
		info := NewPodInfo(pod)
		out[i].Pod = pod
		// The builder's own state may be read while it is not being changed.
		if out[i].Assignment, out[i].Err = p.Place(&b.s, info, random); out[i].Err == nil {
			b.AddPod(info, out[i].Node)
		}
	}
	return out, b.Snapshot()
}

// Schedule places one pod with the default plugins; see Profile.Schedule.
func Schedule(s *Snapshot, pod *corev1.Pod, random *rand.Rand) (Assignment, error) {
	p, err := NewProfile(ProfileConfig{})
	if err != nil {
		return Assignment{}, err
	}
	return p.Schedule(s, pod, random)
}
