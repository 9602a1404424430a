package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/inboard/inboard/kubelet"
)

// proxy stands before a registry and changes answers.
func proxy(t testing.TB, host string, change func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc)) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	next := func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+host+r.URL.RequestURI(), nil)
		if err != nil {
			return
		}
		req.Header = r.Header.Clone()
		resp, err := client.Do(req)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { change(w, r, next) }))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// TestPullErrors shows what a user reads in the pod's events.
func TestPullErrors(t *testing.T) {
	upstream := startRegistry(t)
	push(t, upstream, "app:v1", makeImage(t, v1.Config{}, makeLayer(t, file{name: "a", content: strings.Repeat("x", 10000)})))
	hang := func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	}
	isBlob := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/") }
	for _, tc := range []struct {
		name, ref string
		change    func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc)
		kind      error
		want      string
	}{
		{"no such tag", "HOST/app:v2", pass, kubelet.ErrImageNotFound, `failed to pull image "HOST/app:v2": HOST/app:v2: not found`},
		{"no such repository", "HOST/none", pass, kubelet.ErrImageNotFound, `failed to pull image "HOST/none": HOST/none:latest: not found`},
		{"credentials", "HOST/app:v1", func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, ErrUnauthorized, "pull access denied, repository does not exist or may require authorization: set imagePullSecrets (Unauthorized)"},
		{"hangs", "HOST/app:v1", func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) { hang(w, r) },
			ErrTimeout, `failed to pull image "HOST/app:v1": registry HOST did not answer within 300ms: check that it is up and reachable from this node`},
		{"hangs within a layer", "HOST/app:v1", func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
			if isBlob(r) {
				w.(http.Flusher).Flush()
				hang(w, r)
				return
			}
			next(w, r)
		}, ErrTimeout, "did not answer within 300ms"},
		{"wrong content", "HOST/app:v1", func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
			if isBlob(r) {
				fmt.Fprint(w, "not what you asked for")
				return
			}
			next(w, r)
		}, nil, "failed to pull image"},
		{"fails", "HOST/app:v1", func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) { w.WriteHeader(500) }, nil, "500 Internal Server Error"},
		{"limits", "HOST/app:v1", func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) { w.WriteHeader(429) }, nil, "429 Too Many Requests"},
		{"endless", "HOST/app:v1", func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
			if !strings.Contains(r.URL.Path, "/manifests/") {
				next(w, r)
				return
			}
			for blank := make([]byte, 64<<10); ; {
				if _, err := w.Write(blank); err != nil {
					return
				}
			}
		}, nil, "the manifest has more than 4 MiB"},
		{"no registry", "HOST/app:v1", func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) { fmt.Fprint(w, "<html>") }, nil, "failed to pull image"},
		{"invalid", "HOST/App:v1", pass, kubelet.ErrInvalidImageName, `invalid image name "HOST/App:v1": the repository must be lowercase`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host := proxy(t, upstream, tc.change)
			s := openStore(t, Config{ResponseTimeout: 300 * time.Millisecond})
			_, err := s.Pull(context.Background(), strings.ReplaceAll(tc.ref, "HOST", host), kubelet.Auth{}, nil)
			want := strings.ReplaceAll(tc.want, "HOST", host)
			if err == nil || !strings.Contains(err.Error(), want) || tc.kind != nil && !errors.Is(err, tc.kind) {
				t.Errorf("Pull: %v, want %q", err, want)
			}
			checkEmpty(t, s)
		})
	}
}

func pass(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) { next(w, r) }

// checkEmpty finds no image, no layer and no unfinished work.
func checkEmpty(t testing.TB, s *Store) {
	t.Helper()
	for _, d := range []string{"layers", "tmp", "images"} {
		if left, _ := os.ReadDir(filepath.Join(s.dir, d)); len(left) != 0 {
			t.Errorf("%s holds %v", d, left)
		}
	}
	if len(s.Images()) != 0 || len(s.refs) != 0 || len(s.flights) != 0 {
		t.Errorf("images %v, refs %v, flights %v", s.Images(), s.refs, s.flights)
	}
}

func TestUnreachable(t *testing.T) {
	srv := httptest.NewServer(nil)
	host := strings.TrimPrefix(srv.URL, "http://")
	srv.Close()
	s := openStore(t, Config{Mirrors: map[string]string{"docker.io": "http://" + host}})
	_, err := s.Pull(context.Background(), "nginx", kubelet.Auth{}, nil)
	if err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "docker.io/library/nginx:latest") {
		t.Errorf("Pull: %v", err)
	}
}

