package selfimage

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Registry serves images read-only by the OCI distribution protocol. It holds manifests and
// configurations; layers are read from the images when somebody pulls them.
type Registry struct {
	manifests map[string]blob // by repository:tag and repository@digest
	blobs     map[v1.Hash]blob
}

type blob struct {
	mediaType string
	digest    v1.Hash
	size      int64
	open      func() (io.ReadCloser, error)
}

// NewRegistry returns a registry of the given images by repository and tag, as in "demo/web:v1".
func NewRegistry(images map[string]v1.Image) (*Registry, error) {
	r := &Registry{manifests: map[string]blob{}, blobs: map[v1.Hash]blob{}}
	for name, img := range images {
		if err := r.add(name, img); err != nil {
			return nil, fmt.Errorf("selfimage: %s: %w", name, err)
		}
	}
	return r, nil
}

func (r *Registry) add(name string, img v1.Image) error {
	raw, err := img.RawManifest()
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}
	b := memory(string(manifest.MediaType), digest, raw)
	repository, _, _ := strings.Cut(name, ":")
	r.manifests[name], r.manifests[repository+"@"+digest.String()] = b, b
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	r.blobs[manifest.Config.Digest] = memory(string(manifest.Config.MediaType), manifest.Config.Digest, config)
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for i, l := range layers {
		d := manifest.Layers[i]
		r.blobs[d.Digest] = blob{string(d.MediaType), d.Digest, d.Size, l.Compressed}
	}
	return nil
}

func memory(mediaType string, digest v1.Hash, data []byte) blob {
	return blob{mediaType, digest, int64(len(data)), func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}}
}

// ServeHTTP answers GET and HEAD of /v2/, manifests and blobs.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read-only")
		return
	}
	if req.URL.Path == "/v2/" {
		w.WriteHeader(http.StatusOK)
		return
	}
	b, ok := r.find(strings.TrimPrefix(req.URL.Path, "/v2/"))
	if !ok {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "no such image")
		return
	}
	w.Header().Set("Content-Type", b.mediaType)
	w.Header().Set("Docker-Content-Digest", b.digest.String())
	w.Header().Set("Content-Length", fmt.Sprint(b.size))
	if req.Method == http.MethodHead {
		return
	}
	content, err := b.open()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	defer content.Close()
	_, _ = io.Copy(w, content) // a client that goes away is its own affair
}

// find resolves "REPOSITORY/manifests/TAG", ".../manifests/DIGEST" and ".../blobs/DIGEST".
func (r *Registry) find(path string) (blob, bool) {
	if i := strings.LastIndex(path, "/manifests/"); i >= 0 {
		repository, ref := path[:i], path[i+len("/manifests/"):]
		separator := ":"
		if strings.Contains(ref, ":") {
			separator = "@"
		}
		b, ok := r.manifests[repository+separator+ref]
		return b, ok
	}
	if i := strings.LastIndex(path, "/blobs/"); i >= 0 {
		h, err := v1.NewHash(path[i+len("/blobs/"):])
		b, ok := r.blobs[h]
		return b, ok && err == nil
	}
	return blob{}, false
}

func refuse(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, reason, message)
}
