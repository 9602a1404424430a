package scheduler_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/scheduler"
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

// BenchmarkBacklog binds 2,000 pods that wait when the scheduler starts, on 1,000 nodes.
func BenchmarkBacklog(b *testing.B) {
	const pods = 2000
	for b.Loop() {
		b.StopTimer()
		c := newCluster(b)
		for _, name := range podNames("node", 1000) {
			c.addNode(name, "32")
		}
		for _, name := range podNames("pod", pods) {
			c.addPod(newPod(name, "100m"))
		}
		ctx, cancel := context.WithCancel(context.Background())
		w, err := client.For[*corev1.Pod](c.c).Watch(ctx, "default", metav1.ListOptions{ResourceVersion: latest(b, c)})
		check(b, err)
		b.StartTimer()
		began := time.Now()
		c.start(scheduler.Config{})
		bound := map[string]bool{}
		for ev := range w.ResultChan() {
			if p := ev.Object.(*corev1.Pod); p.Spec.NodeName != "" {
				if bound[p.Name] = true; len(bound) == pods {
					break
				}
			}
		}
		b.ReportMetric(pods/time.Since(began).Seconds(), "pods/s")
		w.Stop()
		cancel()
	}
}

func latest(b *testing.B, c *cluster) string {
	l, err := client.For[*corev1.Pod](c.c).List(context.Background(), "", metav1.ListOptions{Limit: 1})
	check(b, err)
	return l.ResourceVersion
}
