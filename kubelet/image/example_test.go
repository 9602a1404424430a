package image_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/inboard/inboard/internal/selfimage"
	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/image"
)

func ExampleParseReference() {
	for _, s := range []string{"nginx", "quay.io/coreos/etcd:v3.5.9", "localhost:5000/app", "NGINX"} {
		r, err := image.ParseReference(s)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(r)
	}
	// Output:
	// docker.io/library/nginx:latest
	// quay.io/coreos/etcd:v3.5.9
	// localhost:5000/app:latest
	// invalid image name "NGINX": the repository must be lowercase
}

// Pulls an image from a registry that stands in for Docker's, and one that is not there.
func ExampleStore_Pull() {
	img, err := selfimage.New(selfimage.Config{
		Files:      []selfimage.File{{Path: "/etc/motd", Data: []byte("hello\n"), Mode: 0o644}},
		Entrypoint: []string{"/bin/web"},
	})
	if err != nil {
		log.Fatal(err)
	}
	registry, err := selfimage.NewRegistry(map[string]v1.Image{"demo/web:v1": img})
	if err != nil {
		log.Fatal(err)
	}
	srv := httptest.NewServer(registry)
	defer srv.Close()

	store, err := image.Open(image.Config{Mirrors: map[string]string{"docker.io": srv.URL}})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	ctx := context.Background()
	got, err := store.Pull(ctx, "demo/web:v1", kubelet.Auth{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(got.Names[0], got.Size, "bytes,", len(got.LayerDirs), "layer, runs", got.Settings.Entrypoint)

	_, err = store.Pull(ctx, "demo/web:v2", kubelet.Auth{}, nil)
	fmt.Println(err)
	// Output:
	// docker.io/demo/web:v1 6 bytes, 1 layer, runs [/bin/web]
	// failed to pull image "demo/web:v2": docker.io/demo/web:v2: not found
}
