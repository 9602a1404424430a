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

// serveImages serves stand-ins for the images that the listed tests pull, under the paths that those have, on loopback
// until ctx ends. It returns the registry's URL.
func serveImages(ctx context.Context, dir string) (string, error) {
	images := map[string]v1.Image{}
	for _, i := range []struct {
		id   imageutils.ImageID
		at   string // the program, which has the name of one that build makes
		cmd  []string
		user string
	}{
		{imageutils.Pause, "/pause", nil, "65535:65535"},
		{imageutils.Agnhost, "/agnhost", []string{"pause"}, ""},
		{imageutils.APIServer, "/sample-apiserver", nil, ""},
		{imageutils.Etcd, "/usr/local/bin/etcd", nil, ""},
	} {
		img, err := selfimage.New(selfimage.Config{
			Files:      []selfimage.File{{Path: i.at, Host: filepath.Join(dir, path.Base(i.at)), Mode: 0o755}},
			Entrypoint: []string{i.at}, Cmd: i.cmd, User: i.user,
		})
		if err != nil {
			return "", err
		}
		images[strings.TrimPrefix(imageutils.GetE2EImage(i.id), registryHost+"/")] = img
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