// lying is a layer whose configuration names another content.
func TestWrongDiffID(t *testing.T) {
	img := makeImage(t, v1.Config{}, makeLayer(t, file{name: "a"}))
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cfg = cfg.DeepCopy()
	cfg.RootFS.DiffIDs[0].Hex = strings.Repeat("0", 64)
	lie, err := mutate.ConfigFile(img, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := openStore(t, Config{})
	_, err = s.Add(context.Background(), "lie", lie)
	if err == nil || !strings.Contains(err.Error(), "the image's configuration says sha256:0000") {
		t.Errorf("Add: %v", err)
	}
	checkEmpty(t, s)
}

// TestLayersAreSharedAndMerged pulls images with a common layer at the same time: it is fetched
// once.
func TestLayersAreSharedAndMerged(t *testing.T) {
	upstream := startRegistry(t)
	common := makeLayer(t, file{name: "base", content: strings.Repeat("b", 1<<16)})
	digest, err := common.Digest()
	if err != nil {
		t.Fatal(err)
	}
	const images = 6
	for i := range images {
		push(t, upstream, fmt.Sprintf("img%d:v1", i), makeImage(t, v1.Config{}, common, makeLayer(t, file{name: fmt.Sprint("own", i)})))
	}
	var fetched atomic.Int32
	host := proxy(t, upstream, func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, digest.String()) {
			fetched.Add(1)
			time.Sleep(20 * time.Millisecond)
		}
		next(w, r)
	})
	s := openStore(t, Config{})
	var wg sync.WaitGroup
	for i := range images {
		wg.Go(func() {
			if _, err := s.Pull(context.Background(), fmt.Sprintf("%s/img%d:v1", host, i), kubelet.Auth{}, func(kubelet.PullProgress) {}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := fetched.Load(); n != 1 {
		t.Errorf("the common layer was fetched %d times", n)
	}
	if layers, _ := os.ReadDir(filepath.Join(s.dir, "layers")); len(layers) != images+1 {
		t.Errorf("%d layers, want %d", len(layers), images+1)
	}
	for i, img := range s.Images() {
		if err := s.Remove(img.ID); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(img.LayerDirs[0]); (err == nil) != (i < images-1) {
			t.Errorf("after the removal of %d images the common layer: %v", i+1, err)
		}
	}
	checkEmpty(t, s)
}

// TestCancelledPull leaves a layer to a pull that still wants it.
func TestCancelledPull(t *testing.T) {
	upstream := startRegistry(t)
	push(t, upstream, "app:v1", makeImage(t, v1.Config{}, makeLayer(t, file{name: "a", content: "x"})))
	entered, proceed := make(chan struct{}, 10), make(chan struct{})
	host := proxy(t, upstream, func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		if strings.Contains(r.URL.Path, "/blobs/") && strings.Contains(r.Header.Get("Accept"), "") && r.Method == http.MethodGet {
			entered <- struct{}{}
			select {
			case <-proceed:
			case <-r.Context().Done():
				return
			}
		}
		next(w, r)
	})
	s := openStore(t, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() {
		_, err := s.Pull(ctx, host+"/app:v1", kubelet.Auth{}, nil)
		done <- err
	}()
	<-entered
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Pull: %v", err)
	}
	close(proceed)
	if _, err := s.Pull(context.Background(), host+"/app:v1", kubelet.Auth{}, nil); err != nil {
		t.Errorf("Pull after a cancelled one: %v", err)
	}
}

// TestRestart reopens a directory after a crash in the midst of everything.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Config{Dir: dir})
	ctx := context.Background()
	img, err := s.Add(ctx, "keep", makeImage(t, v1.Config{Cmd: []string{"x"}}, makeLayer(t, file{name: "a"})))
	if err != nil {
		t.Fatal(err)
	}
	damaged, err := s.Add(ctx, "damaged", makeImage(t, v1.Config{}, makeLayer(t, file{name: "b"})))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second Open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustMkdir(t, filepath.Join(dir, "tmp", "layer-123", "fs"))
	mustMkdir(t, filepath.Join(dir, "layers", strings.Repeat("a", 64), "fs"))
	if err := os.RemoveAll(filepath.Dir(damaged.LayerDirs[0])); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Config{Dir: dir})
	if all := s.Images(); len(all) != 1 || all[0].ID != img.ID || len(all[0].Settings.Cmd) != 1 {
		t.Errorf("images after a crash: %+v", all)
	}
	for _, gone := range []string{filepath.Join("tmp", "layer-123"), filepath.Join("layers", strings.Repeat("a", 64))} {
		if _, err := os.Stat(filepath.Join(dir, gone)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
}

func mustMkdir(t testing.TB, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestTagMoves pulls a tag again after it was pushed anew.
func TestTagMoves(t *testing.T) {
	host := startRegistry(t)
	s := openStore(t, Config{})
	ctx := context.Background()
	var ids []string
	for _, content := range []string{"old", "new"} {
		push(t, host, "app:v1", makeImage(t, v1.Config{}, makeLayer(t, file{name: "a", content: content})))
		img, err := s.Pull(ctx, host+"/app:v1", kubelet.Auth{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, img.ID)
	}
	now, err := s.Image(host + "/app:v1")
	if err != nil || now.ID != ids[1] {
		t.Errorf("the tag is %s, %v", now.ID, err)
	}
	old, err := s.Image(ids[0])
	if err != nil || len(old.Names) != 0 || len(old.Digests) != 1 {
		t.Errorf("the old image: %+v, %v", old, err)
	}
	byDigest, err := s.Pull(ctx, old.Digests[0], kubelet.Auth{}, nil)
	if err != nil || byDigest.ID != ids[0] || len(byDigest.Names) != 0 {
		t.Errorf("by digest: %+v, %v", byDigest, err)
	}
}

func TestPlatforms(t *testing.T) {
	dir := t.TempDir()
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64", "s390x"} {
		img := makeImage(t, v1.Config{Cmd: []string{arch}}, makeLayer(t, file{name: arch}))
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	outer := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index, Descriptor: v1.Descriptor{
		Annotations: map[string]string{"io.containerd.image.name": "docker.io/library/multi:v1"},
	}})
	if _, err := layout.Write(dir, outer); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, Config{Platform: "linux/arm64"})
	if _, err := s.Import(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	img, err := s.Image("multi:v1")
	if err != nil || img.Settings.Cmd[0] != "arm64" || len(s.Images()) != 1 {
		t.Errorf("image %+v, %v", img, err)
	}
	none := openStore(t, Config{Platform: "linux/riscv64"})
	if _, err := none.Import(context.Background(), dir); !errors.Is(err, kubelet.ErrImageNotFound) || !strings.Contains(err.Error(), "linux/riscv64") {
		t.Errorf("Import: %v", err)
	}
}

func TestImportArchives(t *testing.T) {
	ctx := context.Background()
	img := makeImage(t, v1.Config{Cmd: []string{"x"}}, makeLayer(t, file{name: "a", content: "1"}), makeLayer(t, file{name: "b", content: "2"}))
	saved := filepath.Join(t.TempDir(), "saved.tar")
	tag, err := name.NewTag("example.org/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(saved, tag, img); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, Config{})
	got, err := s.Import(ctx, saved)
	if err != nil || len(got) != 1 || got[0].Names[0] != "example.org/app:v1" || len(got[0].LayerDirs) != 2 {
		t.Fatalf("Import of docker save: %+v, %v", got, err)
	}
	named, err := s.ImportAs(ctx, saved, "other:v2")
	if err != nil || named.ID != got[0].ID || len(named.Names) != 2 {
		t.Errorf("ImportAs: %+v, %v", named, err)
	}
	evil := filepath.Join(t.TempDir(), "evil.tar")
	if err := os.WriteFile(evil, makeTar(t, file{name: "../index.json", content: "{}"}), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		evil: "leads out of the image's root", "/does/not/exist": "no such file", t.TempDir(): "no OCI layout", os.DevNull: "neither",
	} {
		if _, err := s.Import(ctx, path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("Import(%s): %v, want %q", path, err, want)
		}
	}
}

func TestBombs(t *testing.T) {
	s := openStore(t, Config{MaxLayerBytes: 1 << 20})
	big := makeLayer(t, file{name: "zeros", content: string(make([]byte, 2<<20))})
	_, err := s.Add(context.Background(), "bomb", makeImage(t, v1.Config{}, big))
	if err == nil || !strings.Contains(err.Error(), "unpacks to more than 1048576 bytes") {
		t.Errorf("Add: %v", err)
	}
	checkEmpty(t, s)
}
