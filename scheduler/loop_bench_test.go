package scheduler_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/scheduler"
	"github.com/inboard/inboard/store/raft"
)

// BenchmarkCreatedToBound is the time from the request that creates a pod to the watch event that tells
// its node, one pod at a time, against an API server in the same process, its store in memory.
func BenchmarkCreatedToBound(b *testing.B) {
	c := newCluster(b)
	for _, name := range podNames("node", 10) {
		c.addNode(name, "100k")
	}
	c.start(scheduler.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w, err := client.For[*corev1.Pod](c.c).Watch(ctx, "default", metav1.ListOptions{})
	check(b, err)
	defer w.Stop()
	i := 0
	for b.Loop() {
		p := newPod(fmt.Sprintf("pod-%d", i), "1m")
		p.Spec.Containers[0].Resources.Requests[corev1.ResourceMemory] = resource.MustParse("1")
		c.addPod(p)
		for ev := range w.ResultChan() {
			if got := ev.Object.(*corev1.Pod); got.Name == p.Name && got.Spec.NodeName != "" {
				break
			}
		}
		c.deletePod(p.Name)
		i++
	}
}

// backlogs are the workloads of BenchmarkBacklog. Pods are of 100 applications.
var backlogs = []struct {
	name        string
	nodes, pods int
	change      func(*corev1.Pod)
}{
	{"basic", 1000, 10000, func(*corev1.Pod) {}},
	{"basic", 5000, 50000, func(*corev1.Pod) {}},
	{"spread", 5000, 10000, func(p *corev1.Pod) {
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: corev1.LabelTopologyZone,
			WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: &metav1.LabelSelector{MatchLabels: p.Labels}}}
	}},
	{"affinity", 5000, 10000, func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
			{TopologyKey: corev1.LabelTopologyZone, LabelSelector: &metav1.LabelSelector{MatchLabels: p.Labels}}}}}
	}},
	{"antiaffinity", 5000, 10000, func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
			{TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: p.Labels}}}}}
	}},
}

// BenchmarkBacklog binds pods that wait when the scheduler starts: API server, scheduler and a durable
// store in one process.
func BenchmarkBacklog(b *testing.B) {
	for _, w := range backlogs {
		b.Run(fmt.Sprintf("%s/nodes=%d", w.name, w.nodes), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				c := newDurableCluster(b)
				parallel(w.nodes, func(i int) { c.addNodeInZone(fmt.Sprintf("node-%d", i), "32", fmt.Sprintf("zone-%d", i%3)) })
				parallel(w.pods, func(i int) {
					p := newPod(fmt.Sprintf("pod-%d", i), "100m")
					p.Labels = map[string]string{"app": fmt.Sprintf("app-%d", i%100)}
					w.change(p)
					c.addPod(p)
				})
				b.StartTimer()
				perSecond, cpu := c.drain(w.pods)
				b.ReportMetric(perSecond, "pods/s")
				b.ReportMetric(float64(cpu.Microseconds())/float64(w.pods), "cpu-µs/pod")
			}
		})
	}
}

// BenchmarkPreemption binds pods that wait when the scheduler starts in a cluster that is full: each evicts three of
// the four less important pods of a node.
func BenchmarkPreemption(b *testing.B) {
	for _, nodes := range []int{1000, 5000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				c := newDurableCluster(b)
				c.addClasses()
				pods := nodes / 2
				fill(c, nodes)
				parallel(pods, func(i int) { c.addPod(classPod(fmt.Sprintf("high-%d", i), "high", "3")) })
				b.StartTimer()
				rate, cpu := c.drainNamed("high", pods)
				b.ReportMetric(rate, "pods/s")
				b.ReportMetric(float64(cpu.Microseconds())/float64(pods), "cpu-µs/pod")
			}
		})
	}
}

// BenchmarkAmidPreemption is PreemptionAsync of Kubernetes' scheduler_perf: pods that fit wait when the scheduler starts
// in a cluster that is else full, and five times a second comes one that evicts all others from a node.
func BenchmarkAmidPreemption(b *testing.B) {
	const nodes, pods = 5000, 5000
	for b.Loop() {
		b.StopTimer()
		c := newDurableCluster(b)
		c.addClasses()
		fill(c, nodes)
		parallel(pods, func(i int) { c.addPod(classPod(fmt.Sprintf("small-%d", i), "low", "100m")) })
		b.StartTimer()
		stop, stopped := make(chan struct{}), make(chan int)
		go func() {
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-stop:
					stopped <- i
					return
				case <-tick.C:
					c.addPod(classPod(fmt.Sprintf("high-%d", i), "high", "3970m"))
				}
			}
		}()
		rate, cpu := c.drainNamed("small", pods)
		close(stop)
		b.ReportMetric(float64(<-stopped), "preemptors")
		b.ReportMetric(rate, "pods/s")
		b.ReportMetric(float64(cpu.Microseconds())/pods, "cpu-µs/pod")
	}
}

// fill adds nodes of four CPUs, each with four less important pods that leave 400m of them.
func fill(c *cluster, nodes int) {
	parallel(nodes, func(i int) {
		c.addNode(fmt.Sprintf("node-%d", i), "4")
		for j := range 4 {
			p := classPod(fmt.Sprintf("low-%d-%d", i, j), "low", "900m")
			p.Spec.NodeName, p.Spec.TerminationGracePeriodSeconds = fmt.Sprintf("node-%d", i), new(int64)
			c.addPod(p)
		}
	})
}

// newDurableCluster is newCluster over a store that writes to disk.
func newDurableCluster(b *testing.B) *cluster {
	node, err := raft.Open(raft.Config{Dir: b.TempDir()})
	check(b, err)
	b.Cleanup(func() { check(b, node.Close()) })
	s := apitest.Open(b, func(cfg *apiserver.Config) { cfg.Store = node.Store() })
	return &cluster{t: b, c: s.Admin()}
}

// parallel calls f for each number below n, many at once, so that they share the store's commits.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range 64 {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// drain starts a scheduler, waits until all pods are bound and returns how many a second were, and the processor
// time that the whole program took. To read what is there counts.
func (c *cluster) drain(pods int) (float64, time.Duration) { return c.drainNamed("", pods) }

// drainNamed is drain for the pods whose names begin with the prefix.
func (c *cluster) drainNamed(prefix string, pods int) (float64, time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l, err := client.For[*corev1.Pod](c.c).List(ctx, "", metav1.ListOptions{Limit: 1})
	check(c.t, err)
	w, err := client.For[*corev1.Pod](c.c).Watch(ctx, "default", metav1.ListOptions{ResourceVersion: l.ResourceVersion})
	check(c.t, err)
	defer w.Stop()
	began, used := time.Now(), scheduler.ProcessorTime()
	stop := c.start(scheduler.Config{})
	bound := map[string]bool{}
	for ev := range w.ResultChan() {
		if p := ev.Object.(*corev1.Pod); p.Spec.NodeName != "" && strings.HasPrefix(p.Name, prefix) {
			if bound[p.Name] = true; len(bound) == pods {
				break
			}
		}
	}
	took, cpu := time.Since(began), scheduler.ProcessorTime()-used
	stop()
	if len(bound) != pods {
		c.t.Errorf("the watch ended with %d of %d pods bound", len(bound), pods)
	}
	return float64(pods) / took.Seconds(), cpu
}
