package image

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/inboard/inboard/kubelet"
)

// Image is an image that is present, with what is needed to run it.
type Image struct {
	kubelet.Image
	// LayerDirs are the unpacked layers, the base first. Read-only, and shared.
	LayerDirs []string
	Settings  Settings
}

// Settings are what an image says about how to run it (OCI image configuration, "config").
type Settings struct {
	Entrypoint, Cmd []string
	// Env holds NAME=value.
	Env        []string
	WorkingDir string
	User       string
	StopSignal string
}

// record is an image as it is stored: one file per image.
type record struct {
	ID      string           `json:"id"`
	Names   []string         `json:"names"`
	Digests []string         `json:"digests"`
	Layers  []string         `json:"layers"` // diff IDs, the base first
	Sizes   map[string]int64 `json:"sizes"`  // by diff ID, bytes unpacked
	Config  v1.Config        `json:"config"`
}

func (r *record) size() int64 {
	var n int64
	for _, s := range r.Sizes {
		n += s
	}
	return n
}

func (r *record) add(names, digests []string) {
	for _, n := range names {
		if !slices.Contains(r.Names, n) {
			r.Names = append(r.Names, n)
		}
	}
	for _, d := range digests {
		if !slices.Contains(r.Digests, d) {
			r.Digests = append(r.Digests, d)
		}
	}
}

func (s *Store) image(r *record) Image {
	img := Image{
		Image: kubelet.Image{
			ID: r.ID, Names: slices.Clone(r.Names), Digests: slices.Clone(r.Digests),
			Size: r.size(), User: r.Config.User,
		},
		Settings: Settings{
			Entrypoint: slices.Clone(r.Config.Entrypoint), Cmd: slices.Clone(r.Config.Cmd),
			Env: slices.Clone(r.Config.Env), WorkingDir: r.Config.WorkingDir,
			User: r.Config.User, StopSignal: r.Config.StopSignal,
		},
	}
	for _, l := range r.Layers {
		img.LayerDirs = append(img.LayerDirs, s.layerDir(l))
	}
	return img
}

func (s *Store) recordPath(id string) string {
	return filepath.Join(s.dir, "images", strings.TrimPrefix(id, "sha256:")+".json")
}

// save writes a record so that a crash leaves the old or the new one.
func (s *Store) save(r *record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.tmpDir(), "record-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), s.recordPath(r.ID))
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// load reads the records, and forgets those whose layers are not all there.
func (s *Store) load() error {
	files, err := filepath.Glob(filepath.Join(s.dir, "images", "*.json"))
	if err != nil {
		return err
	}
	for _, file := range files {
		r, err := s.loadRecord(file)
		if err != nil {
			s.cfg.Logger.Warn("forgetting an image whose record or layers are damaged; pull it again", "file", file, "err", err)
			os.Remove(file)
			continue
		}
		s.images[r.ID] = r
		for _, l := range r.Layers {
			s.refs[l]++
		}
	}
	return nil
}

func (s *Store) loadRecord(file string) (*record, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, err
	}
	if !compiled().digest.MatchString(r.ID) || s.recordPath(r.ID) != file {
		return nil, fmt.Errorf("the record's id %q is not its file's", r.ID)
	}
	for _, l := range r.Layers {
		if !compiled().digest.MatchString(l) {
			return nil, fmt.Errorf("malformed layer %q", l)
		}
		if _, err := os.Stat(s.layerDir(l)); err != nil {
			return nil, err
		}
	}
	return r, nil
}
