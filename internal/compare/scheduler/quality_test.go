package scheduler_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodevolumelimits"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"

	"github.com/inboard/inboard/scheduler"
)

var qualityNodes = flag.Int("quality-nodes", 200, "nodes of TestQualityUnderSampling")

// TestQualityUnderSampling fills a cluster of unequal nodes with unequal pods, by our scheduler with sampling and
// without, and by upstream's framework with its own sampling. Quality is how evenly the nodes end up used: the
// standard deviation, in percent points, of the used share of their scarcer resource; how many pods found no
// node; and how far the chosen nodes were behind the best of the whole cluster.
func TestQualityUnderSampling(t *testing.T) {
	w := newWorkload(*qualityNodes)
	sampled := w.ours(t, 0)
	all := w.ours(t, 100)
	theirs := w.upstreams(t)
	t.Logf("%d nodes, %d pods\nours, sampled:   %v\nours, all nodes: %v\nupstream:        %v", len(w.nodes), len(w.pods), sampled, all, theirs)
	if sampled.deviation > theirs.deviation*1.15+0.2 {
		t.Errorf("the nodes are used less evenly than by upstream")
	}
	if sampled.refused > theirs.refused+len(w.pods)/500 {
		t.Errorf("more pods are refused than by upstream")
	}
}

// quality is how evenly nodes are used.
type quality struct {
	mean, deviation, least, most float64 // percent
	refused                      int
	// regret is by how many points, of the 200 and more that a node can get, the chosen nodes were
	// behind the best node of the whole cluster, on average.
	regret float64
}

func (q quality) String() string {
	out := fmt.Sprintf("%.1f %% used, deviation %.2f, from %.1f to %.1f, %d pods refused", q.mean, q.deviation, q.least, q.most, q.refused)
	if math.IsNaN(q.regret) {
		return out
	}
	return out + fmt.Sprintf(", %.2f points behind the best node", q.regret)
}

type workload struct {
	nodes []*corev1.Node
	pods  []*corev1.Pod
}

func amounts(cpu, memory int64) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU: *resource.NewMilliQuantity(cpu, resource.DecimalSI), corev1.ResourceMemory: *resource.NewQuantity(memory<<20, resource.BinarySI),
	}
}

// newWorkload asks for about 85 % of what there is.
func newWorkload(nodes int) *workload {
	g := gen{rand.New(rand.NewPCG(42, uint64(nodes)))}
	w := &workload{}
	total := int64(0)
	for i := range nodes {
		cores := pick(g, int64(8), 16, 16, 32)
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", i), Labels: map[string]string{corev1.LabelHostname: fmt.Sprintf("node-%d", i)}}}
		n.Status.Allocatable = amounts(cores*1000, cores*4096)
		n.Status.Allocatable[corev1.ResourcePods] = resource.MustParse("110")
		total += cores * 1000
		w.nodes = append(w.nodes, n)
	}
	for asked := int64(0); asked < total*85/100; {
		cpu, memory := pick(g, int64(100), 250, 500, 1000, 2000, 4000), pick(g, int64(128), 512, 1024, 4096, 8192)
		asked += max(cpu, memory/4)
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("pod-%d", len(w.pods)), UID: types.UID(fmt.Sprint(len(w.pods)))}}
		p.Spec.Containers = []corev1.Container{{Name: "c", Image: "i", Resources: corev1.ResourceRequirements{Requests: amounts(cpu, memory)}}}
		w.pods = append(w.pods, p)
	}
	return w
}

func (w *workload) judge(placed map[string]string) quality {
	cpu, memory := map[string]int64{}, map[string]int64{}
	for _, p := range w.pods {
		r := p.Spec.Containers[0].Resources.Requests
		cpu[placed[p.Name]] += r.Cpu().MilliValue()
		memory[placed[p.Name]] += r.Memory().Value()
	}
	q := quality{refused: len(w.pods) - len(placed), least: 100}
	var sum, squares float64
	for _, n := range w.nodes {
		used := 100 * max(float64(cpu[n.Name])/float64(n.Status.Allocatable.Cpu().MilliValue()), float64(memory[n.Name])/float64(n.Status.Allocatable.Memory().Value()))
		sum, squares = sum+used, squares+used*used
		q.least, q.most = min(q.least, used), max(q.most, used)
	}
	q.mean = sum / float64(len(w.nodes))
	q.deviation = math.Sqrt(squares/float64(len(w.nodes)) - q.mean*q.mean)
	return q
}

