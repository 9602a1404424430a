package apiserver_test

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store/raft"
)

func benchPods(b *testing.B, n int) client.Typed[*corev1.Pod] {
	pods := client.For[*corev1.Pod](newServer(b).Client(admin))
	for i := range n {
		p := testPod(fmt.Sprintf("pod-%06d", i))
		p.Labels["part"] = fmt.Sprint(i % 100)
		if _, err := pods.Create(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	return pods
}

func BenchmarkCreate(b *testing.B) {
	pods := benchPods(b, 0)
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := pods.Create(b.Context(), testPod(fmt.Sprintf("pod-%d", n.Add(1)))); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkCreateDurable makes pods from 64 goroutines in a store on disk.
func BenchmarkCreateDurable(b *testing.B) {
	node, err := raft.Open(raft.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = node.Close() })
	pods := client.For[*corev1.Pod](newServer(b, func(c *apiserver.Config) { c.Store = node.Store() }).Client(admin))
	b.ReportAllocs()
	b.SetParallelism(32)
	var n atomic.Int64
	used := processorTime()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := pods.Create(b.Context(), testPod(fmt.Sprintf("pod-%d", n.Add(1)))); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
	reportProcessor(b, used)
}

// BenchmarkCreateDurableBatched is BenchmarkCreateDurable by client.Batcher, 64 pods at once from each processor.
func BenchmarkCreateDurableBatched(b *testing.B) {
	node, err := raft.Open(raft.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = node.Close() })
	c := newServer(b, func(c *apiserver.Config) { c.Store = node.Store() }).Client(admin)
	ref := client.For[*corev1.Pod](c).Ref("default", "")
	b.ReportAllocs()
	var n atomic.Int64
	used := processorTime()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for more := true; more; {
			var series [][]client.Write
			for len(series) < 64 && more {
				if more = pb.Next(); more {
					series = append(series, []client.Write{{Ref: ref, Create: testPod(fmt.Sprintf("pod-%d", n.Add(1)))}})
				}
			}
			if err := cmp.Or(c.(client.Batcher).Batch(b.Context(), series)...); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
	reportProcessor(b, used)
}

func BenchmarkGet(b *testing.B) {
	pods := benchPods(b, 1000)
	benchGets(b, pods.Get)
}

func BenchmarkGetShared(b *testing.B) {
	pods := benchPods(b, 1000)
	benchGets(b, pods.GetShared)
}

func benchGets(b *testing.B, get func(ctx context.Context, namespace, name string) (*corev1.Pod, error)) {
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("pod-%06d", i)
	}
	used := processorTime()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := get(b.Context(), "default", names[i%len(names)]); err != nil {
				b.Error(err)
			}
		}
	})
	reportProcessor(b, used)
}

func BenchmarkPatch(b *testing.B) {
	pods := benchPods(b, 1000)
	used := processorTime()
	defer func() { reportProcessor(b, used) }()
	for i := 0; b.Loop(); i++ {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"n":"%d"}}}`, i)
		if _, err := pods.Patch(b.Context(), "default", fmt.Sprintf("pod-%06d", i%1000), types.MergePatchType, patch, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUpdateStatus(b *testing.B) {
	pods := benchPods(b, 1)
	p, err := pods.Get(b.Context(), "default", "pod-000000")
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		p.Status.Message = fmt.Sprint(i)
		if p, err = pods.UpdateStatus(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList(b *testing.B) {
	for _, opts := range []metav1.ListOptions{{}, {LabelSelector: "part=7"}, {FieldSelector: "spec.nodeName=x"}, {Limit: 500}} {
		b.Run(fmt.Sprintf("label=%s,field=%s,limit=%d", opts.LabelSelector, opts.FieldSelector, opts.Limit), func(b *testing.B) {
			pods := benchPods(b, 5000)
			for b.Loop() {
				if _, err := pods.List(b.Context(), "", opts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWatch measures what one change costs with many watchers in process.
func BenchmarkWatch(b *testing.B) {
	for _, watchers := range []int{1, 100} {
		b.Run(fmt.Sprint(watchers), func(b *testing.B) {
			pods := benchPods(b, 1)
			p, err := pods.Get(b.Context(), "default", "pod-000000")
			if err != nil {
				b.Fatal(err)
			}
			done := make(chan struct{}, watchers)
			for range watchers {
				w, err := pods.Watch(b.Context(), "", metav1.ListOptions{ResourceVersion: p.ResourceVersion})
				if err != nil {
					b.Fatal(err)
				}
				defer w.Stop()
				go func() {
					for range w.ResultChan() {
						done <- struct{}{}
					}
				}()
			}
			for i := 0; b.Loop(); i++ {
				p.Status.Message = fmt.Sprint(i)
				if p, err = pods.UpdateStatus(b.Context(), p); err != nil {
					b.Fatal(err)
				}
				for range watchers {
					<-done
				}
			}
			b.ReportMetric(float64(watchers*b.N)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

// processorTime is what the process has used so far; other work on the machine does not count.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportProcessor reports the processor time of an operation since used.
func reportProcessor(b *testing.B, used time.Duration) {
	b.ReportMetric(float64(processorTime()-used)/float64(b.N), "cpu-ns/op")
}
