package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/inboard/inboard/kubelet"
)

// refNames are the annotations that carry an image's name in an OCI layout: the one that
// containerd and Docker write, and that of the OCI image specification.
var refNames = []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"}

// Import adds the images of an OCI layout directory, of a tar of one, or of a tar that "docker
// save" wrote. Only images for this node's platform are taken. Names that the source lacks can be
// given with ImportAs.
func (s *Store) Import(ctx context.Context, path string) ([]Image, error) {
	return s.importAs(ctx, path, "")
}

// ImportAs is Import of a source with one image, which gets the name ref.
func (s *Store) ImportAs(ctx context.Context, path, ref string) (Image, error) {
	parsed, err := ParseReference(ref)
	if err != nil {
		return Image{}, err
	}
	images, err := s.importAs(ctx, path, parsed.String())
	if err != nil {
		return Image{}, err
	}
	if len(images) != 1 {
		return Image{}, fmt.Errorf("image: %s holds %d images, want one to be named %s", path, len(images), ref)
	}
	return images[0], nil
}

// Add adds an image from memory under the given name: what a program made itself needs no
// registry. Errors: kubelet.ErrInvalidImageName, others.
func (s *Store) Add(ctx context.Context, ref string, img v1.Image) (Image, error) {
	parsed, err := ParseReference(ref)
	if err != nil {
		return Image{}, err
	}
	if err := s.enter(); err != nil {
		return Image{}, err
	}
	defer s.working.Done()
	return s.addNamed(ctx, img, parsed.String())
}

// found is an image in a source, with the name that the source gives it.
type found struct {
	img  v1.Image
	name string
}

func (s *Store) importAs(ctx context.Context, path, ref string) ([]Image, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.working.Done()
	src, err := s.openSource(path)
	if err != nil {
		return nil, fmt.Errorf("image: import %s: %w", path, err)
	}
	defer src.close()
	if ref != "" && len(src.images) != 1 {
		return nil, fmt.Errorf("image: %s holds %d images, want one to be named %s", path, len(src.images), ref)
	}
	var out []Image
	for _, f := range src.images {
		if ref != "" {
			f.name = ref
		}
		img, err := s.addNamed(ctx, f.img, f.name)
		if err != nil {
			return out, fmt.Errorf("image: import %s: %w", path, err)
		}
		out = append(out, img)
	}
	return out, nil
}

func (s *Store) addNamed(ctx context.Context, img v1.Image, name string) (Image, error) {
	var names, digests []string
	if name != "" {
		parsed, err := ParseReference(name)
		if err != nil {
			return Image{}, err
		}
		digest, err := img.Digest()
		if err != nil {
			return Image{}, err
		}
		names, digests = []string{parsed.String()}, []string{parsed.Name() + "@" + digest.String()}
	}
	report := startReport(name, nil)
	defer report.stop()
	return s.add(ctx, img, names, digests, report)
}

type source struct {
	images []found
	close  func()
}

// openSource finds out what path is. A tar of an OCI layout is unpacked first, because its blobs
// are wanted in another order than they come in.
func (s *Store) openSource(path string) (*source, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if fi.IsDir() {
		images, err := s.fromLayout(path)
		return &source{images, func() {}}, err
	}
	tmp, err := os.MkdirTemp(s.tmpDir(), "import-")
	if err != nil {
		return nil, err
	}
	src := &source{close: func() { s.removeAll(tmp) }}
	if err := s.unpackArchive(path, tmp); err != nil {
		src.close()
		return nil, err
	}
	if _, err = os.Stat(filepath.Join(tmp, "index.json")); err == nil {
		src.images, err = s.fromLayout(tmp)
	} else {
		src.images, err = fromDockerSave(path)
	}
	if err != nil {
		src.close()
		return nil, err
	}
	return src, nil
}

// unpackArchive unpacks an archive of an image under the same rules as a layer: it is not trusted
// either.
func (s *Store) unpackArchive(path, dir string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, done, err := decompress(f)
	if err != nil {
		return err
	}
	defer done()
	u := unpacker{root: dir, maxBytes: s.cfg.MaxLayerBytes, maxEntries: s.cfg.MaxLayerEntries, plain: true}
	return u.unpack(plain)
}

func (s *Store) fromLayout(dir string) ([]found, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("it is no OCI layout (a directory with index.json): %w", err)
	}
	var out []found
	if err := s.collect(index, "", 0, &out); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no image for platform %s in it: %w", s.cfg.Platform, kubelet.ErrImageNotFound)
	}
	return out, nil
}

// collect gathers an index's images, and those of the indexes in it: a multi-platform image is an
// index of its own.
func (s *Store) collect(index v1.ImageIndex, name string, depth int, out *[]found) error {
	if depth > 4 {
		return errors.New("indexes are nested too deeply")
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range manifest.Manifests {
		if err := s.collectOne(index, d, name, depth, out); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) collectOne(index v1.ImageIndex, d v1.Descriptor, name string, depth int, out *[]found) error {
	for _, key := range refNames {
		if n := d.Annotations[key]; n != "" && name == "" {
			name = n
		}
	}
	if _, err := ParseReference(name); err != nil {
		name = "" // a bare tag, as the OCI specification allows: it names nothing by itself
	}
	switch {
	case d.MediaType.IsIndex():
		child, err := index.ImageIndex(d.Digest)
		if err != nil {
			return err
		}
		return s.collect(child, name, depth+1, out)
	case d.MediaType.IsImage():
		if d.Platform != nil && !s.runsHere(d.Platform) {
			return nil
		}
		img, err := index.Image(d.Digest)
		if err != nil {
			return err
		}
		*out = append(*out, found{img, name})
	}
	return nil
}

func (s *Store) runsHere(p *v1.Platform) bool {
	want, err := v1.ParsePlatform(s.cfg.Platform)
	if err != nil {
		return false
	}
	return p.OS == want.OS && p.Architecture == want.Architecture && (want.Variant == "" || p.Variant == want.Variant)
}
