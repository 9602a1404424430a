package main

import (
	"context"
	"net"
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	imageutils "k8s.io/kubernetes/test/utils/image"

	"github.com/inboard/inboard/internal/selfimage"
)

// registryHost is where the suite's images are named.
const registryHost = "registry.k8s.io"

// busybox is where setup.sh lets Debian put a busybox that needs no libraries.
const busybox = "/usr/bin/busybox"

// certificate is what agnhost serves TLS with, which lies beside its program, as in the real image.
var certificate = []string{"localhost.crt", "localhost.key"}

// standIns are the images, of programs in dir.
func standIns(dir string) map[imageutils.ImageID]selfimage.Config {
	program := func(at string, cmd ...string) selfimage.Config {
		file := selfimage.File{Path: at, Host: filepath.Join(dir, path.Base(at)), Mode: 0o755}
		return selfimage.Config{Files: []selfimage.File{file}, Entrypoint: []string{at}, Cmd: cmd}
	}
	pause := program("/pause")
	pause.User = "65535:65535"
	agnhost := program("/agnhost", "pause")
	for _, name := range certificate {
		agnhost.Files = append(agnhost.Files, selfimage.File{Path: "/" + name, Host: filepath.Join(dir, name), Mode: 0o644})
	}
	box := selfimage.Config{Cmd: []string{"sh"}}
	for _, name := range []string{"cat", "echo", "sh", "sleep", "true"} {
		box.Files = append(box.Files, selfimage.File{Path: "/bin/" + name, Host: busybox, Mode: 0o755})
	}
	return map[imageutils.ImageID]selfimage.Config{
		imageutils.Pause:       pause,
		imageutils.Agnhost:     agnhost,
		imageutils.AgnhostPrev: agnhost,
		imageutils.APIServer:   program("/sample-apiserver"),
		imageutils.Etcd:        program("/usr/local/bin/etcd"),
		imageutils.BusyBox:     box,
	}
}

// serveImages serves stand-ins for the images that the listed tests pull, under the paths that those have, on loopback
// until ctx ends. It returns the registry's URL.
func serveImages(ctx context.Context, dir string) (string, error) {
	images := map[string]v1.Image{}
	for id, cfg := range standIns(dir) {
		img, err := selfimage.New(cfg)
		if err != nil {
			return "", err
		}
		images[strings.TrimPrefix(imageutils.GetE2EImage(id), registryHost+"/")] = img
	}
	registry, err := selfimage.NewRegistry(images)
	if err != nil {
		return "", err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: registry, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(ln) }()
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	return "http://" + ln.Addr().String(), nil
}
