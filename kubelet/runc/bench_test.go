package runc_test

import (
	"context"
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
