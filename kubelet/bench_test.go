package kubelet_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/inboard/inboard/internal/apitest"
)

// BenchmarkPodReady measures the time from a pod's creation to its Ready condition, image present,
// process runtime, in-process API server.
func BenchmarkPodReady(b *testing.B) {
	n := startNode(b, apitest.Open(b).Admin(), nil)
	var took []time.Duration
	i := 0
	for b.Loop() {
		name := fmt.Sprint("p", i)
		i++
		began := time.Now()
		n.create(pod(name, "sleep"))
		n.await(name, "ready", ready)
		took = append(took, time.Since(began))
		n.delete(name)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
