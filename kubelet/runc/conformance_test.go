package runc_test

import (
	"context"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/kubelettest"
	"github.com/inboard/inboard/kubelet/runc"
)

func TestConformance(t *testing.T) {
	needRoot(t)
	kubelettest.Run(t, kubelettest.Config{
		Open: func(t testing.TB, dir string) kubelet.Runtime {
			r, err := runc.Open(runc.Config{Dir: dir, CgroupParent: cgroupParent(), Logger: testLogger(t)})
			if err != nil {
				t.Fatal(err)
			}
			return r
		},
		Add: func(ctx context.Context, rt kubelet.Runtime, ref string, img v1.Image) error {
			_, err := rt.(*runc.Runtime).ImageStore().Add(ctx, ref, img)
			return err
		},
	})
}
