package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/internal/nstest"
)

// bench is a cluster under measurement.
type bench struct {
	cmd        *exec.Cmd
	dir        string
	kubeconfig string
}

// startBench starts the cluster program and returns as soon as /readyz says ok.
func startBench(b *testing.B, bin string, args ...string) *bench {
	b.Helper()
	s := &bench{dir: openDir(b)}
	s.kubeconfig = filepath.Join(s.dir, "kubeconfig")
	args = append([]string{"-kubeconfig", s.kubeconfig, "-node-name", "node-a", "-demo=false"}, args...)
	s.cmd = exec.Command(filepath.Join(bin, "cluster"), args...)
	out, err := os.Create(filepath.Join(s.dir, "cluster.log"))
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, out, out
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	// Health is open to anyone, also without the authority's certificate at hand.
	hc := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if res, err := hc.Get("https://127.0.0.1:6443/readyz"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return s
			}
		}
		if time.Now().After(deadline) {
			b.Fatal("the cluster is not up:\n" + read(out.Name()))
		}
	}
}

// up waits until all components are.
func (s *bench) up(b *testing.B) {
	b.Helper()
	if err := eventually(func() error {
		if log := read(filepath.Join(s.dir, "cluster.log")); !strings.Contains(log, "Ctrl-C stops everything") {
			return fmt.Errorf("the cluster is not up:\n%s", log)
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
}

func (s *bench) stop(b *testing.B) {
	b.Helper()
	_ = s.cmd.Process.Signal(os.Interrupt)
	if err := s.cmd.Wait(); err != nil {
		b.Error(err, read(filepath.Join(s.dir, "cluster.log")))
	}
}

// BenchmarkReady is the time from the start of the process until /readyz answers ok.
func BenchmarkReady(b *testing.B) {
	nstest.Need(b)
	bin := build(b)
	state := openDir(b)
	for name, args := range map[string][]string{"memory": nil, "durable": {"-dir", filepath.Join(state, "state")}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s := startBench(b, bin, args...)
				b.StopTimer()
				s.up(b)
				s.stop(b)
				b.StartTimer()
			}
		})
	}
}

// BenchmarkIdle reports the resident memory of the program with all components, some seconds after its
// start. The time says nothing.
func BenchmarkIdle(b *testing.B) {
	nstest.Need(b)
	s := startBench(b, build(b))
	defer s.stop(b)
	s.up(b)
	time.Sleep(5 * time.Second)
	for b.Loop() {
		b.ReportMetric(resident(b, s.cmd.Process.Pid), "MB")
	}
}

func resident(b *testing.B, pid int) float64 {
	b.Helper()
	for l := range strings.Lines(read(fmt.Sprintf("/proc/%d/status", pid))) {
		if f := strings.Fields(l); len(f) == 3 && f[0] == "VmRSS:" {
			kb, err := strconv.Atoi(f[1])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kb) / 1000
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// BenchmarkPod is the time from the request that creates a pod, with the image present, until a watcher
// over HTTPS sees it Ready; and p50 and p90 of it.
func BenchmarkPod(b *testing.B) {
	nstest.Need(b)
	s := startBench(b, build(b), "-registry-mirror", "registry.test="+registry(b))
	defer s.stop(b)
	s.up(b)
	c, err := rest.New(rest.Config{Kubeconfig: s.kubeconfig})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	pods := client.For[*corev1.Pod](c)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	w, err := pods.Watch(ctx, "default", metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Stop()
	startPod(ctx, b, pods, w, "warm") // pulls the image
	var times []time.Duration
	for b.Loop() {
		begun := time.Now()
		name := fmt.Sprintf("pod-%d", len(times))
		startPod(ctx, b, pods, w, name)
		times = append(times, time.Since(begun))
		b.StopTimer()
		if err := pods.Delete(ctx, "default", name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(times[len(times)*9/10].Milliseconds()), "p90-ms")
}

func startPod(ctx context.Context, b *testing.B, pods client.Typed[*corev1.Pod], w watch.Interface, name string) {
	b.Helper()
	_, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "registry.test/test/web:v1"}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	for ev := range w.ResultChan() {
		p, ok := ev.Object.(*corev1.Pod)
		if !ok || p.Name != name {
			continue
		}
		for _, cond := range p.Status.Conditions {
			if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue {
				return
			}
		}
	}
	b.Fatal("the watch ended")
}
