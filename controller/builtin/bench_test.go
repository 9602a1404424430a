package builtin_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver/client"
)

// BenchmarkScaleUp measures from the change of a Deployment's replicas to the last new pod's being
// there, with all built-in controllers in the process.
func BenchmarkScaleUp(b *testing.B) {
	w := newWorld(b, nil)
	w.create(deploymentOf("web", 3, "v1"))
	w.complete("web", 3)
	pods := client.For[*corev1.Pod](w.c)
	for b.Loop() {
		b.StopTimer()
		w.complete("web", 3)
		events, err := pods.Watch(w.ctx, "default", metav1.ListOptions{})
		if err != nil {
			b.Fatal(err)
		}
		for range 3 {
			<-events.ResultChan()
		}
		b.StartTimer()
		w.patch("web", `{"spec":{"replicas":5}}`)
		for n := 0; n < 2; {
			if e := <-events.ResultChan(); e.Type == watch.Added {
				n++
			}
		}
		b.StopTimer()
		events.Stop()
		w.complete("web", 5)
		w.patch("web", `{"spec":{"replicas":3}}`)
		w.complete("web", 3)
		for len(list[*corev1.Pod](w, "default")) > 3 {
			runtime.Gosched()
		}
		b.StartTimer()
	}
}

// BenchmarkRollout measures a rolling update of a hundred pods that are ready at once.
func BenchmarkRollout(b *testing.B) {
	w := newWorld(b, nil)
	w.create(deploymentOf("web", 100, "v0"))
	w.complete("web", 100)
	n := 0
	for b.Loop() {
		n++
		w.patch("web", fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"v%d"}]}}}}`, n))
		w.complete("web", 100)
	}
}

// BenchmarkIdle reports the processor time that controllers with a thousand pods at rest take in a
// second.
func BenchmarkIdle(b *testing.B) {
	w := newWorld(b, nil)
	w.create(deploymentOf("web", 1000, "v0"))
	w.complete("web", 1000)
	time.Sleep(time.Second)
	b.ResetTimer()
	before := cpuTime(b)
	for b.Loop() {
		time.Sleep(2 * time.Second)
	}
	b.ReportMetric((cpuTime(b)-before).Seconds()*1e6/b.Elapsed().Seconds(), "µs-cpu/s")
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/1e6, "MB-heap")
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
