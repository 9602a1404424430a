//go:build linux

package process_test

import (
	"context"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.uber.org/goleak"

	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/kubelettest"
	"github.com/inboard/inboard/kubelet/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRuntime(t *testing.T) {
	kubelettest.Run(t, kubelettest.Config{
		Open: func(t testing.TB, dir string) kubelet.Runtime {
			rt, err := process.Open(process.Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			return rt
		},
		Add: func(ctx context.Context, rt kubelet.Runtime, ref string, img v1.Image) error {
			_, err := rt.(*process.Runtime).ImageStore().Add(ctx, ref, img)
			return err
		},
	})
}
