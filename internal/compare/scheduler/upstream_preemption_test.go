package scheduler_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"
	fwk "k8s.io/kube-scheduler/framework"
	schedulerconfig "k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/defaultpreemption"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodevolumelimits"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
)

// rescue is upstream's answer.
type rescue struct {
	feasible   map[string]bool
	nominated  bool // the pod's nominated node is feasible
	candidates map[string]*extenderv1.Victims
	best       string
	message    string // of PostFilter, when there is no candidate
}

func (u *upstream) preempt(ctx context.Context, c *evictions, pod *corev1.Pod) (*rescue, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	inf, err := u.informersOf(c.nodes, c.placed, nil)
	if err != nil {
		return nil, err
	}
	nominator, err := c.informUpstream(inf, pod)
	if err != nil {
		return nil, err
	}
	snapshot := cache.NewTestSnapshotWithPodGroups(c.placed, c.nodes, c.groups)
	f, err := frameworkruntime.NewFramework(ctx, u.registry, u.profile, frameworkruntime.WithSnapshotSharedLister(snapshot),
		frameworkruntime.WithMutableSnapshotLister(snapshot), frameworkruntime.WithPodNominator(nominator), frameworkruntime.WithParallelism(1), frameworkruntime.WithPodGroupManager(snapshot),
		frameworkruntime.WithInformerFactory(inf), frameworkruntime.WithClientSet(u.client),
		frameworkruntime.WithSharedCSIManager(nodevolumelimits.NewCSIManager(inf.Storage().V1().CSINodes().Lister())))
	if err != nil {
		return nil, err
	}
	state, statuses := framework.NewCycleState(), framework.NewDefaultNodeToStatus()
	out, err := filterUpstream(ctx, f, state, statuses, c.nodes, pod)
	if err != nil || len(out.feasible) > 0 {
		return out, err
	}
	pl, err := defaultpreemption.New(ctx, &schedulerconfig.DefaultPreemptionArgs{MinCandidateNodesPercentage: 10, MinCandidateNodesAbsolute: 100},
		f, feature.NewSchedulerFeaturesFromGates(utilfeature.DefaultFeatureGate))
	if err != nil {
		return nil, err
	}
	if ok, _ := pl.PodEligibleToPreemptOthers(ctx, pod, statuses.Get(pod.Status.NominatedNodeName)); ok {
		if err := out.weigh(ctx, pl, state, statuses, snapshot, pod, c.budgets); err != nil || out.best != "" {
			return out, err
		}
	}
	_, status := pl.PostFilter(ctx, state, pod, statuses)
	out.message = status.Message()
	return out, nil
}

// informUpstream tells upstream's listers what informersOf does not.
func (c *evictions) informUpstream(inf informers.SharedInformerFactory, pod *corev1.Pod) (fwk.PodNominator, error) {
	for _, pdb := range c.budgets {
		if err := inf.Policy().V1().PodDisruptionBudgets().Informer().GetIndexer().Add(pdb); err != nil {
			return nil, err
		}
	}
	if err := inf.Core().V1().Pods().Informer().GetIndexer().Add(pod); err != nil {
		return nil, err
	}
	nominator := claims{}
	for _, p := range c.nominated {
		info, err := framework.NewPodInfo(p)
		if err != nil {
			return nil, err
		}
		nominator.on = append(nominator.on, info)
	}
	return nominator, nil
}

// claims is what upstream's queue knows of nominated pods.
type claims struct {
	fwk.PodNominator
	on []fwk.PodInfo
}

func (c claims) NominatedPodsForNode(node string) (out []fwk.PodInfo) {
	for _, p := range c.on {
		if p.GetPod().Status.NominatedNodeName == node {
			out = append(out, p)
		}
	}
	return out
}

// filterUpstream looks at the nominated node first, then at all.
func filterUpstream(ctx context.Context, f framework.Framework, state fwk.CycleState, statuses *framework.NodeToStatus, nodes []*corev1.Node, pod *corev1.Pod) (*rescue, error) {
	out := &rescue{feasible: map[string]bool{}, candidates: map[string]*extenderv1.Victims{}}
	pre, status, by := f.RunPreFilterPlugins(ctx, state, pod)
	if !status.IsSuccess() {
		if !status.IsRejected() {
			return nil, status.AsError()
		}
		statuses.SetAbsentNodesStatus(status)
		return out, nil
	}
	if !pre.AllNodes() {
		statuses.SetAbsentNodesStatus(fwk.NewStatus(fwk.UnschedulableAndUnresolvable, fmt.Sprintf("node(s) didn't satisfy plugin(s) %v", by.UnsortedList())))
	}
	for _, n := range nodes {
		if !pre.AllNodes() && !pre.NodeNames.Has(n.Name) {
			continue
		}
		info, err := f.SnapshotSharedLister().NodeInfos().Get(n.Name)
		if err != nil {
			return nil, err
		}
		switch status := f.RunFilterPluginsWithNominatedPods(ctx, state, pod, info); {
		case status.IsSuccess():
			out.feasible[n.Name] = true
		case status.IsRejected():
			statuses.Set(n.Name, status)
		default:
			return nil, status.AsError()
		}
	}
	if nominated := pod.Status.NominatedNodeName; out.feasible[nominated] {
		out.feasible, out.nominated = map[string]bool{nominated: true}, true
	}
	return out, nil
}

// weigh fills in upstream's candidates and its choice.
func (r *rescue) weigh(ctx context.Context, pl *defaultpreemption.DefaultPreemption, state fwk.CycleState, statuses *framework.NodeToStatus,
	snapshot *cache.Snapshot, pod *corev1.Pod, budgets []*policyv1.PodDisruptionBudget) error {
	potential, err := statuses.NodesForStatusCode(snapshot.NodeInfos(), fwk.Unschedulable)
	if err != nil {
		return err
	}
	// We look at the budgets in the order of their names.
	sorted := slices.SortedFunc(slices.Values(budgets), func(a, b *policyv1.PodDisruptionBudget) int { return cmp.Compare(a.Name, b.Name) })
	found, _, err := pl.Evaluator.DryRunPreemption(ctx, state, pod, potential, sorted, 0, int32(len(potential)))
	if err != nil {
		return err
	}
	for _, x := range found {
		r.candidates[x.Name()] = x.Victims()
	}
	if len(found) == 0 {
		return nil
	}
	r.best = pl.Evaluator.SelectCandidate(ctx, found).Name()
	return nil
}
