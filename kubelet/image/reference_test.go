package image

import (
	"errors"
	"strings"
	"testing"

	"github.com/inboard/inboard/kubelet"
)

func TestParseReference(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	for in, want := range map[string]string{
		"nginx":                         "docker.io/library/nginx:latest",
		"nginx:1.27":                    "docker.io/library/nginx:1.27",
		"user/app":                      "docker.io/user/app:latest",
		"docker.io/nginx":               "docker.io/library/nginx:latest",
		"index.docker.io/library/nginx": "docker.io/library/nginx:latest",
		"localhost/app":                 "localhost/app:latest",
		"localhost:5000/a/b/c:v1":       "localhost:5000/a/b/c:v1",
		"127.0.0.1:5000/app":            "127.0.0.1:5000/app:latest",
		"[::1]:5000/app":                "[::1]:5000/app:latest",
		"registry.k8s.io/pause:3.10":    "registry.k8s.io/pause:3.10",
		"nginx@" + digest:               "docker.io/library/nginx@" + digest,
		"nginx:1.27@" + digest:          "docker.io/library/nginx@" + digest,
		"a__b/c-d--e.f":                 "docker.io/a__b/c-d--e.f:latest",
	} {
		if got, err := ParseReference(in); err != nil || got.String() != want {
			t.Errorf("ParseReference(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", ":", "@", "/", "nginx:", "nginx@", "Nginx", "a//b", "/a", "a/", "-a", "a..b", "a b", "nginx:a:b",
		"nginx@sha256:abc", "nginx@md5:" + strings.Repeat("a", 32), "nginx:" + strings.Repeat("t", 129),
		strings.Repeat("a", 300), "exa_mple.com/a", "h:port/a", "../etc", "a\x00b", "docker.io/",
	} {
		if got, err := ParseReference(in); !errors.Is(err, kubelet.ErrInvalidImageName) {
			t.Errorf("ParseReference(%q) = %q, %v", in, got, err)
		}
	}
}

// FuzzParseReference holds that what is accepted is already normal when it is read again.
func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"nginx", "a.b:5/c/d:e", "x@sha256:" + strings.Repeat("0", 64), "localhost/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		again, err := ParseReference(r.String())
		if err != nil || again.String() != r.String() {
			t.Errorf("%q is %q, and that is %q, %v", s, r, again, err)
		}
	})
}

func TestConfig(t *testing.T) {
	for want, cfg := range map[string]Config{
		"Mirrors: \"a/b\"":  {Mirrors: map[string]string{"a/b": "http://x"}},
		"is not an http://": {Mirrors: map[string]string{"docker.io": "ftp://x"}},
		"Platform":          {Platform: "linux"},
		"ResponseTimeout":   {ResponseTimeout: -1},
		"MaxLayerEntries":   {MaxLayerEntries: -1},
		"image: Config.Dir": {Dir: "/dev/null/x"},
	} {
		if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open: %v, want %q", err, want)
		}
	}
}