func (w *workload) ours(t *testing.T, percentage int) quality {
	profile := func(percentage int) *scheduler.Profile {
		p, err := scheduler.NewProfile(scheduler.ProfileConfig{PercentageOfNodesToScore: percentage})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p, all := profile(percentage), profile(100)
	random := rand.New(rand.NewPCG(1, 1))
	s, placed, behind := scheduler.NewSnapshot(w.nodes, nil), map[string]string{}, int64(0)
	for _, pod := range w.pods {
		a, err := p.Schedule(s, pod, random)
		if err != nil {
			continue
		}
		best, err := all.Schedule(s, pod, nil)
		if err != nil {
			t.Fatal(err)
		}
		behind += best.Score - a.Score
		placed[pod.Name] = a.Node
		s = s.AddPod(pod, a.Node)
	}
	q := w.judge(placed)
	q.regret = float64(behind) / float64(len(placed))
	return q
}

// upstreams goes through nodes as upstream's findNodesThatPassFilters does: from where it ended last, until enough
// were found.
func (w *workload) upstreams(t *testing.T) quality {
	u := newUpstream(t)
	snapshot := cache.NewSnapshot(nil, w.nodes)
	informers, err := u.informersOf(w.nodes, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := frameworkruntime.NewFramework(t.Context(), u.registry, u.profile, frameworkruntime.WithSnapshotSharedLister(snapshot),
		frameworkruntime.WithInformerFactory(informers), frameworkruntime.WithClientSet(u.client),
		frameworkruntime.WithSharedCSIManager(nodevolumelimits.NewCSIManager(informers.Storage().V1().CSINodes().Lister())))
	if err != nil {
		t.Fatal(err)
	}
	g := gen{rand.New(rand.NewPCG(1, 1))}
	placed, start := map[string]string{}, 0
	infos, err := snapshot.NodeInfos().List()
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range w.pods {
		best, seen, err := place(t.Context(), g, f, infos, start, pod)
		if err != nil {
			t.Fatal(err)
		}
		start = (start + seen) % len(infos)
		if best == nil {
			continue
		}
		placed[pod.Name] = best.Node().Name
		bound := pod.DeepCopy()
		bound.Spec.NodeName = best.Node().Name
		info, err := framework.NewPodInfo(bound)
		if err != nil {
			t.Fatal(err)
		}
		best.AddPodInfo(info)
	}
	q := w.judge(placed)
	q.regret = math.NaN() // it is not measured
	return q
}

func place(ctx context.Context, g gen, f framework.Framework, infos []fwk.NodeInfo, start int, pod *corev1.Pod) (best fwk.NodeInfo, seen int, _ error) {
	state := framework.NewCycleState()
	if _, status, _ := f.RunPreFilterPlugins(ctx, state, pod); !status.IsSuccess() {
		return nil, 0, status.AsError()
	}
	enough := len(infos)
	if enough >= 100 {
		enough = max(enough*max(50-enough/125, 5)/100, 100)
	}
	var feasible []fwk.NodeInfo
	for seen < len(infos) && len(feasible) < enough {
		n := infos[(start+seen)%len(infos)]
		seen++
		if f.RunFilterPlugins(ctx, state, pod, n).IsSuccess() {
			feasible = append(feasible, n)
		}
	}
	if len(feasible) == 0 {
		return nil, seen, nil
	}
	if status := f.RunPreScorePlugins(ctx, state, pod, feasible); !status.IsSuccess() {
		return nil, seen, status.AsError()
	}
	scores, status := f.RunScorePlugins(ctx, state, pod, feasible)
	if !status.IsSuccess() {
		return nil, seen, status.AsError()
	}
	ties, most := 0, int64(-1)
	for i := range scores {
		switch {
		case scores[i].TotalScore > most:
			ties, most, best = 1, scores[i].TotalScore, feasible[i]
		case scores[i].TotalScore == most:
			if ties++; g.IntN(ties) == 0 {
				best = feasible[i]
			}
		}
	}
	return best, seen, nil
}
