package apiserver_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
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

func BenchmarkGet(b *testing.B) {
	pods := benchPods(b, 1000)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := pods.Get(b.Context(), "default", fmt.Sprintf("pod-%06d", i%1000)); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkPatch(b *testing.B) {
	pods := benchPods(b, 1000)
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
