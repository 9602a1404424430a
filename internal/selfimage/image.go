package selfimage

import (
	"fmt"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Config says what an image holds and runs.
type Config struct {
	// Files are the content; see Executable.
	Files []File
	// Entrypoint, Cmd, Env, User, WorkingDir and StopSignal go into the image's configuration.
	Entrypoint, Cmd, Env         []string
	User, WorkingDir, StopSignal string
}

// New returns an image with one layer. The files are read now, for the digest, and each time the layer
// is read.
func New(cfg Config) (v1.Image, error) {
	l, err := newLayer(cfg.Files)
	if err != nil {
		return nil, err
	}
	base := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	img, err := mutate.ConfigFile(base, &v1.ConfigFile{
		OS: runtime.GOOS, Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{Entrypoint: cfg.Entrypoint, Cmd: cfg.Cmd, Env: cfg.Env,
			User: cfg.User, WorkingDir: cfg.WorkingDir, StopSignal: cfg.StopSignal},
	})
	if err != nil {
		return nil, fmt.Errorf("selfimage: %w", err)
	}
	img, err = mutate.AppendLayers(img, l)
	if err != nil {
		return nil, fmt.Errorf("selfimage: %w", err)
	}
	return img, nil
}
