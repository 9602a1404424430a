package image

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// flight is a layer being fetched and unpacked; all pulls that want the layer share it.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int          // held under Store.mu; the flight is cancelled when it falls to zero
	fetched atomic.Int64 // compressed bytes
	size    int64        // unpacked bytes, valid once done is closed
	err     error
}

// ensureLayer makes a layer present, and returns its unpacked size. The caller has retained it.
func (s *Store) ensureLayer(ctx context.Context, diffID string, layer v1.Layer, report *report) (int64, error) {
	s.mu.Lock()
	f := s.flights[diffID]
	if f == nil {
		if size, ok := s.layerSize(diffID); ok {
			s.mu.Unlock()
			return size, nil
		}
		if s.closed {
			s.mu.Unlock()
			return 0, errors.New("image: the store is closed")
		}
		f = s.startFlight(ctx, diffID, layer)
	}
	f.waiters++
	s.mu.Unlock()
	report.watch(diffID, f.fetched.Load)
	select {
	case <-f.done:
		s.leave(f)
		return f.size, f.err
	case <-ctx.Done():
		s.leave(f)
		return 0, ctx.Err()
	}
}

// startFlight wants s.mu held.
func (s *Store) startFlight(ctx context.Context, diffID string, layer v1.Layer) *flight {
	// The flight outlives the pull that started it as long as another one waits for it.
	fctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{done: make(chan struct{}), cancel: cancel}
	s.flights[diffID] = f
	s.working.Add(1)
	go func() {
		defer s.working.Done()
		size, err := s.fetchLayer(fctx, diffID, layer, f)
		cancel()
		s.mu.Lock()
		f.size, f.err = size, err
		delete(s.flights, diffID)
		close(f.done)
		s.mu.Unlock()
	}()
	return f
}

func (s *Store) leave(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.cancel()
	}
}

// layerSize tells whether a layer is present, and its unpacked size.
func (s *Store) layerSize(diffID string) (int64, bool) {
	data, err := os.ReadFile(filepath.Join(filepath.Dir(s.layerDir(diffID)), "size"))
	if err != nil {
		return 0, false
	}
	var n int64
	if _, err := fmt.Sscan(string(data), &n); err != nil {
		return 0, false
	}
	return n, true
}

func (s *Store) fetchLayer(ctx context.Context, diffID string, layer v1.Layer, f *flight) (size int64, err error) {
	select {
	case s.downloads <- struct{}{}:
		defer func() { <-s.downloads }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	tmp, err := os.MkdirTemp(s.tmpDir(), "layer-")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			s.removeAll(tmp)
		}
	}()
	digest, err := layer.Digest()
	if err != nil {
		return 0, err
	}
	compressed, err := layer.Compressed()
	if err != nil {
		return 0, fmt.Errorf("fetch layer %s: %w", digest, err)
	}
	defer compressed.Close()
	stop := context.AfterFunc(ctx, func() { compressed.Close() })
	defer stop()
	if size, err = s.unpackInto(ctx, tmp, diffID, digest.String(), counted{compressed, f}); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return 0, fmt.Errorf("unpack layer %s: %w", digest, err)
	}
	if err := os.Chmod(tmp, 0o711); err != nil {
		return 0, err
	}
	return size, os.Rename(tmp, filepath.Dir(s.layerDir(diffID)))
}

// unpackInto unpacks a compressed layer to tmp/fs, and checks both digests: nothing may use tmp
// before it has returned nil.
func (s *Store) unpackInto(ctx context.Context, tmp, diffID, digest string, compressed io.Reader) (int64, error) {
	blob := sha256.New()
	plain, done, err := decompress(io.TeeReader(compressed, blob))
	if err != nil {
		return 0, err
	}
	defer done()
	diff := sha256.New()
	tarball := io.TeeReader(contextReader{ctx, plain}, diff)
	fs := filepath.Join(tmp, "fs")
	if err := os.Mkdir(fs, 0o755); err != nil {
		return 0, err
	}
	u := unpacker{root: fs, maxBytes: s.cfg.MaxLayerBytes, maxEntries: s.cfg.MaxLayerEntries}
	if err := u.unpack(tarball); err != nil {
		return 0, err
	}
	if err := drain(tarball, s.cfg.MaxLayerBytes); err != nil {
		return 0, err
	}
	// What follows the compressed stream counts for the blob's digest.
	if err := drain(io.TeeReader(compressed, blob), s.cfg.MaxLayerBytes); err != nil {
		return 0, err
	}
	if got := "sha256:" + hex.EncodeToString(blob.Sum(nil)); got != digest {
		return 0, fmt.Errorf("the registry sent content with digest %s", got)
	}
	if got := "sha256:" + hex.EncodeToString(diff.Sum(nil)); got != diffID {
		return 0, fmt.Errorf("the uncompressed content has digest %s, the image's configuration says %s", got, diffID)
	}
	return u.bytes, os.WriteFile(filepath.Join(tmp, "size"), fmt.Appendln(nil, u.bytes), 0o600)
}

// drain reads what follows the end of an archive, such as padding, within bounds.
func drain(r io.Reader, limit int64) error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, limit))
	if err == nil && n == limit {
		err = fmt.Errorf("more than %d bytes follow the archive's end", limit)
	}
	return err
}

// decompress tells the compression by the first bytes, because media types are often wrong.
func decompress(r io.Reader) (plain io.Reader, done func(), err error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(4)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, err
		}
		return z, func() { z.Close() }, nil
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(32<<20))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return b, func() {}, nil
}

type counted struct {
	r io.Reader
	f *flight
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.f.fetched.Add(int64(n))
	return n, err
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
