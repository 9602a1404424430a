// Package selfimage makes container images out of the running program: its own executable, with the
// shared libraries that it needs, and nothing else. Demos and tests have images that way without a
// registry, a build tool or a network. The layer is never held: it is written anew, the same bytes
// each time, whenever it is read.
package selfimage

import (
	"archive/tar"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// File is one regular file of a layer.
type File struct {
	// Path is the absolute path in the image.
	Path string
	// Host is the file of this machine that holds the content; when empty, Data does.
	Host string
	Data []byte
	Mode int64
}

// layer is a v1.Layer that is made of files each time it is read. It is not compressed, so that its
// digest is that of its content.
type layer struct {
	files  []File
	digest v1.Hash
	size   int64
}

// newLayer reads all files once, for the digest.
func newLayer(files []File) (*layer, error) {
	l := &layer{files: slices.Clone(files)}
	slices.SortFunc(l.files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	sum := sha256.New()
	count := &counter{w: sum}
	if err := l.write(count); err != nil {
		return nil, err
	}
	l.digest = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	l.size = count.n
	return l, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func (l *layer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) DiffID() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) Size() (int64, error)                 { return l.size, nil }
func (l *layer) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }
func (l *layer) Compressed() (io.ReadCloser, error)   { return l.Uncompressed() }
func (l *layer) Uncompressed() (io.ReadCloser, error) { return l.open(), nil }

// open streams the layer; closing the reader early ends the writer.
func (l *layer) open() io.ReadCloser {
	r, w := io.Pipe()
	go func() { w.CloseWithError(l.write(w)) }()
	return r
}

// write writes the files, with the directories above them, as a tar archive without times or owners.
func (l *layer) write(w io.Writer) error {
	tw := tar.NewWriter(w)
	dirs := map[string]bool{"": true}
	for _, f := range l.files {
		name := strings.TrimPrefix(path.Clean(f.Path), "/")
		if err := writeDirs(tw, dirs, path.Dir(name)); err != nil {
			return err
		}
		if err := writeFile(tw, name, f); err != nil {
			return fmt.Errorf("selfimage: %s: %w", f.Path, err)
		}
	}
	return tw.Close()
}

func writeDirs(tw *tar.Writer, done map[string]bool, dir string) error {
	if dir == "." || done[dir] {
		return nil
	}
	if err := writeDirs(tw, done, path.Dir(dir)); err != nil {
		return err
	}
	done[dir] = true
	mode := int64(0o755)
	if dir == "tmp" {
		mode = 0o1777
	}
	return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: mode})
}

func writeFile(tw *tar.Writer, name string, f File) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: f.Mode, Size: int64(len(f.Data))}
	if f.Host == "" {
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		_, err := tw.Write(f.Data)
		return err
	}
	src, err := os.Open(f.Host)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	h.Size = info.Size()
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(tw, src)
	return err
}
