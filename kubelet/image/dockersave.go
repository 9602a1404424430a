package image

import (
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// fromDockerSave reads the images of a tar that has a manifest.json, as "docker save" writes it.
func fromDockerSave(path string) ([]found, error) {
	opener := func() (io.ReadCloser, error) { return openPlain(path) }
	manifest, err := tarball.LoadManifest(opener)
	if err != nil {
		return nil, fmt.Errorf("it is neither a tar of an OCI layout (index.json) nor of \"docker save\" (manifest.json): %w", err)
	}
	var out []found
	for _, m := range manifest {
		if len(m.RepoTags) == 0 && len(manifest) == 1 {
			img, err := tarball.Image(opener, nil)
			if err != nil {
				return nil, err
			}
			out = append(out, found{img, ""})
		}
		for _, t := range m.RepoTags {
			tag, err := name.NewTag(t)
			if err != nil {
				return nil, err
			}
			img, err := tarball.Image(opener, &tag)
			if err != nil {
				return nil, err
			}
			out = append(out, found{img, t})
		}
	}
	return out, nil
}

// openPlain opens an archive, compressed or not.
func openPlain(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	plain, done, err := decompress(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return plainFile{plain, func() error { done(); return f.Close() }}, nil
}

type plainFile struct {
	io.Reader
	close func() error
}

func (p plainFile) Close() error { return p.close() }
