package image

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"go.uber.org/goleak"

	"github.com/inboard/inboard/kubelet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// file is an entry of a test layer; a zero typeflag is a regular file.
type file struct {
	name, content, link string
	typeflag            byte
	mode                int64
	uid                 int
	major, minor        int64
	pax                 map[string]string
}

func makeTar(t testing.TB, files ...file) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{
			Name: f.name, Linkname: f.link, Typeflag: f.typeflag, Mode: f.mode, Uid: f.uid, Gid: f.uid,
			Devmajor: f.major, Devminor: f.minor, PAXRecords: f.pax, Size: int64(len(f.content)),
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
			if h.Typeflag == tar.TypeDir {
				h.Mode = 0o755
			}
		}
		if f.pax != nil {
			h.Format = tar.FormatPAX
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func makeLayer(t testing.TB, files ...file) v1.Layer {
	t.Helper()
	data := makeTar(t, files...)
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func makeImage(t testing.TB, cfg v1.Config, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.Config(img, cfg); err != nil {
		t.Fatal(err)
	}
	return img
}

// startRegistry serves images on loopback and returns its host:port.
func startRegistry(t testing.TB) string {
	t.Helper()
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func push(t testing.TB, host, repo string, img v1.Image) {
	t.Helper()
	ref, err := name.ParseReference(host+"/"+repo, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
}

func openStore(t testing.TB, cfg Config) *Store {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestPullThroughMirror(t *testing.T) {
	host := startRegistry(t)
	base := makeLayer(t, file{name: "etc/", typeflag: tar.TypeDir}, file{name: "etc/passwd", content: "root:x:0:0::/:/bin/sh\n"})
	top := makeLayer(t, file{name: "app", content: "#!", mode: 0o755})
	push(t, host, "library/web:latest", makeImage(t, v1.Config{Entrypoint: []string{"/app"}, User: "1000"}, base, top))
	s := openStore(t, Config{Mirrors: map[string]string{"docker.io": "http://" + host}})

	var last kubelet.PullProgress
	img, err := s.Pull(context.Background(), "web", kubelet.Auth{}, func(p kubelet.PullProgress) { last = p })
	if err != nil {
		t.Fatal(err)
	}
	if last.Phase != "done" || last.Total == 0 || last.Done != last.Total {
		t.Errorf("last progress = %+v", last)
	}
	if len(img.LayerDirs) != 2 || img.Names[0] != "docker.io/library/web:latest" || img.User != "1000" {
		t.Errorf("image = %+v", img)
	}
	if data, err := os.ReadFile(filepath.Join(img.LayerDirs[1], "app")); err != nil || string(data) != "#!" {
		t.Errorf("app = %q, %v", data, err)
	}
	again, err := s.Image("docker.io/library/web")
	if err != nil || again.ID != img.ID {
		t.Errorf("Image = %v, %v", again.ID, err)
	}
	if err := s.Remove(img.ID); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "layers", "*")); len(left) != 0 {
		t.Errorf("layers left after Remove: %v", left)
	}
}
