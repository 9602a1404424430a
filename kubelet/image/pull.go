package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/inboard/inboard/kubelet"
)

// maxLayers is what overlayfs stacks.
const maxLayers = 128

// maxConfigBytes bounds what is read into memory: the configuration of an image is a few KiB.
const maxConfigBytes = 8 << 20

// Pull fetches an image. What is present already is not fetched again, but a tag is always asked
// for anew. Progress, which may be nil, is called from one goroutine at a time, a few times per
// second. Errors: kubelet.ErrInvalidImageName, *PullError.
func (s *Store) Pull(ctx context.Context, ref string, auth kubelet.Auth, progress func(kubelet.PullProgress)) (Image, error) {
	parsed, err := ParseReference(ref)
	if err != nil {
		return Image{}, err
	}
	if err := s.enter(); err != nil {
		return Image{}, err
	}
	defer s.working.Done()
	report := startReport(ref, progress)
	defer report.stop()
	began := time.Now()
	img, digest, err := s.resolve(ctx, parsed, auth)
	if err == nil {
		var names []string
		if parsed.Digest == "" {
			names = []string{parsed.String()}
		}
		var out Image
		if out, err = s.add(ctx, img, names, []string{parsed.Name() + "@" + digest}, report); err == nil {
			s.cfg.Logger.Info("pulled an image", "image", parsed.String(), "id", out.ID, "took", time.Since(began).Round(time.Millisecond))
			report.finish()
			return out, nil
		}
	}
	return Image{}, s.pullError(ctx, ref, parsed, err)
}

// resolve asks for the manifest, and picks this node's platform. The digest is that of what the
// reference names, which may be an index.
func (s *Store) resolve(ctx context.Context, ref Reference, auth kubelet.Auth) (v1.Image, string, error) {
	from, err := s.remoteName(ref)
	if err != nil {
		return nil, "", err
	}
	platform, err := v1.ParsePlatform(s.cfg.Platform)
	if err != nil {
		return nil, "", err
	}
	opts := append(s.remoteOptions(ctx, auth), remote.WithPlatform(*platform))
	desc, err := remote.Get(from, opts...)
	if err != nil {
		return nil, "", err
	}
	if desc.MediaType.IsSchema1() {
		return nil, "", errors.New("the manifest is of Docker's schema 1, which is obsolete: push the image again with a current tool")
	}
	img, err := desc.Image()
	if err != nil {
		if strings.Contains(err.Error(), "no child with platform") {
			err = fmt.Errorf("%s: no match for platform %s in its index: %w", ref, s.cfg.Platform, kubelet.ErrImageNotFound)
		}
		return nil, "", err
	}
	return img, desc.Digest.String(), nil
}

// add makes an image's layers present, and then the image.
func (s *Store) add(ctx context.Context, img v1.Image, names, digests []string, report *report) (Image, error) {
	r, layers, err := describe(img)
	if err != nil {
		return Image{}, err
	}
	r.add(names, digests)
	s.mu.Lock()
	s.retain(r.Layers)
	s.mu.Unlock()
	if err := s.ensureLayers(ctx, r, layers, report); err != nil {
		s.release(r.Layers)
		return Image{}, err
	}
	return s.adopt(r)
}

// describe reads an image's configuration and checks that it fits its layers.
func describe(img v1.Image) (*record, []v1.Layer, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return nil, nil, fmt.Errorf("read the image's manifest: %w", err)
	}
	if manifest.Config.Size > maxConfigBytes {
		return nil, nil, fmt.Errorf("the image's configuration has %d bytes; at most %d are accepted", manifest.Config.Size, maxConfigBytes)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, nil, fmt.Errorf("read the image's configuration: %w", err)
	}
	id, err := img.ConfigName()
	if err != nil {
		return nil, nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, nil, err
	}
	if len(layers) != len(cfg.RootFS.DiffIDs) {
		return nil, nil, fmt.Errorf("the manifest has %d layers, the configuration %d", len(layers), len(cfg.RootFS.DiffIDs))
	}
	if len(layers) == 0 {
		return nil, nil, errors.New("the image has no layers: it is no container image")
	}
	if len(layers) > maxLayers {
		return nil, nil, fmt.Errorf("the image has %d layers; at most %d can be stacked", len(layers), maxLayers)
	}
	r := &record{ID: id.String(), Config: cfg.Config, Sizes: map[string]int64{}}
	for _, d := range cfg.RootFS.DiffIDs {
		if !compiled().digest.MatchString(d.String()) {
			return nil, nil, fmt.Errorf("the configuration names a malformed layer %q", d)
		}
		r.Layers = append(r.Layers, d.String())
	}
	return r, layers, nil
}

func (s *Store) ensureLayers(ctx context.Context, r *record, layers []v1.Layer, report *report) error {
	compressed := map[string]int64{} // by diff ID: an image may contain a layer twice
	for i, l := range layers {
		n, err := l.Size()
		if _, ok := compressed[r.Layers[i]]; err == nil && !ok {
			compressed[r.Layers[i]] = n
			report.total.Add(n)
		}
	}
	report.phase.Store("downloading")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	sizes := make([]int64, len(layers))
	for i, l := range layers {
		wg.Go(func() {
			size, err := s.ensureLayer(ctx, r.Layers[i], l, report)
			if err != nil {
				cancel(err)
				return
			}
			sizes[i] = size
			report.watch(r.Layers[i], func() int64 { return compressed[r.Layers[i]] })
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for i, l := range r.Layers {
		r.Sizes[l] = sizes[i]
	}
	return nil
}

// adopt records an image whose layers are present and retained. If it was there already, it gets
// the new names; a name that belonged to another image moves.
func (s *Store) adopt(r *record) (Image, error) {
	s.mu.Lock()
	old := s.images[r.ID]
	if old != nil {
		old.add(r.Names, r.Digests)
		names := r.Names
		r = old
		r.add(names, nil)
	} else {
		s.images[r.ID] = r
	}
	moved := s.moveNames(r)
	err := s.save(r)
	for _, m := range moved {
		err = errors.Join(err, s.save(m))
	}
	if err != nil && old == nil {
		delete(s.images, r.ID)
	}
	img := s.image(r)
	s.mu.Unlock()
	if old != nil || err != nil {
		s.release(r.Layers) // the record that was there holds its own
	}
	if err != nil {
		return Image{}, fmt.Errorf("record the image: %w", err)
	}
	return img, nil
}

// moveNames wants s.mu held.
func (s *Store) moveNames(to *record) []*record {
	var moved []*record
	for _, r := range s.images {
		if r == to {
			continue
		}
		kept := r.Names[:0:0]
		for _, n := range r.Names {
			if !slices.Contains(to.Names, n) {
				kept = append(kept, n)
			}
		}
		if len(kept) != len(r.Names) {
			r.Names = kept
			moved = append(moved, r)
		}
	}
	return moved
}
