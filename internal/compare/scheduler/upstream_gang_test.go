package scheduler_test

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodevolumelimits"
	"k8s.io/kubernetes/pkg/scheduler/framework/preemption"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"

	"github.com/inboard/inboard/scheduler"
)

// upstreamGang is a group that waits, as kube-scheduler's framework sees it. Its own loop over the pods of a group
// can't be imported: follow is the same with the nodes that we choose, each of which must be one of the best.
type upstreamGang struct {
	f        framework.Framework
	snapshot *cache.Snapshot
	group    *schedulingv1beta1.PodGroup
	pods     []*corev1.Pod
}

func (u *upstream) gang(ctx context.Context, c *gangs, group *schedulingv1beta1.PodGroup, pods []*corev1.Pod) (*upstreamGang, error) {
	inf, err := u.informersOf(c.nodes, c.placed, nil)
	if err != nil {
		return nil, err
	}
	for _, pdb := range c.budgets {
		if err := inf.Policy().V1().PodDisruptionBudgets().Informer().GetIndexer().Add(pdb); err != nil {
			return nil, err
		}
	}
	snapshot := cache.NewTestSnapshotWithPodGroups(c.placed, c.nodes, c.groups)
	f, err := frameworkruntime.NewFramework(ctx, u.registry, u.profile, frameworkruntime.WithSnapshotSharedLister(snapshot),
		frameworkruntime.WithMutableSnapshotLister(snapshot), frameworkruntime.WithPodNominator(claims{}), frameworkruntime.WithParallelism(1),
		frameworkruntime.WithInformerFactory(inf), frameworkruntime.WithClientSet(u.client), frameworkruntime.WithPodGroupManager(snapshot),
		frameworkruntime.WithSharedCSIManager(nodevolumelimits.NewCSIManager(inf.Storage().V1().CSINodes().Lister())))
	if err != nil {
		return nil, err
	}
	return &upstreamGang{f: f, snapshot: snapshot, group: group, pods: pods}, nil
}

func (u *upstreamGang) info() *framework.PodGroupInfo {
	return &framework.PodGroupInfo{Namespace: u.group.Namespace, Name: u.group.Name, Type: fwk.PodGroupKeyType, PodGroup: u.group, UnscheduledPods: u.pods}
}

// assignment is a pod of the group on a node.
type assignment struct {
	info  fwk.PodInfo
	node  string
	state fwk.CycleState
}

func (a *assignment) GetPod() *corev1.Pod           { return a.info.GetPod() }
func (a *assignment) GetPodInfo() fwk.PodInfo       { return a.info }
func (a *assignment) GetNodeName() string           { return a.node }
func (a *assignment) GetCycleState() fwk.CycleState { return a.state }

// follow places the pods where the plan says. The status is upstream's about the group, the error a difference.
func (u *upstreamGang) follow(ctx context.Context, plan []string) (out []fwk.ProposedAssignment, _ *fwk.Status, _ error) {
	state, err := u.snapshot.PodGroupStates().Get(u.group.Namespace, u.group.Name)
	progress := framework.PlacementProgress{Remaining: len(u.pods)}
	if err == nil {
		progress.Scheduled = state.ScheduledPodsCount()
	}
	cycle := framework.NewCycleState()
	cycle.SetPodGroupSchedulingCycle(framework.NewCycleState())
	status := u.f.RunPlacementFeasiblePlugins(ctx, cycle, u.info(), progress)
	for i := 0; i < len(u.pods) && status.Code() != fwk.Unschedulable; i++ {
		if i >= len(plan) {
			return nil, nil, fmt.Errorf("we give up after %d pods; upstream says %v", i, status)
		}
		a, err := u.put(ctx, cycle, u.pods[i], plan[i])
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", u.pods[i].Name, err)
		}
		progress.Remaining--
		if a != nil {
			defer u.forget(a)
			out = append(out, a)
			progress.Scheduled++
		}
		status = u.f.RunPlacementFeasiblePlugins(ctx, cycle, u.info(), progress)
	}
	if status.IsWait() {
		status = fwk.NewStatus(fwk.Unschedulable, status.Reasons()...)
	}
	return out, status, nil
}

func (u *upstreamGang) forget(a *assignment) {
	placed := a.info.GetPod().DeepCopy()
	placed.Spec.NodeName = a.node
	if err := u.snapshot.ForgetPod(klog.Background(), placed); err != nil {
		panic(err)
	}
}

