package scheduler_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	fwk "k8s.io/kube-scheduler/framework"
	schedulerconfig "k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
	"k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/defaultbinder"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/imagelocality"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/interpodaffinity"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodeaffinity"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodedeclaredfeatures"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodename"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodeports"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/noderesources"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodeunschedulable"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/podtopologyspread"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/queuesort"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/tainttoleration"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/metrics"
)

// upstream is kube-scheduler's framework with the plugins that both have, and its default settings.
type upstream struct {
	registry  frameworkruntime.Registry
	profile   *schedulerconfig.KubeSchedulerProfile
	client    kubernetes.Interface
	informers informers.SharedInformerFactory
}

func newUpstream(t testing.TB) *upstream {
	t.Helper()
	metrics.Register()
	fts := feature.NewSchedulerFeaturesFromGates(utilfeature.DefaultFeatureGate)
	u := &upstream{registry: frameworkruntime.Registry{
		queuesort.Name:                       queuesort.New,
		defaultbinder.Name:                   defaultbinder.New,
		nodename.Name:                        frameworkruntime.FactoryAdapter(fts, nodename.New),
		nodeunschedulable.Name:               frameworkruntime.FactoryAdapter(fts, nodeunschedulable.New),
		tainttoleration.Name:                 frameworkruntime.FactoryAdapter(fts, tainttoleration.New),
		nodeaffinity.Name:                    frameworkruntime.FactoryAdapter(fts, nodeaffinity.New),
		nodeports.Name:                       frameworkruntime.FactoryAdapter(fts, nodeports.New),
		noderesources.Name:                   frameworkruntime.FactoryAdapter(fts, noderesources.NewFit),
		noderesources.BalancedAllocationName: frameworkruntime.FactoryAdapter(fts, noderesources.NewBalancedAllocation),
		podtopologyspread.Name:               frameworkruntime.FactoryAdapter(fts, podtopologyspread.New),
		interpodaffinity.Name:                frameworkruntime.FactoryAdapter(fts, interpodaffinity.New),
		imagelocality.Name:                   imagelocality.New,
		nodedeclaredfeatures.Name:            frameworkruntime.FactoryAdapter(fts, nodedeclaredfeatures.New),
	}}
	u.client = fake.NewClientset()
	u.informers = informers.NewSharedInformerFactory(u.client, 0)
	for _, ns := range someNamespaces() {
		if err := u.informers.Core().V1().Namespaces().Informer().GetIndexer().Add(ns); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := latest.Default()
	if err != nil {
		t.Fatal(err)
	}
	u.profile = &cfg.Profiles[0]
	var kept []schedulerconfig.Plugin
	for _, p := range u.profile.Plugins.MultiPoint.Enabled {
		if _, ok := u.registry[p.Name]; ok {
			kept = append(kept, p)
		}
	}
	if len(kept) != len(u.registry) {
		t.Fatalf("the default profile has only %v", kept)
	}
	u.profile.Plugins = &schedulerconfig.Plugins{MultiPoint: schedulerconfig.PluginSet{Enabled: kept}}
	return u
}

// verdict is what upstream says about one pod.
type verdict struct {
	message  string            // of the FitError; empty when a node is feasible
	refusals map[string]string // node -> plugin and reasons
	totals   map[string]int64  // node -> weighted sum of scores
	scores   map[string]map[string]int64
}

func (u *upstream) schedule(ctx context.Context, nodes []*corev1.Node, placed []*corev1.Pod, pod *corev1.Pod) (*verdict, error) {
	// A framework records its metrics in the background until its context ends.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	snapshot := cache.NewSnapshot(placed, nodes)
	f, err := frameworkruntime.NewFramework(ctx, u.registry, u.profile, frameworkruntime.WithSnapshotSharedLister(snapshot),
		frameworkruntime.WithInformerFactory(u.informers), frameworkruntime.WithClientSet(u.client))
	if err != nil {
		return nil, err
	}
	state := framework.NewCycleState()
	v := &verdict{refusals: map[string]string{}, totals: map[string]int64{}, scores: map[string]map[string]int64{}}
	diagnosis := framework.Diagnosis{NodeToStatus: framework.NewDefaultNodeToStatus()}
	fit := &framework.FitError{Pod: pod, NumAllNodes: len(nodes)}
	pre, status, by := f.RunPreFilterPlugins(ctx, state, pod)
	if !status.IsSuccess() {
		if !status.IsRejected() {
			return nil, status.AsError()
		}
		diagnosis.PreFilterMsg = status.Message()
		fit.Diagnosis = diagnosis
		v.message = fit.Error()
		return v, nil
	}
	if !pre.AllNodes() {
		diagnosis.NodeToStatus.SetAbsentNodesStatus(fwk.NewStatus(fwk.UnschedulableAndUnresolvable, fmt.Sprintf("node(s) didn't satisfy plugin(s) %v", by.UnsortedList())))
	}
	var feasible []fwk.NodeInfo
	for _, n := range nodes {
		if !pre.AllNodes() && !pre.NodeNames.Has(n.Name) {
			v.refusals[n.Name] = "not a candidate"
			continue
		}
		info, err := snapshot.Get(n.Name)
		if err != nil {
			return nil, err
		}
		switch status := f.RunFilterPlugins(ctx, state, pod, info); {
		case status.IsSuccess():
			feasible = append(feasible, info)
		case status.IsRejected():
			v.refusals[n.Name] = fmt.Sprintf("%s: %q, code %v", status.Plugin(), sorted(status.Reasons()), status.Code())
			diagnosis.NodeToStatus.Set(n.Name, status)
		default:
			return nil, status.AsError()
		}
	}
	if len(feasible) == 0 {
		fit.Diagnosis = diagnosis
		v.message = fit.Error()
		return v, nil
	}
	if status := f.RunPreScorePlugins(ctx, state, pod, feasible); !status.IsSuccess() {
		return nil, status.AsError()
	}
	scores, status := f.RunScorePlugins(ctx, state, pod, feasible)
	if !status.IsSuccess() {
		return nil, status.AsError()
	}
	for _, s := range scores {
		v.totals[s.Name] = s.TotalScore
		v.scores[s.Name] = map[string]int64{}
		for _, p := range s.Scores {
			v.scores[s.Name][p.Name] = p.Score
		}
	}
	return v, nil
}

// sorted: upstream tells extended resources in the order of a map.
func sorted(reasons []string) []string { return slices.Sorted(slices.Values(reasons)) }

func someNamespaces() []*corev1.Namespace {
	return []*corev1.Namespace{
		{ObjectMeta: metav1.ObjectMeta{Name: "default"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "prod", Labels: map[string]string{"team": "x"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "test", Labels: map[string]string{"team": "y"}}},
	}
}
