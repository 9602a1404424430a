package selfimage

import (
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPull pulls the test's own image from a registry and finds itself in it.
func TestPull(t *testing.T) {
	files, err := Executable("/bin/web")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, File{Path: "/etc/motd", Data: []byte("hello\n"), Mode: 0o644})
	img, err := New(Config{Files: files, Entrypoint: []string{"/bin/web"}, User: "65534"})
	if err != nil {
		t.Fatal(err)
	}
	reg, err := NewRegistry(map[string]v1.Image{"demo/web:v1": img})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(reg)
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	pulled := pull(t, host+"/demo/web:v1")
	digest, err := pulled.Digest()
	if err != nil {
		t.Fatal(err)
	}
	pull(t, host+"/demo/web@"+digest.String())
	ref, _ := name.ParseReference(host + "/demo/web:v2")
	if _, err := remote.Image(ref); err == nil {
		t.Error("a tag that does not exist was found")
	}
	checkSize(t, pulled)
}

func pull(t *testing.T, where string) v1.Image {
	t.Helper()
	ref, err := name.ParseReference(where)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// checkSize finds at least this program's bytes in the image's file system.
func checkSize(t *testing.T, img v1.Image) {
	t.Helper()
	exe, _ := os.Executable()
	info, err := os.Stat(exe)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	fs, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	// The reader fails when the bytes are not those of the digest.
	n, err := io.Copy(io.Discard, fs)
	if err != nil || n < info.Size() {
		t.Errorf("the image's file system has %d bytes, the program alone %d: %v", n, info.Size(), err)
	}
}