// put puts a pod on a node, which must be one of the best; on none, nothing must be feasible.
func (u *upstreamGang) put(ctx context.Context, cycle *framework.CycleState, pod *corev1.Pod, node string) (*assignment, error) {
	state := framework.NewCycleState()
	state.SetPodGroupSchedulingCycle(cycle.GetPodGroupSchedulingCycle())
	state.SetPlacementCycleState(cycle)
	feasible, err := u.feasible(ctx, state, pod)
	if err != nil {
		return nil, err
	}
	if node == "" {
		if len(feasible) > 0 {
			return nil, fmt.Errorf("we find no node; upstream finds %s", feasible[0].Node().Name)
		}
		return nil, nil
	}
	if !slices.ContainsFunc(feasible, func(n fwk.NodeInfo) bool { return n.Node().Name == node }) {
		return nil, fmt.Errorf("we choose %s, which upstream refuses", node)
	}
	if err := u.best(ctx, state, pod, feasible, node); err != nil {
		return nil, err
	}
	info, err := framework.NewPodInfo(pod)
	if err != nil {
		return nil, err
	}
	placed := pod.DeepCopy()
	placed.Spec.NodeName = node
	assumed, err := framework.NewPodInfo(placed)
	if err != nil {
		return nil, err
	}
	return &assignment{info, node, state}, u.snapshot.AssumePod(assumed)
}

func (u *upstreamGang) feasible(ctx context.Context, state *framework.CycleState, pod *corev1.Pod) (out []fwk.NodeInfo, _ error) {
	pre, status, _ := u.f.RunPreFilterPlugins(ctx, state, pod)
	if !status.IsSuccess() {
		if status.IsRejected() {
			return nil, nil
		}
		return nil, status.AsError()
	}
	all, err := u.snapshot.List()
	if err != nil {
		return nil, err
	}
	for _, n := range all {
		if !pre.AllNodes() && !pre.NodeNames.Has(n.Node().Name) {
			continue
		}
		switch status := u.f.RunFilterPluginsWithNominatedPods(ctx, state, pod, n); {
		case status.IsSuccess():
			out = append(out, n)
		case !status.IsRejected():
			return nil, status.AsError()
		}
	}
	return out, nil
}

func (u *upstreamGang) best(ctx context.Context, state *framework.CycleState, pod *corev1.Pod, feasible []fwk.NodeInfo, node string) error {
	if len(feasible) == 1 {
		return nil
	}
	if status := u.f.RunPreScorePlugins(ctx, state, pod, feasible); !status.IsSuccess() {
		return status.AsError()
	}
	scores, status := u.f.RunScorePlugins(ctx, state, pod, feasible)
	if !status.IsSuccess() {
		return status.AsError()
	}
	chosen, highest := int64(0), int64(-1)
	for _, s := range scores {
		highest = max(highest, s.TotalScore)
		if s.Name == node {
			chosen = s.TotalScore
		}
	}
	if chosen < highest {
		return fmt.Errorf("we choose %s of score %d; the best has %d", node, chosen, highest)
	}
	return nil
}

// holds checks that there is an order in which all pods fit where we have put them.
func (u *upstreamGang) holds(ctx context.Context, ours []scheduler.Outcome) error {
	left := slices.DeleteFunc(slices.Clone(ours), func(o scheduler.Outcome) bool { return o.Err != nil })
	if len(left) < int(u.group.Spec.SchedulingPolicy.Gang.MinCount) {
		return fmt.Errorf("we place %d pods", len(left))
	}
	for len(left) > 0 {
		fits := -1
		for i, o := range left {
			feasible, err := u.feasible(ctx, framework.NewCycleState(), o.Pod)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(feasible, func(n fwk.NodeInfo) bool { return n.Node().Name == o.Node }) {
				fits = i
				break
			}
		}
		if fits < 0 {
			return fmt.Errorf("the pods don't fit where we put them: %v", left)
		}
		placed := left[fits].Pod.DeepCopy()
		placed.Spec.NodeName = left[fits].Node
		info, err := framework.NewPodInfo(placed)
		if err != nil {
			return err
		}
		if err := u.snapshot.AssumePod(info); err != nil {
			return err
		}
		left = slices.Delete(left, fits, fits+1)
	}
	return nil
}

// preempt lets upstream choose victims for the group, if its pods are placed by the plan once there is room. It
// returns their names and what upstream says; the error is a difference.
func (u *upstreamGang) preempt(ctx context.Context, plan []string) (victims []string, message string, _ error) {
	fts := feature.NewSchedulerFeaturesFromGates(utilfeature.DefaultFeatureGate)
	fts.EnableAsyncPreemption = false
	executor := preemption.NewExecutor(u.f, fts)
	var mu sync.Mutex
	executor.PreemptPod = func(_ context.Context, _ preemption.Candidate, _ preemption.ExecutorPreemptor, victim *corev1.Pod, _ string) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		victims = append(victims, victim.Name)
		return false, nil
	}
	if err := u.snapshot.StartMutations(); err != nil {
		return nil, "", err
	}
	var differs error
	_, status := preemption.NewPodGroupEvaluator(u.f, executor, fts).Preempt(ctx, u.info(), func(ctx context.Context) (*fwk.PodGroupAssignments, *fwk.Status) {
		out, status, err := u.follow(ctx, plan)
		if differs = err; err != nil {
			return nil, fwk.AsStatus(err)
		}
		return &fwk.PodGroupAssignments{ProposedAssignments: out}, status
	})
	if err := u.snapshot.EndMutations(); err != nil {
		return nil, "", err
	}
	slices.Sort(victims)
	if differs == nil && status.Code() == fwk.Error {
		differs = status.AsError()
	}
	return victims, "pod group preemption: " + status.Message(), differs
}
