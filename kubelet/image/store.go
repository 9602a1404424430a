package image

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/kubelet"
)

// Store is a node's images. Its methods are safe for concurrent use.
type Store struct {
	cfg  Config
	dir  string
	temp bool // dir is removed by Close
	lock *os.File

	transport *http.Transport
	downloads chan struct{} // one token per layer being fetched

	mu     sync.Mutex
	closed bool
	images map[string]*record // by ID
	// refs counts for each layer the images, pulls and containers that need it. A layer without
	// an entry is not needed, and its directory is removed when the count falls to zero.
	refs    map[string]int
	flights map[string]*flight // layers being unpacked, by diff ID
	working sync.WaitGroup     // pulls and flights
}

// Open opens the store in cfg.Dir, or in a temporary directory, and removes what an earlier program
// left unfinished. A directory that another process holds is an error.
func Open(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, dir: cfg.Dir,
		downloads: make(chan struct{}, cfg.MaxDownloads),
		images:    map[string]*record{},
		refs:      map[string]int{},
		flights:   map[string]*flight{},
	}
	if err := s.openDir(); err != nil {
		return nil, err
	}
	s.transport = newTransport(cfg)
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.sweep()
	return s, nil
}

func (s *Store) openDir() error {
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "inboard-images-")
		if err != nil {
			return fmt.Errorf("image: no temporary directory for images: %w", err)
		}
		s.dir, s.temp = dir, true
	}
	abs, err := filepath.Abs(s.dir)
	if err != nil {
		return fmt.Errorf("image: Config.Dir: %w", err)
	}
	s.dir = abs
	for _, d := range []string{s.dir, filepath.Join(s.dir, "images"), filepath.Join(s.dir, "layers")} {
		if err := os.MkdirAll(d, 0o711); err != nil {
			return fmt.Errorf("image: Config.Dir: %w", err)
		}
	}
	lock, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("image: Config.Dir: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return fmt.Errorf("image: the directory %s is in use by another process: stop it, or choose another directory", s.dir)
	}
	s.lock = lock
	if err := os.RemoveAll(s.tmpDir()); err != nil {
		return fmt.Errorf("image: remove what was left unfinished: %w", err)
	}
	return os.Mkdir(s.tmpDir(), 0o700)
}

// sweep removes layers that no image needs: a program was killed between a layer and its image, or
// in the midst of a removal.
func (s *Store) sweep() {
	entries, _ := os.ReadDir(filepath.Join(s.dir, "layers"))
	for _, e := range entries {
		if s.refs["sha256:"+e.Name()] == 0 {
			s.discard(filepath.Join(s.dir, "layers", e.Name()))
		}
	}
}

// Close waits for running pulls to end and releases the directory; a temporary one is removed.
// Cancel the pulls' contexts first. It may be called again.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for _, f := range s.flights {
		f.cancel()
	}
	s.mu.Unlock()
	s.working.Wait()
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	var err error
	if s.temp {
		err = os.RemoveAll(s.dir)
	} else {
		err = os.RemoveAll(s.tmpDir())
	}
	return errors.Join(err, s.lock.Close())
}

// enter counts a piece of work that Close waits for.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("image: the store is closed")
	}
	s.working.Add(1)
	return nil
}

// Image returns a present image by reference, by ID ("sha256:..."), or by name@digest. Errors:
// kubelet.ErrImageNotFound, kubelet.ErrInvalidImageName.
func (s *Store) Image(ref string) (Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.find(ref)
	if err != nil {
		return Image{}, err
	}
	return s.image(r), nil
}

// Use is Image, and keeps the image's layers until release is called, even if the image is removed.
func (s *Store) Use(ref string) (img Image, release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.find(ref)
	if err != nil {
		return Image{}, nil, err
	}
	layers := slices.Clone(r.Layers)
	s.retain(layers)
	return s.image(r), sync.OnceFunc(func() { s.release(layers) }), nil
}

// find wants s.mu held.
func (s *Store) find(ref string) (*record, error) {
	if r, ok := s.images[ref]; ok {
		return r, nil
	}
	if compiled().digest.MatchString(ref) {
		return nil, notPresent(ref)
	}
	parsed, err := ParseReference(ref)
	if err != nil {
		return nil, err
	}
	full := parsed.String()
	for _, r := range s.images {
		if slices.Contains(r.Names, full) || slices.Contains(r.Digests, full) {
			return r, nil
		}
	}
	return nil, notPresent(ref)
}

func notPresent(ref string) error {
	return fmt.Errorf("%w: %q is not present on this node", kubelet.ErrImageNotFound, ref)
}

// Images returns the present images, ordered by ID.
func (s *Store) Images() []Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Image, 0, len(s.images))
	for _, r := range s.images {
		out = append(out, s.image(r))
	}
	slices.SortFunc(out, func(a, b Image) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Remove forgets an image, given as to Image, and deletes the layers that nothing else needs.
// Removing an image that is not present is no error.
func (s *Store) Remove(ref string) error {
	s.mu.Lock()
	r, err := s.find(ref)
	if errors.Is(err, kubelet.ErrImageNotFound) {
		s.mu.Unlock()
		return nil
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	if err := os.Remove(s.recordPath(r.ID)); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.mu.Unlock()
		return fmt.Errorf("image: remove %s: %w", r.ID, err)
	}
	delete(s.images, r.ID)
	s.mu.Unlock()
	s.release(r.Layers)
	return nil
}

// retain wants s.mu held.
func (s *Store) retain(layers []string) {
	for _, l := range layers {
		s.refs[l]++
	}
}

// release gives layers back; those that nothing needs any more are deleted.
func (s *Store) release(layers []string) {
	s.mu.Lock()
	var gone []string
	for _, l := range layers {
		if s.refs[l]--; s.refs[l] > 0 {
			continue
		}
		delete(s.refs, l)
		// The rename happens under the lock, so that a pull never sees half a layer.
		if path, ok := s.setAside(filepath.Dir(s.layerDir(l))); ok {
			gone = append(gone, path)
		}
	}
	s.mu.Unlock()
	for _, path := range gone {
		s.removeAll(path)
	}
}

func (s *Store) discard(path string) {
	if aside, ok := s.setAside(path); ok {
		s.removeAll(aside)
	}
}

// setAside moves a directory to where the next Open would remove it.
func (s *Store) setAside(path string) (string, bool) {
	dir, err := os.MkdirTemp(s.tmpDir(), "gone-")
	if err != nil {
		s.cfg.Logger.Warn("cannot remove a layer", "path", path, "err", err)
		return "", false
	}
	aside := filepath.Join(dir, "layer")
	if err := os.Rename(path, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.cfg.Logger.Warn("cannot remove a layer", "path", path, "err", err)
	}
	return dir, true
}

func (s *Store) removeAll(path string) {
	if err := os.RemoveAll(path); err != nil {
		s.cfg.Logger.Warn("cannot remove a layer's files; the next start tries again", "path", path, "err", err)
	}
}

func (s *Store) tmpDir() string { return filepath.Join(s.dir, "tmp") }

// layerDir is where a layer's files are; its parent is what is renamed and removed as a whole.
func (s *Store) layerDir(diffID string) string {
	return filepath.Join(s.dir, "layers", strings.TrimPrefix(diffID, "sha256:"), "fs")
}
