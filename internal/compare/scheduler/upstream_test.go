package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/features"
	schedulerconfig "k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
	"k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/defaultbinder"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/gangscheduling"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/imagelocality"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/interpodaffinity"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodeaffinity"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodedeclaredfeatures"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodename"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodeports"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/noderesources"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodeunschedulable"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodevolumelimits"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/podtopologyspread"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/queuesort"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/tainttoleration"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/volumebinding"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/volumerestrictions"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/volumezone"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/metrics"

	"github.com/inboard/inboard/apiserver/client"
)

// upstream is kube-scheduler's framework with the plugins that both have, and its default settings.
type upstream struct {
	registry frameworkruntime.Registry
	profile  *schedulerconfig.KubeSchedulerProfile
	client   *fake.Clientset
	// written are the objects that plugins have sent to the API server since they were last looked at.
	written []client.Object
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
		volumerestrictions.Name:              frameworkruntime.FactoryAdapter(fts, volumerestrictions.New),
		nodevolumelimits.CSIName:             frameworkruntime.FactoryAdapter(fts, nodevolumelimits.NewCSI),
		volumebinding.Name:                   frameworkruntime.FactoryAdapter(fts, volumebinding.New),
		volumezone.Name:                      frameworkruntime.FactoryAdapter(fts, volumezone.New),
	}}
	if utilfeature.DefaultFeatureGate.Enabled(features.GenericWorkload) {
		u.registry[gangscheduling.Name] = frameworkruntime.FactoryAdapter(fts, gangscheduling.New)
	}
	u.client = fake.NewClientset()
	u.client.PrependReactor("update", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		obj := a.(clienttesting.UpdateAction).GetObject()
		u.written = append(u.written, obj.(client.Object))
		return true, obj, nil
	})
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
	for i := range u.profile.PluginConfig {
		if args, ok := u.profile.PluginConfig[i].Args.(*schedulerconfig.VolumeBindingArgs); ok {
			args.BindTimeoutSeconds = 0 // it writes, and does not wait
		}
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
	failure  string // of a plugin that could not decide
	refused  string // the plugin that refused all nodes at once, reasons and code
	// write reserves and writes what the pod needs on a node, and returns what was written.
	write func(node string) ([]client.Object, error)
}

func (u *upstream) schedule(ctx context.Context, nodes []*corev1.Node, placed []*corev1.Pod, pod *corev1.Pod, others []client.Object) (*verdict, error) {
	informers, err := u.informersOf(nodes, placed, others)
	if err != nil {
		return nil, err
	}
	snapshot := cache.NewSnapshot(placed, nodes)
	f, err := frameworkruntime.NewFramework(ctx, u.registry, u.profile, frameworkruntime.WithSnapshotSharedLister(snapshot),
		frameworkruntime.WithInformerFactory(informers), frameworkruntime.WithClientSet(u.client),
		frameworkruntime.WithSharedCSIManager(nodevolumelimits.NewCSIManager(informers.Storage().V1().CSINodes().Lister())))
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
			v.failure = status.AsError().Error()
			return v, nil
		}
		if status.Plugin() != "" {
			v.refused = said(status)
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
			v.refusals[n.Name] = said(status)
			diagnosis.NodeToStatus.Set(n.Name, status)
		default:
			v.failure = status.AsError().Error()
			return v, nil
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
	v.write = func(node string) ([]client.Object, error) { return u.write(ctx, f, state, pod, node) }
	return v, nil
}

// write lets the plugins reserve and write; that they don't wait for an answer is no failure here.
func (u *upstream) write(ctx context.Context, f framework.Framework, state fwk.CycleState, pod *corev1.Pod, node string) ([]client.Object, error) {
	u.written = nil
	ctx = klog.NewContext(ctx, klog.Logger{}) // which would tell of the wait
	if status := f.RunReservePluginsReserve(ctx, state, pod, node); !status.IsSuccess() {
		return nil, status.AsError()
	}
	if status := f.RunPreBindPreFlights(ctx, state, pod, node); !status.IsSuccess() {
		if status.IsSkip() {
			return nil, nil
		}
		return nil, status.AsError()
	}
	if err := f.RunPreBindPlugins(ctx, state, pod, node).AsError(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	return u.written, nil
}

// informersOf returns informers that know the objects, without a server.
func (u *upstream) informersOf(nodes []*corev1.Node, placed []*corev1.Pod, others []client.Object) (informers.SharedInformerFactory, error) {
	f := informers.NewSharedInformerFactory(u.client, 0)
	core, apps, storage := f.Core().V1(), f.Apps().V1(), f.Storage().V1()
	indexers := map[reflect.Type]toolscache.Indexer{
		reflect.TypeFor[*corev1.Namespace]():             core.Namespaces().Informer().GetIndexer(),
		reflect.TypeFor[*corev1.Node]():                  core.Nodes().Informer().GetIndexer(),
		reflect.TypeFor[*corev1.Pod]():                   core.Pods().Informer().GetIndexer(),
		reflect.TypeFor[*corev1.PersistentVolume]():      core.PersistentVolumes().Informer().GetIndexer(),
		reflect.TypeFor[*corev1.PersistentVolumeClaim](): core.PersistentVolumeClaims().Informer().GetIndexer(),
		reflect.TypeFor[*corev1.Service]():               core.Services().Informer().GetIndexer(),
		reflect.TypeFor[*corev1.ReplicationController](): core.ReplicationControllers().Informer().GetIndexer(),
		reflect.TypeFor[*appsv1.ReplicaSet]():            apps.ReplicaSets().Informer().GetIndexer(),
		reflect.TypeFor[*appsv1.StatefulSet]():           apps.StatefulSets().Informer().GetIndexer(),
		reflect.TypeFor[*storagev1.StorageClass]():       storage.StorageClasses().Informer().GetIndexer(),
		reflect.TypeFor[*storagev1.CSINode]():            storage.CSINodes().Informer().GetIndexer(),
		reflect.TypeFor[*storagev1.CSIDriver]():          storage.CSIDrivers().Informer().GetIndexer(),
		reflect.TypeFor[*storagev1.CSIStorageCapacity](): storage.CSIStorageCapacities().Informer().GetIndexer(),
		reflect.TypeFor[*storagev1.VolumeAttachment]():   storage.VolumeAttachments().Informer().GetIndexer(),
	}
	all := slices.Clone(others)
	for _, ns := range someNamespaces() {
		all = append(all, ns)
	}
	for _, n := range nodes {
		all = append(all, n)
	}
	for _, p := range placed {
		all = append(all, p)
	}
	// The indexers of plugins come later, and then index what is there.
	for _, obj := range all {
		if err := indexers[reflect.TypeOf(obj)].Add(obj); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// said writes down a refusal.
func said(s *fwk.Status) string {
	return fmt.Sprintf("%s: %q, code %v", s.Plugin(), sorted(s.Reasons()), s.Code())
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
