// Package kubelettest is the conformance suite of kubelet.Runtime, and makes the images that tests
// of pods run. It is for tests only.
package kubelettest

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// cell is the program of the test images, built once per test binary.
var cell = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "cell-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "cell")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "github.com/inboard/inboard/kubelet/kubelettest/cell")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, &buildError{err, out}
	}
	return os.ReadFile(bin)
})

type buildError struct {
	err error
	out []byte
}

func (e *buildError) Error() string {
	return "can't build the test image: " + e.err.Error() + "\n" + string(e.out)
}

// Image returns an image, made in memory, whose entrypoint is the program in folder cell beside
// this package; edit, which may be nil, changes the image's configuration. It has two layers and
// these files: /bin/cell, the link /cell to it, /etc/motd.
func Image(t testing.TB, edit func(*v1.Config)) v1.Image {
	t.Helper()
	prog, err := cell()
	if err != nil {
		t.Fatal(err)
	}
	cfg := v1.Config{Entrypoint: []string{"/bin/cell"}, Cmd: []string{"sleep"}, Env: []string{"PATH=/bin", "FROM_IMAGE=yes"}}
	if edit != nil {
		edit(&cfg)
	}
	base := layer(t, []tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "bin/cell", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(prog))},
		{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777},
	}, prog)
	top := layer(t, []tar.Header{
		{Name: "cell", Typeflag: tar.TypeSymlink, Linkname: "bin/cell", Mode: 0o777},
		{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "etc/motd", Typeflag: tar.TypeReg, Mode: 0o644, Size: 6},
	}, []byte("hello\n"))
	img, err := mutate.AppendLayers(empty.Image, base, top)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.Config(img, cfg); err != nil {
		t.Fatal(err)
	}
	return img
}

// layer returns a layer with the given entries; the one regular file has the given content.
func layer(t testing.TB, entries []tar.Header, content []byte) v1.Layer {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := range entries {
		if err := w.WriteHeader(&entries[i]); err != nil {
			t.Fatal(err)
		}
		if entries[i].Typeflag == tar.TypeReg {
			if _, err := w.Write(content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}
