package runc_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/runc"
)

// BenchmarkStart measures what a pod costs from nothing to a running container.
func BenchmarkStart(b *testing.B) {
	r := open(b, runc.Config{})
	ctx := context.Background()
	b.Run("sandbox", func(b *testing.B) {
		for b.Loop() {
			sb := runSandbox(b, r, nil)
			b.StopTimer()
			if err := r.RemoveSandbox(ctx, sb.ID); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("container", func(b *testing.B) {
		sb := runSandbox(b, r, nil)
		for b.Loop() {
			id := start(b, r, sb, nil, "wait")
			b.StopTimer()
			if err := r.RemoveContainer(ctx, id); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("create", func(b *testing.B) {
		sb := runSandbox(b, r, nil)
		for b.Loop() {
			id, err := r.CreateContainer(ctx, sb.ID, kubelet.ContainerConfig{Name: "main", Image: appImage})
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := r.RemoveContainer(ctx, id); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("removal", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			sb := runSandbox(b, r, nil)
			start(b, r, sb, nil, "wait")
			b.StartTimer()
			if err := r.RemoveSandbox(ctx, sb.ID); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("exec", func(b *testing.B) {
		sb := runSandbox(b, r, nil)
		id := start(b, r, sb, nil, "wait")
		for b.Loop() {
			if _, err := r.Exec(ctx, id, []string{appPath, "exit", "0"}, nil, nil, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkMemory measures what a running container costs the program: the container's own
// processes are not counted.
func BenchmarkMemory(b *testing.B) {
	r := open(b, runc.Config{})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	const containers = 20
	for b.Loop() {
		before := heap()
		sb := runSandbox(b, r, nil)
		for range containers {
			start(b, r, sb, nil, "wait")
		}
		b.ReportMetric(float64(heap()-before)/containers/1024, "KiB/container")
		if err := r.RemoveSandbox(context.Background(), sb.ID); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen measures an empty runtime's whole life.
func BenchmarkOpen(b *testing.B) {
	needRoot(b)
	dir := b.TempDir()
	for b.Loop() {
		r, err := runc.Open(runc.Config{Dir: dir, CgroupParent: cgroupParent()})
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
